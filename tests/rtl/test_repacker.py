from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product

from amaranth.hdl import Signal
from amaranth.sim import SimulatorContext
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import simulate

from hwsim.rtl.repacker import Repacker

BITS = 8


@dataclass
class Seen:
    """Words and cycles on both sides, and where packets ended."""

    taken: list[int] = field(default_factory=list)
    i_last: list[bool] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    words: list[list[int]] = field(default_factory=list)
    o_last: list[bool] = field(default_factory=list)


def repack(
    i_items: int,
    o_items: int,
    packets: list[list[int]],
    offers: Callable[[int], bool] = lambda cycle: True,
) -> Seen:
    """Feed packets of one length; what fills their last words is not zero."""
    length = len(packets[0])
    dut = Repacker(item_bits=BITS, i_items=i_items, o_items=o_items, max_length=length + 3)
    queue = []
    for packet in packets:
        filled = packet + [0xEE] * (-length % i_items)
        queue += [filled[at : at + i_items] for at in range(0, len(filled), i_items)]
    expected = len(packets) * -(-length // o_items)
    seen = Seen()

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(dut.length, length)
        await ctx.tick()
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        offering = False
        for cycle in range(20 + 10 * (len(queue) + expected)):
            offering = bool(queue) and (offering or offers(cycle))
            ctx.set(dut.i.valid, offering)
            if offering:
                number = sum(item << BITS * place for place, item in enumerate(queue[0]))
                ctx.set(dut.i.payload, number)
            if ctx.get(dut.o.valid):
                number = ctx.get(dut.o.payload)
                seen.left.append(cycle)
                seen.words.append([number >> BITS * place & 0xFF for place in range(o_items)])
                seen.o_last.append(bool(ctx.get(dut.o_last)))
            if offering and ctx.get(dut.i.ready):
                seen.taken.append(cycle)
                seen.i_last.append(bool(ctx.get(dut.i_last)))
                queue.pop(0)
                offering = False
            await ctx.tick()

    simulate(dut, bench)
    assert not queue
    return seen


@st.composite
def packets(draw: st.DrawFn) -> list[list[int]]:
    length = draw(st.integers(1, 30))
    item = st.integers(0, 255)
    return draw(st.lists(st.lists(item, min_size=length, max_size=length), min_size=1, max_size=4))


items = st.integers(1, 9)


def whole(seen: Seen, i_items: int, o_items: int, sent: list[list[int]]) -> bool:
    """Return whether the packets came out as they went in, filled with zeros."""
    length = len(sent[0])
    in_words, out_words = -(-length // i_items), -(-length // o_items)
    received = [
        [item for word in seen.words[at : at + out_words] for item in word]
        for at in range(0, len(seen.words), out_words)
    ]
    fill = [0] * (-length % o_items)
    ends = [False] * (out_words - 1) + [True], [False] * (in_words - 1) + [True]
    return (
        received == [packet + fill for packet in sent]
        and seen.o_last == ends[0] * len(sent)
        and seen.i_last == ends[1] * len(sent)
    )


@settings(max_examples=60)
@given(i_items=items, o_items=items, sent=packets())
def test_without_gaps_words_leave_when_the_docstring_says(
    i_items: int, o_items: int, sent: list[list[int]]
) -> None:
    seen = repack(i_items, o_items, sent)
    assert whole(seen, i_items, o_items, sent)
    length = len(sent[0])
    in_words, out_words = -(-length // i_items), -(-length // o_items)
    start = seen.taken[0]
    assert start == 0
    begins = start + 1  # the first word of a packet leaves the queue
    for number in range(len(sent)):
        assert seen.taken[number * in_words] < begins
        latest = 0
        for m in range(out_words):
            latest = max(latest + 1, -(-min((m + 1) * o_items, length) // i_items))
            assert seen.left[number * out_words + m] == begins + latest + 2
        begins += latest


@settings(max_examples=60)
@given(i_items=items, o_items=items, sent=packets(), gaps=st.lists(st.booleans(), min_size=1))
def test_with_gaps_the_same_items_come_out(
    i_items: int, o_items: int, sent: list[list[int]], gaps: list[bool]
) -> None:
    seen = repack(i_items, o_items, sent, lambda cycle: cycle % 5 == 0 or gaps[cycle % len(gaps)])
    assert whole(seen, i_items, o_items, sent)


def fixed() -> Repacker:
    """Return the one that is also mutated: see `tests/mutation`."""
    return Repacker(item_bits=BITS, i_items=3, o_items=2, max_length=13)


async def pass_packets(
    ctx: SimulatorContext, dut: Repacker, length: int, gap: int, cycles: int | None = None
) -> None:
    """Start, send three packets, a word every `gap` cycles at most; check what leaves.

    With `cycles`, stop in the midst of it.
    """
    packets = [[(17 * n + 29 * p + 1) % 256 for n in range(length)] for p in range(3)]
    queue = []
    for packet in packets:
        filled = packet + [0xEE] * (-length % 3)
        queue += [(filled[at : at + 3], at + 3 >= length) for at in range(0, length, 3)]
    wanted = []
    for packet in packets:
        filled = packet + [0] * (-length % 2)
        wanted += [(filled[at : at + 2], at + 2 >= length) for at in range(0, length, 2)]
    ctx.set(dut.length, length)
    await ctx.tick()
    ctx.set(dut.start, 1)
    await ctx.tick()
    ctx.set(dut.start, 0)
    left = 0
    arrived = [0] * 5  # items, now and in the cycles before
    offering = False
    for cycle in range(cycles or 12 * (len(queue) + 3)):
        offering = bool(queue) and (offering or cycle % gap == 0)
        ctx.set(dut.i.valid, offering)
        if queue:
            items, last = queue[0]
            number = sum(item << BITS * place for place, item in enumerate(items))
            ctx.set(dut.i.payload, number)
        # A word leaves when it is there, whole or the end of its packet: not before the
        # fourth cycle, and in that one if no word waited in the queue.
        packet, sent = divmod(left, -(-length // 2))
        needed = packet * length + min(length, 2 * sent + 2)
        there = ctx.get(dut.o.valid)
        assert not there or arrived[3] >= needed
        assert there or gap == 1 or arrived[3] < needed
        if there:
            items, ends = wanted[left]
            number = ctx.get(dut.o.payload)
            assert [number >> BITS * place & 0xFF for place in range(2)] == items
            assert ctx.get(dut.o_last) == ends
            assert not ends or ctx.get(dut.o_mark) == (packet & 1)
            left += 1
        arrived[1:] = arrived[:-1]
        if offering and ctx.get(dut.i.ready):
            assert ctx.get(dut.i_last) == last
            ctx.set(dut.i_mark, arrived[0] // length & 1)
            arrived[0] += min(3, length - arrived[0] % length)
            queue.pop(0)
            offering = False
        await ctx.tick()
    assert cycles or (left == len(wanted) and not queue)


def test_packets_of_all_lengths() -> None:
    """One component, restarted for every length, with and without gaps."""
    dut = fixed()
    checked = 0

    async def bench(ctx: SimulatorContext) -> None:
        nonlocal checked
        for length, gap in product(range(1, 14), (1, 2, 3)):
            await pass_packets(ctx, dut, length, gap)
            checked += 1

    simulate(dut, bench)
    assert checked == 39


def test_a_reset_takes_what_is_inside() -> None:
    """In any cycle of a packet; the next one has nothing of it, in the places it does not fill."""
    dut, reset = fixed(), Signal()
    checked = 0

    async def bench(ctx: SimulatorContext) -> None:
        nonlocal checked
        for length, cycles in product((3, 8, 13), range(1, 13)):
            await pass_packets(ctx, dut, length, 1, cycles)
            ctx.set(dut.i.valid, 0)
            ctx.set(reset, 1)
            await ctx.tick()
            ctx.set(reset, 0)
            for _ in range(4):
                assert not ctx.get(dut.o.valid)
                await ctx.tick()
            await pass_packets(ctx, dut, 5, 1)
            checked += 1

    simulate(dut, bench, reset=reset)
    assert checked == 36
