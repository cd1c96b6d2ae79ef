"""`Walker`: the loops over a layer."""

from typing import Any

from amaranth.hdl import Const, Module, Mux, ShapeLike, Signal, Value
from amaranth.lib import data, stream, wiring
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
    start : In(1)
        Go to the first position.
    advance : In(1)
        Go to the next position; behind the last one, to the first.
    count, single : In
        How many there are from the first one on, and whether that is one.
    index : Out(width)
        This position.
    first, last : Out(1)
        Whether it is the first or the last one.
    ends : Out(1)
        The last one is being left.
    """

    def __init__(self, width: int):
        super().__init__(
            {
                "start": In(1),
                "advance": In(1),
                "count": In(width),
                "single": In(1),
                "index": Out(width),
                "first": Out(1),
                "last": Out(1),
                "ends": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count up, and down."""
        m = Module()
        left = Signal.like(self.count, reset_less=True)  # this position included
        m.d.comb += self.ends.eq(self.advance & self.last)
        with m.If(self.start | self.advance):
            m.d.sync += [self.index.eq(self.index + 1), left.eq(left - 1)]
            m.d.sync += [self.first.eq(0), self.last.eq(left == 2)]
            with m.If(self.start | self.last):
                m.d.sync += [self.index.eq(0), left.eq(self.count)]
                m.d.sync += [self.first.eq(1), self.last.eq(self.single)]
        return m


def turns(m: Module, count: int, advance: Value) -> tuple[Signal, Signal]:
    """Count from 0 to `count` - 1 and again; return the number, and whether it is the last one."""
    index = Signal(range(count))
    last = Signal(init=count == 1)
    with m.If(advance):
        m.d.sync += [index.eq(Mux(last, 0, index + 1)), last.eq(index + 2 == count)]
        with m.If(last):
            m.d.sync += last.eq(count == 1)
    return index, last


class Ahead(wiring.Component):
    """Keeps what a source has next in a register, and what comes then in a second one.

    So neither side waits for a decision of the other one: `i.ready` is a register, and `o` is one.

    Parameters
    ----------
    shape : ShapeLike
        What passes.

    Members
    -------
    i, o : In, Out(stream of shape)
        An item leaves one cycle after it came, or later.
    load : Out(1)
        `o.payload` is another one, `following`, from the next cycle on.
    following : Out(shape)
        See there.
    """

    def __init__(self, shape: ShapeLike):
        self._shape = shape
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "load": Out(1),
                "following": Out(shape),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Shift."""
        m = Module()
        shown = Signal(self._shape, reset_less=True)
        spare = Signal(self._shape, reset_less=True)
        spare_valid = Signal()
        m.d.comb += [
            self.i.ready.eq(~spare_valid),
            self.load.eq((self.o.ready | ~self.o.valid) & (spare_valid | self.i.valid)),
            self.following.eq(Mux(spare_valid, spare, self.i.payload)),
            self.o.payload.eq(shown),
        ]
        with m.If(self.o.ready | ~self.o.valid):
            m.d.sync += [self.o.valid.eq(self.load), spare_valid.eq(0)]
        with m.Elif(self.i.valid):
            m.d.sync += spare_valid.eq(1)
        with m.If(self.load):
            m.d.sync += shown.eq(self.following)
        with m.If(~spare_valid):
            m.d.sync += spare.eq(self.i.payload)
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
    columns : int
        Most column blocks there can be; 1 is no loop.
    rows, tokens : bool
        Whether the loops over row blocks and over the tokens of a block are walked.

    Members
    -------
    start : In(1)
        Begin at the first position of `command`.
    command : In(Command)
        The layer; holds still from the cycle before `start` on.
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

    def __init__(self, *, batch: int, columns: int = 1, rows: bool = True, tokens: bool = True):
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
                "column": Out(range(columns)),
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
        first_block = Signal(layout, reset_less=True)
        second_block = Signal(layout, reset_less=True)
        block = Signal(layout, reset_less=True)
        next_block = Signal(layout, reset_less=True)
        entered = Signal(layout)  # where a loop over tokens begins
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

        m.d.comb += entered.eq(Mux(self.last_column & self.last_row, next_block, block))
        m.d.sync += describe(first_block, command.tokens, 0)
        m.d.sync += describe(second_block, command.tokens, batch)
        with m.If(self.start):
            m.d.comb += entered.eq(first_block)
        with m.If(self.start | leave):
            m.d.sync += [block.eq(entered), tokens_left.eq(tokens_left - batch)]
            m.d.sync += [*describe(next_block, tokens_left, 2 * batch), self.active.eq(~block.last)]
            with m.If(self.start):
                m.d.sync += next_block.eq(second_block)
                m.d.sync += [tokens_left.eq(command.tokens), self.active.eq(1)]

        # Each loop advances where the one inside it ends.
        column_blocks = command.column_blocks[: len(Const(self._columns))]
        row_blocks = command.row_blocks
        single_column = Signal(reset_less=True)
        single_row = Signal(reset_less=True)
        m.d.sync += [single_column.eq(column_blocks == 1), single_row.eq(row_blocks == 1)]
        advance = self.advance
        for name, walked, count, single in (
            ("token", self._tokens, entered.tokens, entered.single),
            ("column", self._columns > 1, column_blocks, single_column),
            ("row", self._rows, row_blocks, single_row),
        ):
            first, last = getattr(self, f"first_{name}"), getattr(self, f"last_{name}")
            if not walked:
                m.d.comb += [first.eq(1), last.eq(1)]
                continue
            m.submodules[name] = loop = Loop(len(count))
            m.d.comb += [
                loop.start.eq(self.start),
                loop.advance.eq(advance),
                loop.count.eq(count),
                loop.single.eq(single),
                getattr(self, name).eq(loop.index),
                first.eq(loop.first),
                last.eq(loop.last),
            ]
            advance = loop.ends
        m.d.comb += [
            leave.eq(advance),
            self.last.eq(self.last_token & self.last_column & self.last_row & block.last),
        ]
        return m
