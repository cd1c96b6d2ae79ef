"""`LaneArray`: the lanes of a core by themselves, as something to synthesize and measure."""

from amaranth.hdl import Cat, Module, Signal
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
    weights : In(rows * tile_row_bits)
        Recoded, one cycle after the activations of the same step.
    first : In(1)
        With the sum of a step: begin a new one.
    sums : Out(rows * accumulator_bits)
        The accumulators.
    """

    def __init__(self, config: ArrayConfig):
        self._config = config
        super().__init__(
            {
                "activations": In(config.columns * config.activation_bits),
                "weights": In(config.rows * config.tile_row_bits),
                "first": In(1),
                "sums": Out(config.rows * config.accumulator_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Put registers around the lanes."""
        m = Module()
        config = self._config
        prepared = LANES[config.lane].prepare(config, self.activations)
        operands = copies_of(prepared, config)
        m.d.sync += [copy.eq(prepared) for copy in operands]
        accumulators = Signal(len(self.sums), reset_less=True)
        sums = [
            add_repeated(
                m,
                platform,
                lambda: LANES[config.lane](config),
                {
                    "operands": operands[row // (config.broadcast_rows or config.rows)],
                    "weights": self.weights.word_select(row, config.tile_row_bits),
                    "accumulator": accumulators.word_select(row, config.accumulator_bits),
                    "first": self.first,
                },
                "next",
                module=LANE_MODULE,
                name=f"lane_{row}",
                width=config.accumulator_bits,
                clocked=config.lane_latency > 0,
            )
            for row in range(config.rows)
        ]
        m.d.sync += accumulators.eq(Cat(sums))
        m.d.comb += self.sums.eq(accumulators)
        return m
