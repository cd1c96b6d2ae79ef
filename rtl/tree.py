"""The trees inside a lane."""

from collections.abc import Callable
from typing import NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value

Node = tuple[Value, ...]
"""What travels through a tree together: a sum, and what is still owed to it."""

Join = Callable[[Node, Node], Node]
"""From two neighbours to their sum."""


def tree(
    m: Module,
    nodes: list[Node],
    join: Join,
    *,
    pipeline: int,
    level: int = 0,
    alone: Callable[[Node], Node] = lambda node: node,
) -> Node:
    """Join `nodes` by neighbours until one is left.

    A node without a neighbour passes to the next level, through a register where its neighbours
    have one.

    Parameters
    ----------
    m
        Gets the signals.
    nodes
        The leaves.
    join
        Sums two neighbours.
    pipeline
        A register after every so many levels; 0: none.
    level
        Levels there have been before the leaves, for the place of the registers.
    alone
        What becomes of a node without a neighbour.

    Returns
    -------
    Node
        The root, as many cycles after the leaves as there are levels with a register.
    """
    while len(nodes) > 1:
        level += 1
        pairs = [nodes[index : index + 2] for index in range(0, len(nodes), 2)]
        nodes = [
            hold(
                m,
                alone(*pair) if len(pair) == 1 else join(*pair),
                name=f"level{level}_{index}",
                registered=bool(pipeline) and level % pipeline == 0,
            )
            for index, pair in enumerate(pairs)
        ]
    return nodes[0]


def hold(m: Module, node: Node, *, name: str, registered: bool) -> Node:
    """Give the values of a node names, and registers if it stands where there are some."""
    held = []
    for place, value in enumerate(node):
        shape: Shape = value.shape()
        signal = Signal(shape, name=f"{name}_{place}" if place else name, reset_less=True)
        m.d["sync" if registered else "comb"] += signal.eq(value)
        held.append(signal)
    return type(node)(*held) if isinstance(node, Signed | Completed) else tuple(held)


def add(left: Node, right: Node) -> Node:
    """Join (sum,) nodes: each sum is one bit wider than what goes into it."""
    return (left[0] + right[0],)


def add_with_carry(left: Node, right: Node) -> Node:
    """Join (sum, carry) nodes, where a carry is a 1 that its sum still lacks.

    The carry input of the adder takes the left one; the right one stays owed. So n leaves with a
    carry each need no adder more than n without, and the root owes a single one.

    A sum of k leaves of w bits, carries included, lies in k * -2**(w - 1) ... k * 2**(w - 1) - 1
    whatever the carries are: it never needs more bits than the sum of the leaves would.
    """
    width = max(len(left[0]), len(right[0])) + 1
    return ((left[0] + right[0] + left[1])[:width].as_signed(), right[1])


class Signed(NamedTuple):
    """Node that stands for -`sum` if it is `negative`."""

    sum: Value
    negative: Value


class Completed(NamedTuple):
    """Node that stands for `sum` + `carry`."""

    sum: Value
    carry: Value


def add_with_sign(left: Node, right: Node) -> Node:
    """Join a `Signed` or `Completed` node with a `Signed` one; the result is like the left one.

    The right sum is subtracted where the signs differ, and what the left node owes stays owed. So
    an adder takes its left operand as it is, which fits the carry chains of FPGAs.
    """
    subtract = right[1] if isinstance(left, Completed) else left[1] ^ right[1]
    made = Mux(subtract, right[0], ~right[0]).as_signed()
    return type(left)(plus_complement(left[0], made, subtract), left[1])  # type: ignore[call-arg]


def plus_complement(left: Value, complement: Value, carry: Value) -> Value:
    """Return left + ~complement + carry by one adder, a bit wider than the wider operand.

    For an operand that logic makes on its way into the adder. Synthesis may exchange the operands
    of a sum, and then that logic is built twice: for the sum, and for the carry chain. In a
    difference they stay, and the left operand alone feeds the chain. The place below the lowest one
    makes the carry.
    """
    width = max(len(left), len(complement)) + 1
    difference = Cat(carry, left).as_signed() - Cat(Const(1, 1), complement).as_signed()
    return difference[1 : 1 + width].as_signed()
