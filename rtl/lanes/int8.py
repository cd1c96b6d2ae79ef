"""`Int8Lane`: the baseline with integer multipliers."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data

from hwsim.config import ArrayConfig
from hwsim.rtl.lanes.lane import Lane
from hwsim.rtl.tree import add, tree


class Int8Lane(Lane):
    """Each int8 weight multiplies its activation; an adder tree sums the products.

    `latency` is one cycle per register of the tree.
    """

    @classmethod
    def weight_layout(cls, config: ArrayConfig) -> data.Layout:
        """Return the layout of a row of int8 weights."""
        return data.ArrayLayout(signed(config.weight_bits), config.columns)

    def elaborate(self, platform: object) -> Module:
        """Multiply, sum, accumulate."""
        m = Module()
        config = self._config

        terms = []
        for index in range(config.columns):
            term = Signal(signed(2 * config.activation_bits), name=f"term_{index}")
            m.d.comb += term.eq(self.operands[index] * self.weights[index])
            terms.append((term,))
        (total,) = tree(m, terms, add, pipeline=config.pipeline)

        sum_so_far = self.accumulator.as_signed()
        with m.If(self.first):
            m.d.comb += self.next.eq(total)
        with m.Else():
            m.d.comb += self.next.eq(sum_so_far + total)
        return m
