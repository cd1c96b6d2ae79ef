"""`CarryFoldLane`: negation without adders of its own."""

from amaranth.hdl import Module, Mux, Signal, signed

from hwsim.rtl.lanes.lane import Lane
from hwsim.rtl.tree import add_with_carry, tree


class CarryFoldLane(Lane):
    """Each trit selects 0, x or ~x; the carry inputs of the adders complete the negations.

    -x is ~x + 1. A tree of N terms has N - 1 adders and the accumulator's is one more, so their N
    carry inputs take the N ones, and a selection is no wider than its activation. `latency` is one
    cycle per register of the tree.
    """

    def elaborate(self, platform: object) -> Module:
        """Select, sum, accumulate."""
        m = Module()
        config = self._config

        terms = []
        for index in range(config.columns):
            x, trit = self.operands[index], self.weights[index]
            term = Signal(signed(config.activation_bits), name=f"term_{index}")
            m.d.comb += term.eq(Mux(trit.nonzero, Mux(trit.negative, ~x, x), 0))
            terms.append((term, trit.negative))
        total, carry = tree(m, terms, add_with_carry, pipeline=config.pipeline)

        sum_so_far = Mux(self.first, 0, self.accumulator.as_signed())
        m.d.comb += self.next.eq(sum_so_far + total + carry)
        return m
