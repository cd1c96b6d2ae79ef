"""What streams promise, as claims of a `Contract`."""

from collections.abc import Sequence

from amaranth.hdl import Array, Mux, Signal, Value, ValueLike
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


def least(left: Value, right: ValueLike) -> Value:
    """Return the lesser number."""
    return Mux(left < right, left, right)
