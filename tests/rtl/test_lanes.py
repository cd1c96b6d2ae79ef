from itertools import product
from typing import Any

import numpy as np
import pytest
from amaranth.sim import SimulatorContext
from numpy.typing import NDArray
from rows import Row
from simulation import simulate

from hwsim.config import TERNARY_LANES, ArrayConfig

TERNARY = [
    *({"lane": lane} for lane in TERNARY_LANES if lane != "grouped"),
    {"lane": "grouped", "group": 2},
    {"lane": "grouped", "group": 3},
]
INTEGER = [*TERNARY, {"lane": "int8"}]
FLOATS = ArrayConfig(
    rows=1, columns=2, pipeline=1, lane="fp16", activation_bits=16, accumulator_bits=16
)


def name_of(fields: dict[str, Any]) -> str:
    return "-".join(map(str, fields.values()))


def packed(values: list[int], bits: int) -> int:
    """Return `values` as one number, the first lowest."""
    return sum((value & ((1 << bits) - 1)) << bits * place for place, value in enumerate(values))


@pytest.mark.parametrize("fields", INTEGER, ids=name_of)
def test_one_column_is_exact_for_all_trits_and_activations(fields: dict[str, Any]) -> None:
    config = ArrayConfig(rows=1, columns=1, pipeline=0, accumulator_bits=24, **fields)
    row = Row(config)
    seen = []

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(row.accumulator, 1000)
        for first in (0, 1):
            ctx.set(row.first, first)
            for trit in (-1, 0, 1):
                ctx.set(row.weights, packed([trit], config.weight_bits))
                for x in range(-128, 128):
                    ctx.set(row.activations, packed([x], 8))
                    await ctx.delay(1e-9)
                    expected = (0 if first else 1000) + trit * x
                    assert ctx.get(row.next) == expected % (1 << 24), (first, trit, x)
                    seen.append((first, trit, x))

    simulate(row, bench, clocked=False)
    assert len(set(seen)) == 2 * 3 * 256


@pytest.mark.parametrize("fields", TERNARY, ids=name_of)
def test_all_trits_of_three_columns_meet_the_extremes(fields: dict[str, Any]) -> None:
    config = ArrayConfig(rows=1, columns=3, pipeline=0, accumulator_bits=12, **fields)
    row = Row(config)
    checked = 0

    async def bench(ctx: SimulatorContext) -> None:
        nonlocal checked
        ctx.set(row.first, 1)
        for trits in product((-1, 0, 1), repeat=3):
            ctx.set(row.weights, packed(list(trits), 2))
            for xs in product((-128, -1, 0, 1, 77, 127), repeat=3):
                ctx.set(row.activations, packed(list(xs), 8))
                await ctx.delay(1e-9)
                expected = sum(t * x for t, x in zip(trits, xs, strict=True))
                assert ctx.get(row.next) == expected % (1 << 12), (trits, xs)
                checked += 1

    simulate(row, bench, clocked=False)
    assert checked == 27 * 216


@pytest.mark.parametrize("pipeline", [0, 1, 2, 3])
@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5, 6, 8, 13])
@pytest.mark.parametrize("fields", INTEGER, ids=name_of)
def test_next_belongs_to_the_operands_of_latency_cycles_before(
    fields: dict[str, Any], columns: int, pipeline: int
) -> None:
    config = ArrayConfig(rows=1, columns=columns, pipeline=pipeline, accumulator_bits=20, **fields)
    row = Row(config)
    latency = row.lane.latency
    # What is summed or picked at once before the levels of two-input adders.
    at_once = config.leaf_columns
    leaves = -(-columns // at_once)
    levels = next(level for level in range(9) if 2**level >= leaves) + (at_once > 1)
    assert latency == (levels // pipeline if pipeline else 0)

    steps = 60
    rng = np.random.default_rng(columns * 10 + pipeline)
    weights = rng.integers(-1, 2, (steps, columns))
    if not config.is_ternary:
        weights = rng.integers(-128, 128, (steps, columns))
    activations = rng.choice([-128, -1, 0, 1, 127, *rng.integers(-128, 128, 20)], (steps, columns))
    accumulators = rng.integers(0, 1 << 20, steps)
    first = rng.random(steps) < 0.3
    sums = np.where(first, 0, accumulators) + (weights * activations).sum(axis=1)
    checked = 0

    async def bench(ctx: SimulatorContext) -> None:
        nonlocal checked
        for cycle in range(steps + latency):
            if cycle < steps:
                ctx.set(row.weights, packed(weights[cycle].tolist(), config.weight_bits))
                ctx.set(row.activations, packed(activations[cycle].tolist(), 8))
            step = cycle - latency
            if step >= 0:
                ctx.set(row.accumulator, int(accumulators[step]))
                ctx.set(row.first, int(first[step]))
                await ctx.delay(1e-9)
                assert ctx.get(row.next) == int(sums[step]) % (1 << 20), step
                checked += 1
            if latency:
                await ctx.tick()

    simulate(row, bench, clocked=bool(latency))
    assert checked == steps


@pytest.mark.parametrize("pipeline", [0, 1])
@pytest.mark.parametrize("group", [2, 3])
def test_a_group_with_an_illegal_code_counts_as_zero(group: int, pipeline: int) -> None:
    """All codes of a group, in each of two groups, beside legal ones in the other.

    Each code meets several activations, so that every pick shows both values of most bits.
    """
    config = ArrayConfig(
        rows=1,
        columns=2 * group,
        pipeline=pipeline,
        accumulator_bits=20,
        lane="grouped",
        group=group,
    )
    row = Row(config)
    trit_of = {0b00: 0, 0b01: 1, 0b11: -1}
    rng = np.random.default_rng(0)
    checked = 0

    def sum_of(codes: list[int], xs: list[int]) -> int:
        total = 0
        for at in (0, group):
            trits = [trit_of.get(code) for code in codes[at : at + group]]
            if None not in trits:
                total += sum(t * x for t, x in zip(trits, xs[at : at + group], strict=True))
        return total

    async def bench(ctx: SimulatorContext) -> None:
        nonlocal checked
        ctx.set(row.first, 0)
        for place, one in product((0, group), product(range(4), repeat=group)):
            for _ in range(4):
                other = rng.choice([0b00, 0b01, 0b11], group).tolist()
                codes = [*other, *one] if place else [*one, *other]
                xs = rng.integers(-128, 128, 2 * group).tolist()
                ctx.set(row.weights, packed(codes, 2))
                ctx.set(row.activations, packed(xs, 8))
                ctx.set(row.accumulator, 5000)
                for _ in range(row.lane.latency):
                    await ctx.tick()
                await ctx.delay(1e-9)
                assert ctx.get(row.next) == 5000 + sum_of(codes, xs), (codes, xs)
                checked += 1

    simulate(row, bench, clocked=bool(row.lane.latency))
    assert checked == 4 * 2 * 4**group


def test_floats_are_rounded_as_numpy_does() -> None:
    """Any bits, moderate numbers, subnormal ones, and sums that nearly vanish."""
    row = Row(FLOATS)
    rng = np.random.default_rng(0)
    count = 300
    bits = rng.integers(0, 1 << 16, (4 * count, 5), np.uint16)
    any_, small, moderate = bits[:count], bits[count : 2 * count], bits[2 * count :]
    small &= 0x87FF  # all but the activations
    small[:, 2:4] += rng.integers(8, 29, (count, 2), np.uint16) << np.uint16(10)
    moderate &= 0x83FF
    moderate |= rng.integers(7, 24, moderate.shape, np.uint16) << np.uint16(10)
    # Zeros at either end of fractions, so that halves of the last place are met, and all shifts.
    moderate[::2] &= np.uint16(0xFFFF) << rng.integers(0, 11, (count, 5)).astype(np.uint16)
    small[::2] &= np.uint16(0xFFFF) >> rng.integers(1, 16, (count // 2, 5)).astype(np.uint16)
    corners = [0, 1, 2, 0x3FF, 0x400, 0x401, 0x3BFF, 0x3C00, 0x7800, 0x7BFF, 0x7C00, 0x7E00]
    any_[::2] = any_[::2] & 0x8000 | rng.choice(np.array(corners, np.uint16), (count // 2, 5))
    weights, activations, accumulators = np.split(bits.view(np.float16), [2, 4], axis=1)
    first = rng.random(len(bits)) < 0.1
    with np.errstate(all="ignore"):
        near = slice(3 * count, None)
        weights[near, 1] = -weights[near, 0]
        activations[near, 1] = activations[near, 0] * rng.choice([1, 1.001, 0.75, 2], count)
        products = weights * activations
        totals = products[:, 0] + products[:, 1]
        accumulators[near, 0] = -totals[near] * rng.choice([1, 1.001, 0.6, 3], count)
        sums = np.where(first, totals, accumulators[:, 0] + totals)
    sums[np.isnan(sums)] = np.array(0x7E00, np.uint16).view(np.float16)

    def numbers(values: NDArray[np.float16]) -> list[int]:
        return [packed(row, 16) for row in values.view(np.uint16).reshape(len(first), -1).tolist()]

    stimulus = zip(
        *map(numbers, (weights, activations, accumulators, sums)), first.tolist(), strict=True
    )
    checked = 0

    async def bench(ctx: SimulatorContext) -> None:
        nonlocal checked
        for weight, activation, accumulator, expected, begins in stimulus:
            ctx.set(row.weights, weight)
            ctx.set(row.activations, activation)
            ctx.set(row.accumulator, accumulator)
            ctx.set(row.first, begins)
            for _ in range(row.lane.latency):
                await ctx.tick()
            await ctx.delay(1e-9)
            assert ctx.get(row.next) == expected, (weight, activation, accumulator, begins)
            checked += 1

    simulate(row, bench, clocked=bool(row.lane.latency))
    assert checked == 4 * count
