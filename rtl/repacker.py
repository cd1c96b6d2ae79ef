"""`Repacker`: from words of one width to words of another, packet by packet."""

from functools import reduce
from math import gcd
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.rtl.platform import copies
from hwsim.rtl.walker import Ahead

_DECIDED = data.StructLayout({"leaves": 1, "last": 1, "mark": 1})
"""What is decided about an output word before it leaves."""


class Repacker(wiring.Component):
    """Takes packets of `length` items in words of `i_items`, gives them in words of `o_items`.

    Each packet begins with a new word on both sides. What fills its last input word is ignored; its
    last output word is filled with zeros. The output cannot wait.

    A word goes from the input to a queue of two, from there through two registers, and then to what
    is held for the output, so that little lies between any two of them. Where the input is never
    late, word m of a packet whose first word leaves the queue in cycle s leaves in cycle
    s + w[m] + 2, and the next packet's first word can leave the queue in cycle s + w[m] of this
    one's last word::

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
        Await the first word of a packet of `length`; only while nothing is inside.
    i : In(stream of i_items * item_bits)
        Input words, the first item lowest.
    i_last : Out(1)
        Whether the input word on offer is the last of its packet.
    i_mark : In(1)
        Anything about the packet, given with its last word.
    o : Out(stream of o_items * item_bits, always ready)
        Output words.
    o_last : Out(1)
        Whether the output word is the last of its packet.
    o_mark : Out(1)
        What was given about the packet, with its last word.
    soon : Out(struct of leaves, last, mark)
        What `o.valid`, `o_last` and `o_mark` will be in the next cycle.
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
                "i_mark": In(1),
                "o": Out(stream.Signature(o_items * item_bits, always_ready=True)),
                "o_last": Out(1),
                "o_mark": Out(1),
                "soon": Out(_DECIDED),
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

        # The input: what a packet does not fill is zero from here on. What the word on offer is
        # stands in registers.
        left = Signal(range(self._max_length + 1), reset_less=True)  # items not yet taken
        filled = Signal(i_items, reset_less=True)  # places that hold items of the packet
        single = Signal(reset_less=True)  # a packet is one word
        first_filled = Signal(i_items, reset_less=True)  # of its first word

        # Comparisons that cannot fail are left out: linters take them for mistakes.
        def exceeds(items: Value, count: int) -> Value:
            return items > count if count < self._max_length else Const(0)

        word = data.StructLayout(
            {"items": i_items * bits, "grains": range(i_grains + 1), "last": 1, "mark": 1}
        )
        m.submodules.queue = queue = Ahead(word)
        m.d.comb += [
            queue.i.payload.items.eq(self.i.payload & Cat(used.replicate(bits) for used in filled)),
            # The items are rounded up to grains, without a division.
            queue.i.payload.grains.eq(1 + sum(filled[grain::grain])),
            queue.i.payload.last.eq(self.i_last),
            queue.i.payload.mark.eq(self.i_mark),
            queue.i.valid.eq(self.i.valid),
            self.i.ready.eq(queue.i.ready),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                left.eq(left - i_items),
                self.i_last.eq(left <= 2 * i_items),
                filled.eq(Cat(exceeds(left, i_items + index) for index in range(i_items))),
            ]
        m.d.sync += [
            single.eq(self.length <= i_items),
            first_filled.eq(Cat(exceeds(self.length, index) for index in range(i_items))),
        ]
        with m.If(self.start | (self.i.valid & self.i.ready & self.i_last)):
            m.d.sync += [
                left.eq(self.length),
                self.i_last.eq(single),
                filled.eq(first_filled),
            ]

        # What happens to what is held, a cycle before it does.
        level = Signal(range(capacity + 1))
        final = Signal()  # the last word of the packet is among what is held
        mark = Signal(reset_less=True)
        is_last_word = level <= o_grains if capacity > o_grains else Const(1)
        has_room = level < 2 * o_grains if capacity >= 2 * o_grains else Const(1)
        leaves = Signal()
        ends = Signal()
        accept = Signal()
        position = Signal.like(level)  # level after this cycle's output: where the next word goes
        m.d.comb += [
            leaves.eq(Mux(final, level != 0, level >= o_grains)),
            ends.eq(final & is_last_word),
            queue.o.ready.eq(Mux(final, is_last_word, has_room)),
            accept.eq(queue.o.valid & queue.o.ready),
        ]
        with m.If(leaves & ~ends):
            m.d.comb += position.eq(level - o_grains)
        with m.Elif(~leaves):
            m.d.comb += position.eq(level)
        m.d.sync += level.eq(position + Mux(accept, queue.o.payload.grains, 0))
        with m.If(leaves & ends):
            m.d.sync += final.eq(0)
        with m.If(accept):
            m.d.sync += [final.eq(queue.o.payload.last), mark.eq(queue.o.payload.mark)]

        # In the next cycle it is made out where the word goes, then it goes there.
        first = Signal(_DECIDED)
        second = Signal(_DECIDED)
        place = Signal.like(position, init=o_grains)  # beyond the last one, if nothing comes
        places = Signal(o_grains)  # one-hot
        following = Signal(i_items * bits, reset_less=True)
        coming = Signal.like(following, reset_less=True)
        clear = Signal()
        held = Signal(capacity * grain * bits, reset_less=True)  # zeros above what there is
        m.d.sync += [
            first.eq(Cat(leaves, ends, mark)),
            second.eq(first),
            clear.eq(self.start),
            place.eq(Mux(accept, position, o_grains)),
            places.eq(Cat(place == offset for offset in range(o_grains))),
            following.eq(queue.o.payload.items),
            coming.eq(following),
        ]
        m.d.comb += [
            self.o.valid.eq(second.leaves),
            self.o_last.eq(second.last),
            self.o_mark.eq(second.mark),
            self.soon.eq(first),
        ]
        # What is held is wide: each of its grains has a register that moves it. A grain is picked
        # before it is moved, since Amaranth writes all of an expression out for each part taken.
        grain_bits = grain * bits
        shifts = copies(m, first.leaves | self.start, capacity, name="shift")
        for index, shift in enumerate(shifts):
            here = held.word_select(index, grain_bits)
            behind = index + o_grains
            shifted = held.word_select(behind, grain_bits) if behind < capacity else Const(0)
            comes = [
                Mux(place, coming.word_select(index - offset, grain_bits), 0)
                for offset, place in enumerate(places)
                if 0 <= index - offset < i_grains
            ]
            m.d.sync += here.eq(reduce(or_, comes, Mux(shift, Mux(clear, 0, shifted), here)))
        m.d.comb += self.o.payload.eq(held[: o_items * bits])
        return m
