"""A lane with what the core puts before it."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwsim.config import ArrayConfig
from hwsim.rtl.lanes import LANES


class Row(wiring.Component):
    """Plain activations and weights in, no registers but the lane's own."""

    def __init__(self, config: ArrayConfig):
        self._config = config
        super().__init__(
            {
                "activations": In(config.columns * config.activation_bits),
                "weights": In(config.columns * config.weight_bits),
                "accumulator": In(config.accumulator_bits),
                "first": In(1),
                "next": Out(config.accumulator_bits),
            }
        )
        self.lane = LANES[config.lane](config)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, lane = self._config, self.lane
        m.submodules.lane = lane
        weights = Signal(config.tile_row_bits)
        m.d.comb += [
            weights.eq(self.weights),
            lane.operands.as_value().eq(lane.prepare(config, self.activations)),
            lane.weights.as_value().eq(lane.recode(m, config, weights)),
            lane.accumulator.eq(self.accumulator),
            lane.first.eq(self.first),
            self.next.eq(lane.next),
        ]
        return m
