"""`ResultSerializer`: from words of the accumulator bank to words of the result bus."""

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.config import ArrayConfig
from hwsim.rtl.layouts import Command
from hwsim.rtl.platform import copies
from hwsim.rtl.walker import Walker


def result_signature(config: ArrayConfig) -> stream.Signature:
    """Return the signature of the result stream: `data`, and `last` on the layer's last word."""
    return stream.Signature(data.StructLayout({"data": config.result_bus_bits, "last": 1}))


class ResultSerializer(wiring.Component):
    """Sends each token's results of a row block, as many to a bus word as fit.

    Results leave in the order token block, row block, token, row, sign-extended to the next of 8,
    16, 32 bits. A token's results of one row block begin with a new word; rows beyond
    `out_features` are not sent, and unused high bits are zero.

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
    fetch : Out(1)
        The word of the bank that is sent next is another one from the next cycle on.
    next_half, next_token : Out
        Which one.
    half : Out(1)
        Half of the one that is sent next.
    sums : In(rows * accumulator_bits)
        Its value.
    freed : Out(1)
        All words of `half` have been read; it can be filled again.
    o : Out(result_signature)
        Result words.
    """

    def __init__(self, config: ArrayConfig):
        self._config = config
        super().__init__(
            {
                "start": In(1),
                "command": In(Command),
                "finished": In(1),
                "fetch": Out(1),
                "next_half": Out(1),
                "next_token": Out(range(config.batch)),
                "half": Out(1),
                "sums": In(config.rows * config.accumulator_bits),
                "freed": Out(1),
                "o": Out(result_signature(config)),
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
            walker.o.ready.eq(self.fetch),
            self.next_token.eq(walker.o.payload.token),
        ]
        with m.If(self.fetch):
            m.d.sync += [there.eq(walker.o.valid), here.eq(walker.o.payload)]
            m.d.sync += self.half.eq(self.next_half)
        with m.If(self.fetch & walker.o.valid & walker.o.payload.last_token):
            m.d.sync += self.next_half.eq(~self.next_half)

        held = Signal(config.rows * sum_bits, reset_less=True)
        held_rows = Signal(rows)
        held_last = Signal(reset_less=True)  # of all
        layout = data.StructLayout(
            {
                "valid": 1,
                "last_word": 1,  # nothing is held, or the last word of it
                "some_waiting": 1,
            }
        )
        state = Signal(layout, init={"last_word": 1})
        state_next = Signal(layout)
        moving = Signal()
        load = Signal()
        load_rows = Signal(rows)
        m.d.sync += state.eq(state_next)
        m.d.comb += [
            state_next.eq(state),
            self.o.valid.eq(state.valid),
            moving.eq(self.o.ready | ~state.valid),
            load.eq(state.some_waiting & state.last_word & moving),
            load_rows.eq(Mux(here.last_row, rows_left, config.rows)),
            self.fetch.eq(load | ~there),
            self.freed.eq(load & here.last_token),
        ]
        for place in range(min(per_word, config.rows)):
            extended = Signal(signed(config.result_bits), name=f"extended_{place}")
            m.d.comb += [
                extended.eq(held.word_select(place, sum_bits).as_signed()),
                # There is a first one in every word.
                self.o.payload.data.word_select(place, config.result_bits).eq(
                    Mux(place < held_rows, extended, 0) if place else extended
                ),
            ]

        with m.If(moving):
            # Where all rows fit into one word, every word is the last one.
            ends = held_rows <= 2 * per_word if 2 * per_word < config.rows else Const(1)
            m.d.comb += state_next.last_word.eq(ends)
            m.d.sync += [
                held_rows.eq(held_rows - per_word),
                self.o.payload.last.eq(held_last & ends),
            ]
            with m.If(state.last_word):
                fits = load_rows <= per_word if per_word < config.rows else Const(1)
                m.d.comb += [
                    state_next.valid.eq(state.some_waiting),
                    state_next.last_word.eq(fits | ~state.some_waiting),
                ]
                m.d.sync += [
                    held_rows.eq(load_rows),
                    held_last.eq(here.last),
                    self.o.payload.last.eq(here.last & fits),
                ]
        with m.If(load & here.last_token):
            m.d.sync += rows_left.eq(
                Mux(here.last_row, self.command.out_features, rows_left - config.rows)
            )
        with m.If(self.finished):
            m.d.comb += state_next.some_waiting.eq(1)
            with m.If(~load):
                m.d.sync += waiting.eq(waiting + 1)
        with m.Elif(load):
            m.d.comb += state_next.some_waiting.eq(waiting != 1)
            m.d.sync += waiting.eq(waiting - 1)

        # What is held is wide: the rows of every copy of the operands look at a copy of the state.
        shifted = held >> (per_word * sum_bits)
        bits = config.operand_rows * sum_bits
        init = state.as_value().init
        states = copies(m, state_next, config.operand_copies, name="state", init=init)
        for copy, register in enumerate(states):
            part = slice(copy * bits, (copy + 1) * bits)
            its = data.View(layout, register)
            with m.If(Mux(its.valid, self.o.ready, its.some_waiting)):
                m.d.sync += held[part].eq(Mux(its.last_word, self.sums[part], shifted[part]))
        with m.If(self.start):
            m.d.sync += rows_left.eq(self.command.out_features)
        return m
