"""`LaneArray`: the lanes of a core by themselves, as something to synthesize and measure."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwsim.config import ArrayConfig
from hwsim.rtl.lanes import LANE_MODULE, LANES, copies_of
from hwsim.rtl.platform import add_repeated


class LaneArray(wiring.Component):
    """All lanes between registers: operands before them, one accumulator a lane behind them.

    What a core has besides (weight tile, decoder, buffers, control) is left out, so that weights
    and `first` are ports. The sums that lanes share (see `Lane.prepare`) are inside.

    Parameters
    ----------
    config : ArrayConfig
        As for `Core`.

    Members
    -------
    activations : In(columns * activation_bits)
        One step a cycle.
    weights : array of In(tile_row_bits)
        A row each, recoded, one cycle after the activations of the same step.
    first : In(1)
        With the sum of a step: begin a new one.
    sums : array of Out(accumulator_bits)
        The accumulators, registers.
    """

    def __init__(self, config: ArrayConfig):
        self._config = config
        super().__init__(
            {
                "activations": In(config.columns * config.activation_bits),
                "weights": In(config.tile_row_bits).array(config.rows),
                "first": In(1),
                "sums": Out(config.accumulator_bits).array(config.rows),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Put registers around the lanes."""
        m = Module()
        config = self._config
        prepared = LANES[config.lane].prepare(config, self.activations)
        operands = copies_of(prepared, config)
        m.d.sync += [copy.eq(prepared) for copy in operands]
        for row, accumulator in enumerate(self.sums):
            following = add_repeated(
                m,
                platform,
                lambda: LANES[config.lane](config),
                {
                    "operands": operands[row // config.operand_rows],
                    "weights": self.weights[row],
                    "accumulator": accumulator,
                    "first": self.first,
                },
                "next",
                module=LANE_MODULE,
                name=f"lane_{row}",
                width=config.accumulator_bits,
                clocked=config.lane_latency > 0,
            )
            m.d.sync += accumulator.eq(following)
        return m
