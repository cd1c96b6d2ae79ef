"""The adder tree inside a lane."""

from amaranth.hdl import Module, Shape, Signal, Value

from hwsim.config import tree_levels


def adder_tree(m: Module, terms: list[Value], *, pipeline: int) -> Value:
    """Add signed `terms` by neighbours, each sum one bit wider than what goes into it.

    A term without a neighbour passes to the next level, through a register where its neighbours
    have one.

    Returns
    -------
    Value
        The sum, as many cycles after its terms as there are levels with a register.
    """
    for level in range(1, tree_levels(len(terms)) + 1):
        registered = pipeline and level % pipeline == 0
        sums: list[Value] = []
        for index in range(0, len(terms), 2):
            pair = terms[index : index + 2]
            value = pair[0] if len(pair) == 1 else pair[0] + pair[1]
            shape: Shape = value.shape()
            result = Signal(shape, name=f"level{level}_{index // 2}", reset_less=True)
            m.d["sync" if registered else "comb"] += result.eq(value)
            sums.append(result)
        terms = sums
    return terms[0]
