"""`Lane`: the interface of all lanes."""

from typing import ClassVar

from amaranth.hdl import Module, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwsim.config import ArrayConfig
from hwsim.rtl.layouts import Trit

RECODER_MODULE = "hwsim_recoder"
"""Name of the recoder in emitted designs."""


class Lane(wiring.Component):
    """One row of the array: adds a dot product of `columns` places to an accumulator.

    ::

        next = (0 if first else accumulator) + sum(weights[n] * activations[n] for n in range(N))

    `accumulator`, `first` and `next` belong together in one cycle, `latency` cycles after the
    `operands` and `weights` of the same step. A lane takes a step in every cycle and never stalls.
    The accumulators themselves stand outside, in `AccumulatorBank`.

    What can be made of the activations once for all lanes is made by `prepare`, and what can be
    made of a weight once for all tokens by `recode`: a lane's ports have the results.

    Parameters
    ----------
    config : ArrayConfig
        `columns`, `lane`, `activation_bits`, `accumulator_bits`, `pipeline` and `group` are used.

    Members
    -------
    operands : In(operand_layout)
        The prepared activations of a step, from a register that all lanes share.
    weights : In(weight_layout)
        The recoded weights, from the weight tile.
    accumulator : In(accumulator_bits)
        Sum so far.
    first : In(1)
        Whether this step begins a new sum.
    next : Out(accumulator_bits)
        Sum with this step in it; combinational in `accumulator` and `first`.
    """

    def __init__(self, config: ArrayConfig):
        self._config = config
        super().__init__(
            {
                "operands": In(self.operand_layout(config)),
                "weights": In(self.weight_layout(config)),
                "accumulator": In(unsigned(config.accumulator_bits)),
                "first": In(1),
                "next": Out(unsigned(config.accumulator_bits)),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from `operands` and `weights` to `next`."""
        return self._config.lane_latency

    @classmethod
    def operand_layout(cls, config: ArrayConfig) -> data.Layout:
        """Return the layout of a prepared word of activations."""
        return data.ArrayLayout(signed(config.activation_bits), config.columns)

    @classmethod
    def prepare(cls, config: ArrayConfig, activations: Value) -> Value:
        """Return what all lanes share of `columns` activations."""
        return activations

    @classmethod
    def weight_layout(cls, config: ArrayConfig) -> data.Layout:
        """Return the layout of a recoded row of weights; as wide as the row itself."""
        return data.ArrayLayout(Trit, config.columns)

    recodes: ClassVar[bool] = False
    """Whether `recode` does anything."""

    @classmethod
    def recode(cls, m: Module, config: ArrayConfig, weights: Value) -> Value:
        """Return a recoded row of weights, `config.tile_row_bits` wide like the row itself."""
        return weights

    @classmethod
    def parts(cls, config: ArrayConfig) -> dict[str, wiring.Component]:
        """Return the modules that an emitted design has once, by name, besides the lane."""
        return {RECODER_MODULE: Recoder(config, cls)} if cls.recodes else {}


class Recoder(wiring.Component):
    """Recodes one row of weights on its way into the tile: see `Lane.recode`.

    Parameters
    ----------
    config : ArrayConfig
        As for `Lane`.
    lane : type[Lane]
        The lane that wants it.

    Members
    -------
    weights : In(tile_row_bits)
        As decoded.
    recoded : Out(tile_row_bits)
        As the lane's weights.
    """

    def __init__(self, config: ArrayConfig, lane: type[Lane]):
        self._config = config
        self._lane = lane
        super().__init__(
            {"weights": In(config.tile_row_bits), "recoded": Out(config.tile_row_bits)}
        )

    def elaborate(self, platform: object) -> Module:
        """Recode."""
        m = Module()
        m.d.comb += self.recoded.eq(self._lane.recode(m, self._config, self.weights))
        return m


def copies_of(prepared: Value, config: ArrayConfig) -> list[Signal]:
    """Return the operand registers, one for every `broadcast_rows` rows; synthesis keeps all."""
    return [
        Signal(len(prepared), name=f"operands_{copy}", reset_less=True, attrs={"keep": 1})
        for copy in range(config.operand_copies)
    ]
