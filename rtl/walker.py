"""`Walker`: the loops over a layer."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwsim.rtl.layouts import Command


class Walker(wiring.Component):
    """Counters of the loop order: token block, row block, column block, token.

    Outermost first; the last token block may be short and then takes only its own tokens. Every
    block of the core that has to know where it is in the layer holds a walker, with the loops that
    do not concern it left out: a loop whose count in the command is 1 is no loop.

    Parameters
    ----------
    batch : int
        Tokens of a full token block.
    tokens : bool
        Whether the innermost loop is walked. Without it one position stands for all tokens of a
        block, as it does for weights.

    Members
    -------
    start : In(1)
        Begin at the first position of `command`.
    command : In(Command)
        The layer; must hold still while the walker is `active`.
    advance : In(1)
        Go to the next position; only while `active`.
    active : Out(1)
        Whether there is a position: from the cycle after `start` to the last `advance`.
    token : Out(range(batch))
        Token within its block.
    column_block : Out(32)
        Column block.
    first_column, last_token, last_column, last_row, last : Out(1)
        Whether this is the first or last position of that loop; `last` is the last of all.
    """

    def __init__(self, *, batch: int, tokens: bool = True):
        self._batch = batch
        self._tokens = tokens
        super().__init__(
            {
                "start": In(1),
                "command": In(Command),
                "advance": In(1),
                "active": Out(1),
                "token": Out(range(batch)),
                "column_block": Out(32),
                "first_column": Out(1),
                "last_token": Out(1),
                "last_column": Out(1),
                "last_row": Out(1),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Nest the counters.

        Every flag is a register, set together with the counter that it belongs to: a comparison of
        counters in front of all that a flag decides would be the longest path of the core.
        """
        m = Module()

        # Positions and tokens that are left, this one and this block included.
        columns_left = Signal(32, reset_less=True)
        rows_left = Signal(32, reset_less=True)
        tokens_left = Signal(32, reset_less=True)
        last_block = Signal(reset_less=True)
        final_token = Signal.like(self.token, reset_less=True)  # of this block
        single_column = Signal(reset_less=True)
        single_row = Signal(reset_less=True)
        m.d.comb += [
            self.last.eq(self.last_token & self.last_column & self.last_row & last_block),
            self.last_token.eq(self.token == final_token if self._tokens else 1),
        ]

        def begin_columns(single: Value) -> list[Any]:
            return [
                self.column_block.eq(0),
                self.first_column.eq(1),
                columns_left.eq(self.command.column_blocks),
                self.last_column.eq(single),
            ]

        def begin_rows(single: Value) -> list[Any]:
            return [rows_left.eq(self.command.row_blocks), self.last_row.eq(single)]

        def begin_block(left: Value, last: Value) -> list[Any]:
            return [
                tokens_left.eq(left),
                last_block.eq(last),
                final_token.eq(Mux(last, left[: len(self.token)], self._batch) - 1),
            ]

        command = self.command
        with m.If(self.start):
            one_column, one_row = command.column_blocks == 1, command.row_blocks == 1
            m.d.sync += [
                self.active.eq(1),
                self.token.eq(0),
                single_column.eq(one_column),
                single_row.eq(one_row),
                *begin_columns(one_column),
                *begin_rows(one_row),
                *begin_block(command.tokens, command.tokens <= self._batch),
            ]
        with m.Elif(self.advance):
            m.d.sync += self.token.eq(self.token + 1)
            with m.If(self.last_token):
                m.d.sync += [
                    self.token.eq(0),
                    self.column_block.eq(self.column_block + 1),
                    self.first_column.eq(0),
                    columns_left.eq(columns_left - 1),
                    self.last_column.eq(columns_left == 2),
                ]
                with m.If(self.last_column):
                    m.d.sync += [
                        *begin_columns(single_column),
                        rows_left.eq(rows_left - 1),
                        self.last_row.eq(rows_left == 2),
                    ]
                    with m.If(self.last_row):
                        m.d.sync += [
                            *begin_rows(single_row),
                            *begin_block(tokens_left - self._batch, tokens_left <= 2 * self._batch),
                            self.active.eq(~last_block),
                        ]
        return m
