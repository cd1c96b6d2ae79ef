"""`ActivationBuffer`: keeps a token block for all its row blocks, while the next one arrives."""

from math import gcd
from typing import Any, TypedDict

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.config import ArrayConfig
from hwsim.rtl.layouts import Command
from hwsim.rtl.platform import copies
from hwsim.rtl.ram import BlockRam
from hwsim.rtl.repacker import Repacker
from hwsim.rtl.walker import Walker

_RAMS = 4
"""Most memories side by side, where each has registers of its own."""


class RamShape(TypedDict):
    """Parameters of a `BlockRam`."""

    width: int
    depth: int
    registered: bool


def activation_rams(config: ArrayConfig) -> int:
    """Return how many memories the buffer has side by side, each with registers that drive it."""
    return gcd(config.columns, _RAMS) if config.broadcast_stages else 1


def activation_ram_shape(config: ArrayConfig) -> RamShape:
    """Return what each of its memories is like: two halves, each of `batch` tokens."""
    return {
        "width": config.columns * config.activation_bits // activation_rams(config),
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
        Word that the third step from now on needs, in its half.
    last : In(1)
        Whether no later step needs that half; the steps from then on need the other one.
    proceed : In(1)
        That step is the second one from the next cycle on, and the second one is the first.
    load : In(1)
        There is such a step: `index` and `last` matter only then; only with `proceed`.
    first_there, second_there : Out(1)
        Whether the word of the first, or second, step can be read in the next cycle.
    read : In(1)
        The first step is being made: read its word; only with `proceed`.
    o : Out(columns * activation_bits)
        The word, one cycle after `read`, and later by the `broadcast_stages` but one; holds until
        the next one.
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
                "proceed": In(1),
                "load": In(1),
                "first_there": Out(1),
                "second_there": Out(1),
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

        # The walker's position is the token whose words are taken from the bus. A half that a
        # token block occupies is free again a cycle after its last word is read, and taken into
        # use one later.
        taking_half = Signal()
        occupied = Array([Signal(name="occupied_0"), Signal(name="occupied_1")])
        opened = Signal()  # there is a half for the words on offer
        started = Signal(2)  # so many cycles ago: then the walker has a position
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
        m.d.sync += started.eq(Cat(self.start, started))
        with m.If(started[1] | (walker.o.valid & ~occupied[taking_half])):
            m.d.sync += opened.eq(1)
        with m.If(accept):
            m.d.sync += occupied[taking_half].eq(1)
            with m.If(repacker.i_last & token.last_token):
                m.d.sync += opened.eq(~token.last & ~occupied[~taking_half])
                m.d.sync += taking_half.eq(~taking_half)

        # What leaves the repacker, which is known, and counted, a cycle before.
        writing_half = Signal()
        written = Array(Signal(range(self._half_words + 1), name=f"written_{h}") for h in (0, 1))
        place = Signal(range(self._half_words))  # in its half
        with m.If(repacker.soon.leaves):
            m.d.sync += [place.eq(place + 1), written[writing_half].eq(place + 1)]
            with m.If(repacker.soon.last & repacker.soon.mark):
                m.d.sync += [place.eq(0), writing_half.eq(~writing_half)]

        # A word that is there stays there until its step, so it is looked up once, when its step
        # becomes the second one. From then on it is enough to see it arrive.
        step = data.StructLayout(
            {
                "there": 1,  # the word can be read from the next cycle on
                "index": self.index.shape(),
                "half": 1,
                "last": 1,
            }
        )
        third = Signal(step)
        second = Signal(step, reset_less=True)
        first = Signal(step, reset_less=True)
        ahead_half = Signal()
        ended = Signal()

        def later(position: Any) -> Value:
            """Return whether the word will be there a cycle later."""
            here = Cat(place, writing_half) == Cat(position.index, position.half)
            return position.there | (repacker.soon.leaves & here)

        # Where a token block is one step, its half can still hold words that are just being left.
        m.d.comb += [
            ended.eq(self.read & first.last),
            third.index.eq(self.index),
            third.half.eq(ahead_half),
            third.last.eq(self.last),
            third.there.eq(
                (self.index < written[ahead_half]) & ~(ended & (first.half == ahead_half))
            ),
            self.first_there.eq(first.there),
            self.second_there.eq(second.there),
        ]
        m.d.sync += [first.there.eq(later(first)), second.there.eq(later(second))]
        with m.If(self.proceed):
            m.d.sync += [
                first.eq(second),
                first.there.eq(later(second)),
                second.eq(third),
                second.there.eq(later(third)),
            ]
        with m.If(self.load & self.last):
            m.d.sync += ahead_half.eq(~ahead_half)

        # Many block RAMs are far apart: where there are stages for it, registers of their own drive
        # some of them, one stands behind them, and one on the way to the copies of the operands.
        rams = [BlockRam(**activation_ram_shape(config)) for _ in range(activation_rams(config))]
        count = len(rams)
        bits = len(rams[0].read_address)
        write_address = self._address(writing_half, place)[:bits]
        read_address = self._address(first.half, first.index)[:bits]
        writes = copies(m, repacker.soon.leaves, count, name="write")
        write_addresses = copies(m, write_address, count, name="write_address", reset_less=True)
        reads: list[Any] = [self.read] * count
        read_addresses: list[Any] = [read_address] * count
        if config.broadcast_stages:
            reads = copies(m, self.read, count, name="read")
            read_addresses = copies(m, read_address, count, name="read_address", reset_less=True)
        for index, ram in enumerate(rams):
            m.submodules[f"ram_{index}"] = ram
            m.d.comb += [
                ram.write.eq(writes[index]),
                ram.write_address.eq(write_addresses[index]),
                ram.write_data.eq(repacker.o.payload.word_select(index, len(ram.write_data))),
                ram.read.eq(reads[index]),
                ram.read_address.eq(read_addresses[index]),
            ]
        word = Cat(ram.read_data for ram in rams)
        if config.broadcast_stages:
            registered = Signal(len(word), reset_less=True)
            m.d.sync += registered.eq(word)
            word = registered
        m.d.comb += self.o.eq(word)
        with m.If(ended):
            m.d.sync += [written[first.half].eq(0), occupied[first.half].eq(0)]
        return m

    def _address(self, half: Value, index: ValueLike) -> Value:
        return index + Mux(half, self._half_words, 0)
