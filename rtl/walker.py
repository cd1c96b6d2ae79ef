"""`Walker`: the loops over a layer."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, ShapeLike, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.rtl.layouts import Command
from hwsim.rtl.platform import copies


class Loop(wiring.Component):
    """Counts the positions of a loop.

    Whether one is the first or the last is a register: a comparison would stand in front of all
    that depends on it. That comparison looks at the low bits of a long count only: whether the
    others are zero is a register, too.

    Parameters
    ----------
    width : int
        Bits of the count.

    Members
    -------
    advance : In(1)
        Go to the next position; behind the last one, to the first. After a reset, that is the next.
    count, single : In
        How many there are from the first one on, and whether that is one. A count of more than
        16 bits holds still from the cycle before that in which the first position is entered.
    close : In(1)
        Stop at the first position as if it were the last, so that the first one is the next again.
    index : Out(width)
        This position.
    first, last : Out(1)
        Whether it is the first or the last one.
    """

    def __init__(self, width: int):
        super().__init__(
            {
                "advance": In(1),
                "count": In(width),
                "single": In(1),
                "close": In(1),
                "index": Out(width),
                "first": Out(1),
                "last": Out(1, init=1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count up, and down."""
        m = Module()
        left = Signal.like(self.count, reset_less=True)  # this position included
        few = Signal(init=1)  # of those before it were left, so few that the low bits tell
        low = len(left) if len(left) <= 16 else 4
        if low < len(left):
            all_few = Signal(reset_less=True)
            m.d.sync += all_few.eq(self.count[low:] == 0)
            with m.If(self.advance):
                m.d.sync += few.eq(Mux(self.last, all_few, left[low:] == 0))
        with m.If(self.advance):
            m.d.sync += [self.index.eq(self.index + 1), left.eq(left - 1)]
            m.d.sync += [self.first.eq(0), self.last.eq(few & (left[:low] == 2))]
            with m.If(self.last):
                m.d.sync += [self.index.eq(0), left.eq(self.count)]
                m.d.sync += [self.first.eq(1), self.last.eq(self.single | self.close)]
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
    ready_next : Out(1)
        `i.ready` of the next cycle.
    """

    def __init__(self, shape: ShapeLike):
        self._shape = shape
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "ready_next": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Shift."""
        m = Module()
        shown = Signal(self._shape, reset_less=True)
        spare = Signal(self._shape, reset_less=True)
        valid_next = Signal()
        spare_next = Signal()
        # One of each for the handshake, one for the payload, which is wide and elsewhere.
        valid, shows = copies(m, valid_next, 2, name="valid")
        spare_valid, keeps = copies(m, spare_next, 2, name="spare_valid")
        m.d.comb += [
            valid_next.eq(valid),
            spare_next.eq(spare_valid),
            self.i.ready.eq(~spare_valid),
            self.ready_next.eq(~spare_next),
            self.o.valid.eq(valid),
            self.o.payload.eq(shown),
        ]
        with m.If(self.o.ready | ~valid):
            m.d.comb += [valid_next.eq(spare_valid | self.i.valid), spare_next.eq(0)]
        with m.Elif(self.i.valid):
            m.d.comb += spare_next.eq(1)
        with m.If(self.o.ready | ~shows):
            m.d.sync += shown.eq(Mux(keeps, spare, self.i.payload))
        with m.If(~keeps):
            m.d.sync += spare.eq(self.i.payload)
        return m


class Walker(wiring.Component):
    """The loops, from the outside: token block, row block, column block, token.

    Positions come out of an `Ahead`, so that nobody waits for the loops, nor they for anybody. The
    last token block may be short and then takes only its own tokens. Every block of the core
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
        The layer; holds still from two cycles before `start` on.
    o : Out(stream of position)
        The first position is there in the third cycle after `start`. It consists of

        * `token`, `column`, `row`: token within its block, column block, row block;
        * `first_token`, `last_token` and so on: whether it is the first or last one of that loop;
        * `last`: whether it is the last of all.
    """

    def __init__(self, *, batch: int, columns: int = 1, rows: bool = True, tokens: bool = True):
        self._batch = batch
        self._rows, self._columns, self._tokens = rows, columns, tokens
        loops = ("token", "column", "row")
        position = data.StructLayout(
            {
                "token": range(batch),
                "column": range(columns),
                "row": 32,
                **{f"first_{loop}": 1 for loop in loops},
                **{f"last_{loop}": 1 for loop in loops},
                "last": 1,
            }
        )
        super().__init__(
            {
                "start": In(1),
                "command": In(Command),
                "o": Out(stream.Signature(position)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Nest the loops."""
        m = Module()
        batch, command = self._batch, self.command
        m.submodules.ahead = ahead = Ahead(self.o.payload.shape())
        here = ahead.i.payload
        active = ahead.i.valid
        active_next = Signal()
        started = Signal()
        m.d.sync += [started.eq(self.start), active.eq(active_next)]
        wiring.connect(m, ahead.o, wiring.flipped(self.o))

        # The next token block is made out while this one is walked, which may take one cycle only.
        layout = data.StructLayout({"tokens": len(Const(batch)), "single": 1, "last": 1})
        first_block = Signal(layout, reset_less=True)
        second_block = Signal(layout, reset_less=True)
        block = Signal(layout, reset_less=True)
        next_block = Signal(layout, reset_less=True)
        entered = Signal(layout)  # where a loop over tokens begins
        # Tokens of this block and all that follow: the high bits follow a cycle later, and whether
        # they are zero is known a block late, when there are still more than three blocks.
        low = (6 * batch).bit_length()
        tokens_left = Signal(low, reset_less=True)
        tokens_left_high = Signal(32 - low, reset_less=True)
        borrows = Signal()
        left = Signal()
        few_left = Signal(reset_less=True)
        few = Signal(reset_less=True)
        leave = Signal()

        def describe(target: Any, left: Value, few: Value, skipped: int) -> list[Any]:
            """Make out the block in front of which `skipped` of the tokens that are left go."""
            last = few & (left <= skipped + batch)
            return [
                target.tokens.eq(Mux(last, left - skipped, batch)),
                target.single.eq((few & (left == skipped + 1)) | (batch == 1)),
                target.last.eq(last),
            ]

        lasts = {name: Signal(name=f"last_{name}") for name in ("token", "column", "row")}
        m.d.comb += entered.eq(Mux(lasts["column"] & lasts["row"], next_block, block))
        m.d.sync += few.eq(command.tokens[low:] == 0)
        m.d.sync += describe(first_block, command.tokens[:low], few, 0)
        m.d.sync += describe(second_block, command.tokens[:low], few, batch)
        m.d.comb += active_next.eq(active)
        with m.If(started):
            m.d.comb += entered.eq(first_block)
        with m.If(leave):
            m.d.sync += [block.eq(entered), tokens_left.eq(tokens_left - batch)]
            m.d.sync += borrows.eq(tokens_left < batch)
            m.d.sync += describe(next_block, tokens_left, few_left, 2 * batch)
            m.d.sync += few_left.eq(tokens_left_high == 0)
            m.d.comb += active_next.eq(~block.last)
            with m.If(started):
                m.d.sync += [next_block.eq(second_block), few_left.eq(few)]
                m.d.sync += [tokens_left.eq(command.tokens), borrows.eq(0)]
                m.d.comb += active_next.eq(1)
        m.d.sync += left.eq(leave)
        with m.If(started):
            m.d.sync += tokens_left_high.eq(command.tokens[low:])
        with m.Elif(left & borrows):
            m.d.sync += tokens_left_high.eq(tokens_left_high - 1)

        # Each loop advances where those inside it end. Between layers all of them stand at a last
        # position, so that a start is an advance like others, and enters the first ones. Whether
        # there is one at all is known a cycle before: each loop has a register for it, since one of
        # them has to reach all of its count.
        column_blocks = command.column_blocks[: len(Const(self._columns))]
        row_blocks = command.row_blocks
        single_column = Signal(reset_less=True)
        single_row = Signal(reset_less=True)
        m.d.sync += [single_column.eq(column_blocks == 1), single_row.eq(row_blocks == 1)]
        goes = self.start | (active_next & ahead.ready_next)
        inside = Const(1)
        last = Signal()
        m.d.comb += last.eq(Cat(lasts.values()).all() & block.last)
        close = last & ~started
        for name, walked, count, single in (
            ("token", self._tokens, entered.tokens, entered.single),
            ("column", self._columns > 1, column_blocks, single_column),
            ("row", self._rows, row_blocks, single_row),
        ):
            m.d.comb += here[f"last_{name}"].eq(lasts[name])
            if not walked:
                m.d.comb += [here[f"first_{name}"].eq(1), lasts[name].eq(1)]
                continue
            m.submodules[name] = loop = Loop(len(count))
            (advance,) = copies(m, goes, 1, name=f"goes_{name}")
            m.d.comb += [
                loop.advance.eq(advance & inside),
                loop.close.eq(close),
                loop.count.eq(count),
                loop.single.eq(single),
                here[name].eq(loop.index),
                here[f"first_{name}"].eq(loop.first),
                lasts[name].eq(loop.last),
            ]
            inside &= loop.last
        (advance,) = copies(m, goes, 1, name="goes")
        m.d.comb += [leave.eq(advance & inside), here.last.eq(last)]
        return m
