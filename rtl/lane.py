"""The interface of all lanes, and the ternary lane in its textbook form."""

from typing import ClassVar

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwsim.config import ArrayConfig
from hwsim.rtl.layouts import Trit
from hwsim.rtl.tree import adder_tree

LANE_MODULE = "hwsim_lane"
"""Name of the lane in emitted designs."""


class Lane(wiring.Component):
    """One row of the array: adds a dot product of `columns` places to an accumulator.

    ::

        next = (0 if first else accumulator) + sum(weights[n] * activations[n] for n in range(N))

    `accumulator`, `first` and `next` belong together in one cycle, `latency` cycles after the
    `activations` and `weights` of the same step. A lane takes a step in every cycle and never
    stalls. The accumulators themselves stand outside, in `AccumulatorBank`.

    Parameters
    ----------
    config : ArrayConfig
        `columns`, `activation_bits`, `accumulator_bits` and `pipeline` are used.

    Members
    -------
    activations : In(ArrayLayout(signed(activation_bits), columns))
        Operands, from a register.
    weights : In(ArrayLayout(weight_shape, columns))
        Operands, from the weight tile.
    accumulator : In(accumulator_bits)
        Sum so far.
    first : In(1)
        Whether this step begins a new sum.
    next : Out(accumulator_bits)
        Sum with this step in it; combinational in `accumulator` and `first`.
    """

    weight_shape: ClassVar[object]

    def __init__(self, config: ArrayConfig):
        self._config = config
        super().__init__(
            {
                "activations": In(data.ArrayLayout(signed(config.activation_bits), config.columns)),
                "weights": In(data.ArrayLayout(self.weight_shape, config.columns)),
                "accumulator": In(unsigned(config.accumulator_bits)),
                "first": In(1),
                "next": Out(unsigned(config.accumulator_bits)),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from `activations` and `weights` to `next`."""
        return self._config.lane_latency


class NegateLane(Lane):
    """Each trit selects 0, x or -x; an adder tree sums the selections.

    A selection has one bit more than the activation, since -(-128) needs it. `latency` is one cycle
    per register of the tree.
    """

    weight_shape = Trit

    def elaborate(self, platform: object) -> Module:
        """Select, sum, accumulate."""
        m = Module()

        terms = []
        for index in range(self._config.columns):
            x, trit = self.activations[index], self.weights[index]
            term = Signal(signed(self._config.activation_bits + 1), name=f"term_{index}")
            m.d.comb += term.eq(Mux(trit.nonzero, Mux(trit.negative, -x, x), 0))
            terms.append(term)
        total = adder_tree(m, terms, pipeline=self._config.pipeline)

        m.d.comb += self.next.eq(Mux(self.first, 0, self.accumulator.as_signed()) + total)
        return m


LANES: dict[str, type[Lane]] = {"negate": NegateLane}
"""Lanes that there is hardware for, by the name they have in `ArrayConfig.lane`."""
