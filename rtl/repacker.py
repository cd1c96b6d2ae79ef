"""`Repacker`: from words of one width to words of another, packet by packet."""

from math import gcd

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class Repacker(wiring.Component):
    """Takes packets of `length` items in words of `i_items`, gives them in words of `o_items`.

    Each packet begins with a new word on both sides. What fills its last input word is ignored; its
    last output word is filled with zeros. The output cannot wait.

    Without gaps at the input, word m of a packet whose first word is taken in cycle s leaves in
    cycle s + w[m], and the next packet's first word can be taken in the cycle in which the last
    word leaves::

        w[-1] = 0
        w[m]  = max(w[m - 1] + 1, ceil(min((m + 1) * o_items, length) / i_items))

    Parameters
    ----------
    item_bits : int
        Width of an item.
    i_items, o_items : int
        Items of an input and of an output word.
    max_length : int
        Longest packet.

    Members
    -------
    length : In(range(max_length + 1))
        Items of a packet; holds still from the cycle before `start` on.
    start : In(1)
        Forget what is held and await the first word of a packet of `length`.
    i : In(stream of i_items * item_bits)
        Input words, the first item lowest.
    i_last : Out(1)
        Whether the input word on offer is the last of its packet.
    o : Out(stream of o_items * item_bits, always ready)
        Output words.
    o_last : Out(1)
        Whether the output word is the last of its packet.
    """

    def __init__(self, *, item_bits: int, i_items: int, o_items: int, max_length: int):
        self._item_bits = item_bits
        self._i_items = i_items
        self._o_items = o_items
        self._max_length = max_length
        super().__init__(
            {
                "length": In(range(max_length + 1)),
                "start": In(1),
                "i": In(stream.Signature(i_items * item_bits)),
                "i_last": Out(1),
                "o": Out(stream.Signature(o_items * item_bits, always_ready=True)),
                "o_last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Hold what is left of the words so far; put the next word behind it."""
        m = Module()
        bits, i_items, o_items = self._item_bits, self._i_items, self._o_items
        # What is held is counted in grains, the last one of a packet maybe not full.
        grain = gcd(i_items, o_items)
        i_grains, o_grains = i_items // grain, o_items // grain
        capacity = o_grains + i_grains - 1

        held = Signal(capacity * grain * bits, reset_less=True)  # zeros above `level`
        level = Signal(range(capacity + 1))
        final = Signal(reset_less=True)  # the last word of the packet is among what is held
        left = Signal(range(self._max_length + 1), reset_less=True)  # items not yet taken
        single = Signal(reset_less=True)  # a packet is one word

        # Comparisons that cannot fail are left out: linters take them for mistakes.
        is_last_word = level <= o_grains if capacity > o_grains else Const(1)
        has_room = level < 2 * o_grains if capacity >= 2 * o_grains else Const(1)
        accept = Signal()
        position = Signal.like(level)  # level after this cycle's output: where the next word goes
        m.d.comb += [
            self.o.payload.eq(held[: o_items * bits]),
            self.o.valid.eq(Mux(final, level != 0, level >= o_grains)),
            self.o_last.eq(final & is_last_word),
            self.i.ready.eq(Mux(final, is_last_word, has_room)),
            accept.eq(self.i.valid & self.i.ready),
        ]
        with m.If(self.o.valid & ~self.o_last):
            m.d.comb += position.eq(level - o_grains)
        with m.Elif(~self.o.valid):
            m.d.comb += position.eq(level)

        valid_items = Signal(range(i_items + 1))
        m.d.comb += valid_items.eq(Mux(self.i_last, left, i_items))
        word = Signal(i_items * bits)
        m.d.comb += word.eq(
            Cat(
                Mux(index < valid_items, self.i.payload.word_select(index, bits), 0)
                for index in range(i_items)
            )
        )
        placed = Signal.like(held)
        with m.If(accept), m.Switch(position):
            for offset in range(o_grains):
                with m.Case(offset):
                    m.d.comb += placed.eq(word << (offset * grain * bits))

        m.d.sync += held.eq(Mux(self.o.valid, held >> (o_items * bits), held) | placed)
        # The items are rounded up to grains, without a division.
        valid_grains = 1 + sum(valid_items > index * grain for index in range(1, i_grains))
        m.d.sync += level.eq(position + Mux(accept, valid_grains, 0))
        with m.If(self.o.valid & self.o_last):
            m.d.sync += final.eq(0)
        with m.If(accept):
            m.d.sync += [
                final.eq(self.i_last),
                left.eq(Mux(self.i_last, self.length, left - i_items)),
                self.i_last.eq(Mux(self.i_last, single, left <= 2 * i_items)),
            ]
        m.d.sync += single.eq(self.length <= i_items)
        with m.If(self.start):
            m.d.sync += [held.eq(0), level.eq(0), final.eq(0)]
            m.d.sync += [left.eq(self.length), self.i_last.eq(single)]
        return m
