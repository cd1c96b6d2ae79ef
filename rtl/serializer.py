"""From words of the accumulator bank to words of the result bus, and the queue of these."""

from amaranth.hdl import Cat, Const, Module, Mux, ShapeLike, Signal, Value, signed
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.config import RESULTS_UNDER_WAY, ArrayConfig
from hwsim.rtl.layouts import Command
from hwsim.rtl.platform import copies
from hwsim.rtl.walker import Walker


def result_layout(config: ArrayConfig) -> data.StructLayout:
    """Return what a word of the result stream is: `data`, and `last` on the layer's last word."""
    return data.StructLayout({"data": config.result_bus_bits, "last": 1})


class ResultQueue(wiring.Component):
    """Keeps words of results until they are taken.

    Parameters
    ----------
    shape : ShapeLike
        Of a word.
    depth : int
        Most words that wait.

    Members
    -------
    comes : In(1)
        There is a word; only where `room` was 1 two cycles before.
    i : In(shape)
        The word.
    room : Out(1)
        There will be a place in the second cycle from now, whatever comes until then.
    o : Out(stream of shape)
        The words; one leaves in the cycle after that in which it came, or later.
    """

    def __init__(self, shape: ShapeLike, *, depth: int):
        self._depth = depth
        super().__init__(
            {
                "comes": In(1),
                "i": In(shape),
                "room": Out(1),
                "o": Out(stream.Signature(shape)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count those on their way as if they were here."""
        m = Module()
        width = len(Value.cast(self.i))
        m.submodules.fifo = queue = fifo.SyncFIFO(width=width, depth=self._depth)
        # A register, so that nobody waits for the comparison.
        m.d.sync += self.room.eq(queue.level <= self._depth - RESULTS_UNDER_WAY)
        m.d.comb += [
            queue.w_data.eq(self.i),
            queue.w_en.eq(self.comes),
            self.o.payload.eq(queue.r_data),
            self.o.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.o.ready),
        ]
        return m


class ResultSerializer(wiring.Component):
    """Sends each token's results of a row block, as many to a bus word as fit.

    Results leave in the order token block, row block, token, row, sign-extended to the next of 8,
    16, 32 bits. A token's results of one row block begin with a new word; rows beyond
    `out_features` are not sent, and unused high bits are zero. Nobody can refuse a word: whether
    there will be room for it is known before.

    Parameters
    ----------
    config : ArrayConfig
        `rows`, `batch`, `accumulator_bits` and `result_bus_bits` are used.

    Members
    -------
    start : In(1)
        Begin a layer.
    command : In(Command)
        The layer; holds still from the cycle before `start` on.
    finished : In(1)
        A word of the bank has its last step: it can be sent from the next cycle on. Not before the
        third cycle after `start`.
    fetch : Out(operand_copies)
        The word of the bank that is sent next is another one from the next cycle on: the same for
        the rows of every copy of the operands.
    next_half, next_token : Out
        Which one.
    half : Out(1)
        Half of the one that is sent next.
    sums : In(rows * accumulator_bits)
        Its value.
    freed : Out(1)
        All words of `half` have been read; it can be filled again.
    room : In(1)
        A word that leaves in the second cycle from now will be taken.
    sends : Out(1)
        A word leaves.
    o : Out(result_layout)
        The word.
    """

    def __init__(self, config: ArrayConfig):
        self._config = config
        super().__init__(
            {
                "start": In(1),
                "command": In(Command),
                "finished": In(1),
                "fetch": Out(config.operand_copies),
                "next_half": Out(1),
                "next_token": Out(range(config.batch)),
                "half": Out(1),
                "sums": In(config.rows * config.accumulator_bits),
                "freed": Out(1),
                "room": In(1),
                "sends": Out(1),
                "o": Out(result_layout(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Load a word of the bank, shift it out."""
        m = Module()
        config = self._config
        per_word, sum_bits = config.results_per_word, config.accumulator_bits

        # The walker's position is the one after that of the token that is read next, which stands
        # in registers, as its address does. There are no columns to walk.
        m.submodules.walker = walker = Walker(batch=config.batch)
        here = Signal(walker.o.payload.shape(), reset_less=True)
        there = Signal()
        waiting = Signal(range(2 * config.batch + 1))  # finished words that have not been read
        rows = len(Const(config.rows))
        rows_left = Signal(rows, reset_less=True)  # of all row blocks from here on: low bits
        m.d.comb += [
            walker.start.eq(self.start),
            walker.command.eq(self.command),
            self.next_token.eq(walker.o.payload.token),
        ]

        held = Signal(config.rows * sum_bits, reset_less=True)
        held_rows = Signal(rows, reset_less=True)
        held_last = Signal(reset_less=True)  # of all
        # Words are counted by ones, without comparisons: bit K says that more than K of them follow
        # this one. How many follow the first one of the last row block is known a cycle late: the
        # full ones before it take two cycles or more where it matters.
        full = -(-config.rows // per_word)
        further = Signal(full, reset_less=True)
        further_next = Signal(full)
        of_last_row = Signal(full, reset_less=True)
        more_waiting = Signal()  # than one
        layout = data.StructLayout(
            {
                "room": 1,
                "last_word": 1,  # nothing is held, or the last word of it
                "some_waiting": 1,
            }
        )
        state = Signal(layout, init={"last_word": 1})
        state_next = Signal(layout)
        moves = Signal()
        load = Signal()
        fetch = Signal()
        load_rows = Signal(rows)
        last = Signal(reset_less=True)  # word of all
        m.d.sync += [
            state.eq(state_next),
            further.eq(further_next),
            of_last_row.eq(Cat(rows_left > (word + 1) * per_word for word in range(full - 1))),
            self.sends.eq(moves),
        ]
        m.d.comb += [
            moves.eq(state.room & (state.some_waiting | ~state.last_word)),
            load.eq(moves & state.last_word),
            load_rows.eq(Mux(here.last_row, rows_left, config.rows)),
            fetch.eq(load | ~there),
            walker.o.ready.eq(fetch),
            self.freed.eq(load & here.last_token),
            further_next.eq(further),
            state_next.room.eq(self.room),
            state_next.last_word.eq(Mux(moves, ~further_next[0], state.last_word)),
            state_next.some_waiting.eq(self.finished | Mux(load, more_waiting, state.some_waiting)),
            self.o.last.eq(last),
        ]
        with m.If(fetch):
            m.d.sync += [there.eq(walker.o.valid), here.eq(walker.o.payload)]
            m.d.sync += self.half.eq(self.next_half)
        with m.If(fetch & walker.o.valid & walker.o.payload.last_token):
            m.d.sync += self.next_half.eq(~self.next_half)
        for place in range(min(per_word, config.rows)):
            extended = Signal(signed(config.result_bits), name=f"extended_{place}")
            m.d.comb += [
                extended.eq(held.word_select(place, sum_bits).as_signed()),
                # There is a first one in every word.
                self.o.data.word_select(place, config.result_bits).eq(
                    Mux(place < held_rows, extended, 0) if place else extended
                ),
            ]

        with m.If(load):
            m.d.comb += further_next.eq(Mux(here.last_row, of_last_row, (1 << full - 1) - 1))
            m.d.sync += [held_rows.eq(load_rows), held_last.eq(here.last)]
            m.d.sync += last.eq(here.last & ~further_next[0])
        with m.Elif(moves):
            m.d.comb += further_next.eq(further >> 1)
            m.d.sync += held_rows.eq(held_rows - per_word)
            m.d.sync += last.eq(held_last & ~further_next[0])
        with m.If(load & here.last_token):
            m.d.sync += rows_left.eq(
                Mux(here.last_row, self.command.out_features, rows_left - config.rows)
            )
        with m.If(self.finished & ~load):
            m.d.sync += [waiting.eq(waiting + 1), more_waiting.eq(state.some_waiting)]
        with m.Elif(load & ~self.finished):
            m.d.sync += [waiting.eq(waiting - 1), more_waiting.eq(waiting > 2)]

        # What is held is wide: the rows of every copy of the operands look at a copy of the state.
        # Nobody sees what follows the last row, so it need not be zeros.
        word_bits = per_word * sum_bits
        shifted = Cat(held[word_bits:], held[-word_bits:])
        bits = config.operand_rows * sum_bits
        init = state.as_value().init
        states = copies(m, state_next, config.operand_copies, name="state", init=init)
        for copy, register in enumerate(states):
            part = slice(copy * bits, (copy + 1) * bits)
            its = data.View(layout, register)
            its_moves = its.room & (its.some_waiting | ~its.last_word)
            m.d.comb += self.fetch[copy].eq((its_moves & its.last_word) | ~there)
            with m.If(its_moves):
                m.d.sync += held[part].eq(Mux(its.last_word, self.sums[part], shifted[part]))
        with m.If(self.start):
            m.d.sync += rows_left.eq(self.command.out_features)
        return m
