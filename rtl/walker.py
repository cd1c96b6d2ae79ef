"""`Walker`: the loops over a layer."""

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwsim.rtl.layouts import Command


class Loop(wiring.Component):
    """Counts the positions of a loop.

    Whether one is the first or the last is a register: a comparison would stand in front of all
    that depends on it.

    Parameters
    ----------
    width : int
        Bits of the count.

    Members
    -------
    begin : In(1)
        Go to the first position.
    count, single : In
        How many there are from `begin` on, and whether that is one.
    advance : In(1)
        Go to the next position, unless `begin`.
    index : Out(width)
        This position.
    first, last : Out(1)
        Whether it is the first or the last one.
    """

    def __init__(self, width: int):
        super().__init__(
            {
                "begin": In(1),
                "count": In(width),
                "single": In(1),
                "advance": In(1),
                "index": Out(width),
                "first": Out(1),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count up, and down."""
        m = Module()
        left = Signal.like(self.count, reset_less=True)  # this position included
        with m.If(self.begin):
            m.d.sync += [self.index.eq(0), left.eq(self.count)]
            m.d.sync += [self.first.eq(1), self.last.eq(self.single)]
        with m.Elif(self.advance):
            m.d.sync += [self.index.eq(self.index + 1), left.eq(left - 1)]
            m.d.sync += [self.first.eq(0), self.last.eq(left == 2)]
        return m


class Walker(wiring.Component):
    """The loops, from the outside: token block, row block, column block, token.

    The last token block may be short and then takes only its own tokens. Every block of the core
    that has to know where it is in the layer holds a walker, with the loops that do not concern it
    left out: one position then stands for all of such a loop.

    Parameters
    ----------
    batch : int
        Tokens of a full token block.
    rows, columns, tokens : bool
        Whether the loops over row blocks, column blocks and the tokens of a block are walked.

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
    token, column, row : Out
        Token within its block, column block, row block.
    first_token, first_column, first_row, last_token, last_column, last_row : Out(1)
        Whether this is the first or last position of that loop.
    last : Out(1)
        Whether it is the last of all.
    """

    def __init__(self, *, batch: int, rows: bool = True, columns: bool = True, tokens: bool = True):
        self._batch = batch
        self._rows, self._columns, self._tokens = rows, columns, tokens
        loops = ("token", "column", "row")
        super().__init__(
            {
                "start": In(1),
                "command": In(Command),
                "advance": In(1),
                "active": Out(1),
                "token": Out(range(batch)),
                "column": Out(32),
                "row": Out(32),
                **{f"first_{loop}": Out(1) for loop in loops},
                **{f"last_{loop}": Out(1) for loop in loops},
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Nest the loops."""
        m = Module()
        batch, command = self._batch, self.command

        # The next token block is made out while this one is walked, which may take one cycle only.
        layout = data.StructLayout({"tokens": len(Const(batch)), "single": 1, "last": 1})
        block = Signal(layout, reset_less=True)
        next_block = Signal(layout, reset_less=True)
        entered = Signal(layout)
        tokens_left = Signal(32, reset_less=True)  # of this block and all that follow
        leave = Signal()

        def describe(target: Any, left: Value, skipped: int) -> list[Any]:
            """Make out the block in front of which `skipped` of the tokens that are left go."""
            last = left <= skipped + batch
            return [
                target.tokens.eq(Mux(last, left - skipped, batch)),
                target.single.eq((left == skipped + 1) | (batch == 1)),
                target.last.eq(last),
            ]

        m.d.comb += entered.eq(Mux(leave, next_block, block))
        m.d.sync += block.eq(entered)
        with m.If(self.start):
            m.d.comb += describe(entered, command.tokens, 0)
            m.d.sync += describe(next_block, command.tokens, batch)
            m.d.sync += [tokens_left.eq(command.tokens), self.active.eq(1)]
        with m.Elif(leave):
            m.d.sync += describe(next_block, tokens_left, 2 * batch)
            m.d.sync += [tokens_left.eq(tokens_left - batch), self.active.eq(~block.last)]

        # Each loop advances where the one inside it begins anew.
        column_blocks, row_blocks = command.column_blocks, command.row_blocks
        advance = self.advance
        for name, walked, count, single in (
            ("token", self._tokens, entered.tokens, entered.single),
            ("column", self._columns, column_blocks, column_blocks == 1),
            ("row", self._rows, row_blocks, row_blocks == 1),
        ):
            first, last = getattr(self, f"first_{name}"), getattr(self, f"last_{name}")
            if not walked:
                m.d.comb += [first.eq(1), last.eq(1)]
                continue
            m.submodules[name] = loop = Loop(len(count))
            again = advance & loop.last
            m.d.comb += [
                loop.begin.eq(self.start | again),
                loop.count.eq(count),
                loop.single.eq(single),
                loop.advance.eq(advance),
                getattr(self, name).eq(loop.index),
                first.eq(loop.first),
                last.eq(loop.last),
            ]
            advance = again
        m.d.comb += [
            leave.eq(advance),
            self.last.eq(self.last_token & self.last_column & self.last_row & block.last),
        ]
        return m
