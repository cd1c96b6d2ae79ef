"""`ResultSerializer`: from words of the accumulator bank to words of the result bus."""

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.config import ArrayConfig
from hwsim.rtl.layouts import Command
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
        A word of the bank has its last step: it can be sent from the next cycle on.
    half, token : Out
        Word of the bank that is sent next.
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
                "half": Out(1),
                "token": Out(range(config.batch)),
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

        # The walker stands at the token that is read next; it has no columns to walk.
        m.submodules.walker = walker = Walker(batch=config.batch)
        waiting = Signal(range(2 * config.batch + 1))  # finished words that have not been read
        rows_left = Signal(32, reset_less=True)  # of this row block and all that follow
        m.d.comb += [
            walker.start.eq(self.start),
            walker.command.eq(self.command),
            self.token.eq(walker.token),
        ]

        held = Signal(config.rows * sum_bits, reset_less=True)
        held_rows = Signal(range(config.rows + 1))
        held_last = Signal(reset_less=True)
        # Where all rows fit into one word, every word is the last one.
        last_word = held_rows <= per_word if per_word < config.rows else Const(1)
        ending = Signal()  # the last word of what is held is being taken
        load = Signal()
        m.d.comb += [
            self.o.valid.eq(held_rows != 0),
            ending.eq(self.o.ready & last_word),
            load.eq((waiting != 0) & (~self.o.valid | ending)),
            walker.advance.eq(load),
            self.freed.eq(load & walker.last_token),
            self.o.payload.last.eq(held_last & last_word),
        ]
        for place in range(min(per_word, config.rows)):
            extended = Signal(signed(config.result_bits), name=f"extended_{place}")
            m.d.comb += [
                extended.eq(held.word_select(place, sum_bits).as_signed()),
                self.o.payload.data.word_select(place, config.result_bits).eq(
                    Mux(place < held_rows, extended, 0)
                ),
            ]

        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [
                held.eq(held >> (per_word * sum_bits)),
                held_rows.eq(Mux(ending, 0, held_rows - per_word)),
            ]
        with m.If(load):
            m.d.sync += [
                held.eq(self.sums),
                held_rows.eq(Mux(rows_left < config.rows, rows_left, config.rows)),
                held_last.eq(walker.last),
            ]
            with m.If(walker.last_token):
                m.d.sync += [
                    self.half.eq(~self.half),
                    rows_left.eq(
                        Mux(walker.last_row, self.command.out_features, rows_left - config.rows)
                    ),
                ]
        m.d.sync += waiting.eq(waiting + self.finished - load)
        with m.If(self.start):
            m.d.sync += rows_left.eq(self.command.out_features)
        return m
