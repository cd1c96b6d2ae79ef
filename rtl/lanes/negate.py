"""`NegateLane`: the ternary lane in its textbook form."""

from amaranth.hdl import Module, Mux, Signal, signed

from hwsim.rtl.lanes.lane import Lane
from hwsim.rtl.tree import add, tree


class NegateLane(Lane):
    """Each trit selects 0, x or -x; an adder tree sums the selections.

    A selection has one bit more than the activation, since -(-128) needs it. `latency` is one cycle
    per register of the tree.
    """

    def elaborate(self, platform: object) -> Module:
        """Select, sum, accumulate."""
        m = Module()
        config = self._config

        terms = []
        for index in range(config.columns):
            x, trit = self.operands[index], self.weights[index]
            term = Signal(signed(config.activation_bits + 1), name=f"term_{index}")
            m.d.comb += term.eq(Mux(trit.nonzero, Mux(trit.negative, -x, x), 0))
            terms.append((term,))
        (total,) = tree(m, terms, add, pipeline=config.pipeline)

        m.d.comb += self.next.eq(Mux(self.first, 0, self.accumulator.as_signed()) + total)
        return m
