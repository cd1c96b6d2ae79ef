"""The trees inside a lane."""

from collections.abc import Callable

from amaranth.hdl import Module, Mux, Shape, Signal, Value

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
    return tuple(held)


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


def add_with_sign(left: Node, right: Node) -> Node:
    """Join (sum, negative) nodes, where a node stands for -sum if it is negative.

    The right sum is subtracted where the signs differ, and the left sign stays owed. So an adder
    takes one operand as it is, which fits the carry chains of FPGAs.
    """
    width = max(len(left[0]), len(right[0])) + 1
    differ = left[1] ^ right[1]
    return ((left[0] + _inverted(right[0], differ) + differ)[:width].as_signed(), left[1])


def _inverted(value: Value, condition: Value) -> Value:
    return Mux(condition, ~value, value)
