"""`Walker`: the loops over a layer."""

from amaranth.hdl import Module, Signal
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
        """Nest the counters."""
        m = Module()

        tokens_left = Signal(32, reset_less=True)  # of this block and all that follow
        row_block = Signal(32, reset_less=True)
        last_block = Signal()
        m.d.comb += [
            last_block.eq(tokens_left <= self._batch),
            self.first_column.eq(self.column_block == 0),
            self.last_column.eq(self.column_block + 1 == self.command.column_blocks),
            self.last_row.eq(row_block + 1 == self.command.row_blocks),
            self.last.eq(self.last_token & self.last_column & self.last_row & last_block),
        ]
        if self._tokens:
            m.d.comb += self.last_token.eq(
                (self.token == self._batch - 1) | (last_block & (self.token + 1 == tokens_left))
            )
        else:
            m.d.comb += self.last_token.eq(1)

        with m.If(self.start):
            m.d.sync += [
                self.active.eq(1),
                self.token.eq(0),
                self.column_block.eq(0),
                row_block.eq(0),
                tokens_left.eq(self.command.tokens),
            ]
        with m.Elif(self.advance):
            m.d.sync += self.token.eq(self.token + 1)
            with m.If(self.last_token):
                m.d.sync += [self.token.eq(0), self.column_block.eq(self.column_block + 1)]
                with m.If(self.last_column):
                    m.d.sync += [self.column_block.eq(0), row_block.eq(row_block + 1)]
                    with m.If(self.last_row):
                        m.d.sync += [
                            row_block.eq(0),
                            tokens_left.eq(tokens_left - self._batch),
                            self.active.eq(~last_block),
                        ]
        return m
