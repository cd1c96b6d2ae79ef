"""`CarryFoldLane`: negation without adders of its own."""

from amaranth.hdl import Module, Mux, Value

from hwsim.rtl.lanes.lane import Lane
from hwsim.rtl.tree import Node, add_with_carry, hold, plus_complement, tree


class CarryFoldLane(Lane):
    """Each trit passes 0, x or ~x; the carry inputs of the adders complete the negations.

    -x is ~x + 1. A tree of N terms has N - 1 adders and the accumulator's is one more, so their N
    carry inputs take the N ones, and a term is no wider than its activation.

    The first level sums three terms by two adders. An FPGA adds a term to a finished sum in one
    look-up table a bit, selection included, where two terms that meet take two. It also saves the
    registers of a level. Where `broadcast_rows` asks for a fast clock it sums two, since two adders
    in a row are the longest path of a core. `latency` is one cycle per register of the tree.
    """

    def elaborate(self, platform: object) -> Module:
        """Select, sum, accumulate."""
        m = Module()
        config = self._config

        nodes: list[Node] = []
        for first in range(0, config.columns, config.leaf_columns):
            node: Node = (~self._complement(first), self.weights[first].negative)
            for index in range(first + 1, min(first + config.leaf_columns, config.columns)):
                total = plus_complement(node[0], self._complement(index), node[1])
                node = (total, self.weights[index].negative)
            registered = config.pipeline == 1
            nodes.append(hold(m, node, name=f"level1_{len(nodes)}", registered=registered))
        total, carry = tree(m, nodes, add_with_carry, pipeline=config.pipeline, level=1)

        sum_so_far = Mux(self.first, 0, self.accumulator.as_signed())
        m.d.comb += self.next.eq(total + sum_so_far + carry)
        return m

    def _complement(self, index: int) -> Value:
        """Return ~term."""
        x, trit = self.operands[index], self.weights[index]
        return Mux(trit.nonzero, Mux(trit.negative, x, ~x), ~0).as_signed()
