import numpy as np
import pytest
from amaranth.sim import Simulator, SimulatorContext

from hwsim.config import ArrayConfig
from hwsim.rtl.lane import NegateLane


def packed(values: list[int], bits: int) -> int:
    """Return `values` as one number, the first lowest."""
    return sum((value & ((1 << bits) - 1)) << bits * place for place, value in enumerate(values))


def test_one_column_is_exact_for_all_trits_and_activations() -> None:
    config = ArrayConfig(rows=1, columns=1)
    lane = NegateLane(config)
    seen = []

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(lane.accumulator, 1000)
        for first in (0, 1):
            ctx.set(lane.first, first)
            for trit in (-1, 0, 1):
                ctx.set(lane.weights.as_value(), packed([trit], 2))
                for x in range(-128, 128):
                    ctx.set(lane.activations.as_value(), packed([x], 8))
                    await ctx.delay(1e-9)
                    expected = (0 if first else 1000) + trit * x
                    assert ctx.get(lane.next) == expected % (1 << 24), (first, trit, x)
                    seen.append((first, trit, x))

    simulator = Simulator(lane)
    simulator.add_testbench(bench)
    simulator.run()
    assert len(set(seen)) == 2 * 3 * 256


@pytest.mark.parametrize("pipeline", [0, 1, 2, 3])
@pytest.mark.parametrize("columns", [1, 2, 3, 5, 8])
def test_next_belongs_to_the_operands_of_latency_cycles_before(columns: int, pipeline: int) -> None:
    config = ArrayConfig(rows=1, columns=columns, pipeline=pipeline, accumulator_bits=17)
    lane = NegateLane(config)
    latency = lane.latency
    levels = next(level for level in range(9) if 2**level >= columns)
    assert latency == (levels // pipeline if pipeline else 0)

    steps = 60
    rng = np.random.default_rng(columns * 10 + pipeline)
    weights = rng.integers(-1, 2, (steps, columns))
    activations = rng.choice([-128, -1, 0, 1, 127, *rng.integers(-128, 128, 20)], (steps, columns))
    accumulators = rng.integers(0, 1 << 17, steps)
    first = rng.random(steps) < 0.3
    sums = np.where(first, 0, accumulators) + (weights * activations).sum(axis=1)
    checked = 0

    async def bench(ctx: SimulatorContext) -> None:
        nonlocal checked
        for cycle in range(steps + latency):
            if cycle < steps:
                ctx.set(lane.weights.as_value(), packed(weights[cycle].tolist(), 2))
                ctx.set(lane.activations.as_value(), packed(activations[cycle].tolist(), 8))
            step = cycle - latency
            if step >= 0:
                ctx.set(lane.accumulator, int(accumulators[step]))
                ctx.set(lane.first, int(first[step]))
                await ctx.delay(1e-9)
                assert ctx.get(lane.next) == int(sums[step]) % (1 << 17), step
                checked += 1
            if latency:
                await ctx.tick()

    simulator = Simulator(lane)
    if latency:
        simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert checked == steps
