"""What streams promise, as claims of a `Contract`."""

from collections.abc import Mapping, Sequence

from amaranth.hdl import Array, Cat, Mux, Signal, Value, ValueLike
from formal.contract import Contract


def steady(c: Contract, name: str, *, valid: Value, ready: Value, payload: ValueLike) -> None:
    """Claim that what is offered stays until it is taken."""
    payload = Value.cast(payload)
    waited = Signal(name=f"{name}_waited")
    offered = Signal.like(payload, name=f"{name}_offered")
    c.m.d.sync += [waited.eq(valid & ~ready), offered.eq(payload)]
    c.claim(f"{name}: stays valid until it is taken", ~waited | valid)
    c.claim(f"{name}: payload stays until it is taken", ~waited | (payload == offered))


def conserved(
    c: Contract,
    name: str,
    *,
    i_items: Sequence[Value],
    i_count: Value,
    o_items: Sequence[Value],
    o_count: Value,
    capacity: int,
    clear: ValueLike = 0,
) -> Signal:
    """Claim that items leave as they came: each once, in order, with its value.

    One item, chosen freely among all that ever come, is followed: `ahead` counts those before it.
    As the choice is free, what holds for it holds for all of them.

    Parameters
    ----------
    c
        Gets the claims.
    name
        Of the items.
    i_items, i_count
        Places of the input, and how many of them, lowest first, bring an item in this cycle.
    o_items, o_count
        Likewise of the output.
    capacity
        Most items that can be inside.
    clear
        The items inside are dropped, on purpose.

    Returns
    -------
    Signal
        How many items are inside.
    """
    m = c.m
    follow = Signal(name=f"{name}_follow")
    place = Signal(range(len(i_items)), name=f"{name}_place")
    c.free(follow, place)

    inside = Signal(range(capacity + len(i_items) + 1), name=f"{name}_inside")
    following = Signal(name=f"{name}_following")
    ahead = Signal.like(inside, name=f"{name}_ahead")
    value = Signal(len(i_items[0]), name=f"{name}_value")
    staying = Signal.like(inside, name=f"{name}_staying")
    leaves = Signal(name=f"{name}_leaves")
    m.d.comb += [staying.eq(inside - o_count), leaves.eq(following & (ahead < o_count))]
    m.d.sync += inside.eq(staying + i_count)
    with m.If(following):
        m.d.sync += [ahead.eq(ahead - o_count), following.eq(~leaves)]
    with m.Elif(follow & (place < i_count)):
        m.d.sync += [following.eq(1), ahead.eq(staying + place), value.eq(Array(i_items)[place])]
    with m.If(clear):
        m.d.sync += [inside.eq(0), following.eq(0)]

    c.claim(f"{name}: none is made up or sent twice", o_count <= inside)
    c.claim(f"{name}: none is lost", staying + i_count <= capacity)
    c.claim(f"{name}: each keeps value and turn", ~leaves | (Array(o_items)[ahead] == value))
    c.reach(f"{name}: one leaves", leaves)
    return inside


WINDOW = 5
"""Cycles in which all claims of `counted` are made: more of them say nothing new."""


def counted(
    c: Contract, counts: Mapping[str, Value], *, begins: Value
) -> tuple[Value, dict[str, Value]]:
    """Claim that each count stays or goes up by one, and `total` by what the others do.

    In the second cycle after that in which a layer `begins`, they are 2 or 0: `total` and
    `fill_drain` have counted two cycles by then.

    The contract has to be one about every state. A claim looks three cycles back, and those may be
    any ones: what holds in the first `WINDOW` cycles holds in all, for counts of any length.

    Returns
    -------
    Value
        Whether the counts can be compared with those of the cycle before.
    dict[str, Value]
        Of each cause, whether its count is one more than then.
    """
    m = c.m
    known = Signal(2, name="known")  # what was in the two cycles before
    begun = Signal(2, name="begun")
    m.d.sync += [known.eq(Cat(c.started, known)), begun.eq(Cat(begins, begun))]
    counting = known.all() & ~begun[1]
    before = {name: Signal(len(count), name=f"{name}_before") for name, count in counts.items()}
    grown = {}
    for name, count in counts.items():
        m.d.sync += before[name].eq(count)
        start = 2 if name in ("total", "fill_drain") else 0
        c.claim(f"{name} begins", ~known.all() | ~begun[1] | (count == start))
        if name != "total":
            grown[name] = count == (before[name] + 1)[: len(count)]
            c.claim(f"{name} stays or grows", ~counting | (count == before[name]) | grown[name])
    total = (before["total"] + sum(grown.values()))[: len(before["total"])]
    c.claim("total grows as they do", ~counting | (counts["total"] == total))
    return counting, grown


def least(left: Value, right: ValueLike) -> Value:
    """Return the lesser number."""
    return Mux(left < right, left, right)
