"""`ActivationBuffer`: keeps a token block for all its row blocks, while the next one arrives."""

from typing import TypedDict

from amaranth.hdl import Array, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.config import ArrayConfig
from hwsim.rtl.layouts import Command
from hwsim.rtl.ram import BlockRam
from hwsim.rtl.repacker import Repacker
from hwsim.rtl.walker import Walker


class RamShape(TypedDict):
    """Parameters of a `BlockRam`."""

    width: int
    depth: int
    registered: bool


def activation_ram_shape(config: ArrayConfig) -> RamShape:
    """Return what the buffer's memory is like: two halves, each of `batch` tokens."""
    return {
        "width": config.columns * config.activation_bits,
        "depth": 2 * config.batch * config.buffer_words,
        "registered": bool(config.broadcast_stages),
    }


class ActivationBuffer(wiring.Component):
    """Block RAM in two halves, each with the activations of one token block.

    A half holds them in the order in which they arrive, token after token, `column_blocks` words of
    `columns` activations each. So the word of token t and column block c stands at index
    t * column_blocks + c, and it is there as soon as more words than that index have arrived.

    Parameters
    ----------
    config : ArrayConfig
        `columns`, `batch`, `activation_bits`, `activation_bus_bits` and `max_in_features` are used.

    Members
    -------
    start : In(1)
        Begin a layer.
    command : In(Command)
        The layer; holds still from two cycles before `start` on.
    i : In(stream of activation_bus_bits)
        Activations, each token beginning with a new word.
    index : In(range(batch * buffer_words))
        Word that the step after the next one needs, in its half.
    last : In(1)
        Whether no later step needs that half; the steps from then on need the other one.
    load : In(1)
        That step is the next one from the next cycle on. `index` and `last` matter only then.
    available : Out(1)
        Whether the word of the next step is there.
    read : In(1)
        The next step is being made: read its word.
    o : Out(columns * activation_bits)
        The word, one cycle after `read`, and later by the `broadcast_stages`; holds until the next
        one.
    """

    def __init__(self, config: ArrayConfig):
        self._config = config
        self._half_words = config.batch * config.buffer_words
        super().__init__(
            {
                "start": In(1),
                "command": In(Command),
                "i": In(stream.Signature(config.activation_bus_bits)),
                "index": In(range(self._half_words)),
                "last": In(1),
                "load": In(1),
                "available": Out(1),
                "read": In(1),
                "o": Out(config.columns * config.activation_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Repack the bus words, store them, count them."""
        m = Module()
        config = self._config

        m.submodules.repacker = repacker = Repacker(
            item_bits=config.activation_bits,
            i_items=config.activation_bus_bits // config.activation_bits,
            o_items=config.columns,
            max_length=config.max_in_features,
        )
        m.submodules.walker = walker = Walker(batch=config.batch, rows=False)
        m.submodules.ram = ram = BlockRam(**activation_ram_shape(config))

        # The walker's position is the token whose words are taken from the bus. A half that a
        # token block occupies is free again a cycle after its last word is read, and taken into
        # use one later.
        taking_half = Signal()
        occupied = Array([Signal(name="occupied_0"), Signal(name="occupied_1")])
        opened = Signal()  # there is a half for the words on offer
        started = Signal()
        token = walker.o.payload
        accept = Signal()
        m.d.comb += [
            walker.start.eq(self.start),
            walker.command.eq(self.command),
            repacker.start.eq(self.start),
            repacker.length.eq(self.command.in_features),
            repacker.i.payload.eq(self.i.payload),
            repacker.i.valid.eq(self.i.valid & opened),
            repacker.i_mark.eq(token.last_token),
            self.i.ready.eq(repacker.i.ready & opened),
            accept.eq(self.i.valid & self.i.ready),
            walker.o.ready.eq(accept & repacker.i_last),
        ]
        m.d.sync += started.eq(self.start)
        with m.If(started | (walker.o.valid & ~occupied[taking_half])):
            m.d.sync += opened.eq(1)
        with m.If(accept):
            m.d.sync += occupied[taking_half].eq(1)
            with m.If(repacker.i_last & token.last_token):
                m.d.sync += opened.eq(~token.last & ~occupied[~taking_half])
                m.d.sync += taking_half.eq(~taking_half)

        # What leaves the repacker.
        writing_half = Signal()
        written = Array(Signal(range(self._half_words + 1), name=f"written_{h}") for h in (0, 1))
        place = Signal(range(self._half_words + 1))  # in its half
        write_address = Signal.like(ram.write_address)
        m.d.comb += [
            ram.write.eq(repacker.o.valid),
            ram.write_address.eq(write_address),
            ram.write_data.eq(repacker.o.payload),
        ]
        with m.If(repacker.o.valid):
            m.d.sync += [
                place.eq(place + 1),
                write_address.eq(write_address + 1),
                written[writing_half].eq(place + 1),
            ]
            with m.If(repacker.o_last & repacker.o_mark):
                m.d.sync += [
                    place.eq(0),
                    write_address.eq(self._address(~writing_half, 0)),
                    writing_half.eq(~writing_half),
                ]

        # A word that is there stays there until its step, so it is looked up once, before the step
        # that waits for the outcome. While a word is missing nothing behind it is written, so no
        # half has to be compared to see that it arrives.
        def arriving(index: Value) -> Value:
            return repacker.o.valid & (place == index)

        ahead_half = Signal()
        half = Signal()
        index = Signal.like(self.index, reset_less=True)
        last = Signal(reset_less=True)
        with m.If(self.load):
            there = self.index < written[ahead_half]
            m.d.sync += [
                self.available.eq(there | arriving(self.index)),
                index.eq(self.index),
                last.eq(self.last),
                half.eq(ahead_half),
                ahead_half.eq(ahead_half ^ self.last),
            ]
        with m.Elif(arriving(index)):
            m.d.sync += self.available.eq(1)

        # Many block RAMs are far apart: where there are stages for it, a register drives them, one
        # stands behind them, and one on the way to the copies of the operands.
        m.d["sync" if config.broadcast_stages else "comb"] += [
            ram.read.eq(self.read),
            ram.read_address.eq(self._address(half, index)),
            self.o.eq(ram.read_data),
        ]
        with m.If(self.read & last):
            m.d.sync += [written[half].eq(0), occupied[half].eq(0)]
        return m

    def _address(self, half: Value, index: ValueLike) -> Value:
        return index + Mux(half, self._half_words, 0)
