from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from amaranth.hdl import Signal
from amaranth.sim import SimulatorContext
from layers import make_layer, reference
from simulation import simulate

from hwsim import engines, streams
from hwsim.config import ArrayConfig
from hwsim.engines.stalls import PORTS, Stalls
from hwsim.layer import Layer
from hwsim.operands import operands_of
from hwsim.rtl.core import Core
from hwsim.rtl.counters import CAUSES
from hwsim.schedule import Schedule

SMALL = ArrayConfig(
    rows=3,
    columns=4,
    batch=2,
    weight_bus_bits=16,
    activation_bus_bits=24,
    result_bus_bits=64,
    max_in_features=16,
)
SHAPES = [(1, 1, 1), (3, 4, 2), (7, 11, 5), (4, 16, 1), (6, 3, 8), (2, 9, 3)]
SHAPES += [(50, 5, 3), (7, 16, 23), (3, 16, 12), (5, 1, 3)]


def numbers(words: np.ndarray) -> Iterator[int]:
    return (int.from_bytes(word.tobytes(), "little") for word in words)


def filled(layer: Layer, schedule: Schedule) -> tuple[list[int], list[int]]:
    """Return words of weights, of one token block, and of activations; what fills them is no zero.

    No result may depend on it: hardware makes the zeros that it needs.
    """
    config, rng = schedule.config, np.random.default_rng(layer.tokens)
    operands = operands_of(layer, config)
    shape = schedule.row_blocks * config.rows, schedule.column_blocks * config.columns
    weight = rng.choice(np.array([-1, 1], np.int8), shape)
    weight[: layer.out_features, : layer.in_features] = operands.weight
    bus = config.activation_bus_bits // 8
    activation = rng.integers(1, 256, (layer.tokens, -(-layer.in_features // bus) * bus), np.uint8)
    activation[:, : layer.in_features] = operands.activation.view(np.uint8)
    tiles = streams.weight_words(weight, schedule)
    return list(numbers(tiles)), list(numbers(streams.activation_words(activation, schedule)))


async def give(
    ctx: SimulatorContext,
    core: Core,
    layer: Layer,
    config: ArrayConfig,
    stalls: Stalls,
    stop: int | None = None,
) -> dict[str, int]:
    """Run one layer, or its first cycles; check every result word; return the counters."""
    schedule = Schedule(
        config=config,
        out_features=layer.out_features,
        in_features=layer.in_features,
        tokens=layer.tokens,
    )
    tiles, activations = filled(layer, schedule)
    queues = {
        "weight": [tiles[at % len(tiles)] for at in range(schedule.weight_words)],
        "activation": activations,
    }
    ports = {"weight": core.weights, "activation": core.activations}
    sums = reference(layer).astype(np.int32)
    words, lasts = [], []
    assert not ctx.get(core.busy)
    for port in ports.values():
        ctx.set(port.valid, 0)
    ctx.set(core.command.valid, 1)
    command = sum(word << 32 * place for place, word in enumerate(schedule.command))
    ctx.set(core.command.payload.as_value(), command)
    assert ctx.get(core.command.ready)
    result = core.results.payload.as_value()
    offering = dict.fromkeys(queues, False)
    waited: int | None = None
    for cycle in range(2_000):
        if cycle == stop:
            return {}
        for name, port in ports.items():
            offering[name] = bool(queues[name]) and (
                offering[name] or not stalls.waits(PORTS.index(name), cycle)
            )
            ctx.set(port.valid, offering[name])
            if offering[name]:
                ctx.set(port.payload, queues[name][0])
        ready = not stalls.waits(PORTS.index("result"), cycle)
        ctx.set(core.results.ready, ready)
        for name, port in ports.items():
            if offering[name] and ctx.get(port.ready):
                queues[name].pop(0)
                offering[name] = False
        if ctx.get(core.results.valid):
            word = ctx.get(result)
            assert waited in (None, word)
            waited = None if ready else word
            if ready:
                words.append(word & ((1 << config.result_bus_bits) - 1))
                lasts.append(word >> config.result_bus_bits)
        else:
            assert waited is None
        await ctx.tick()
        ctx.set(core.command.valid, 0)
        if not ctx.get(core.busy):
            break
    assert queues == {"weight": [], "activation": []}
    for name, port in ports.items():
        ctx.set(port.valid, 1)
        assert not ctx.get(port.ready), name
        ctx.set(port.valid, 0)
    assert not ctx.get(core.error)
    assert lasts == [0] * (schedule.result_words - 1) + [1]
    width = config.result_bus_bits // 8
    data = np.frombuffer(b"".join(word.to_bytes(width, "little") for word in words), np.uint8)
    assert np.array_equal(streams.outputs(data.reshape(-1, width), schedule), sums)
    return {cause: ctx.get(getattr(core.cycles, cause)) for cause in ("total", *CAUSES)}


@cache
def cycles(
    config: ArrayConfig, stalls: Stalls, shape: tuple[int, int, int], seed: int
) -> dict[str, int]:
    """Return what the word-level model counts: the predicted cycles, where nothing waits."""
    layer = make_layer(*shape, seed)
    return engines.run(layer, config, engine="fast", stalls=stalls).activity.cycles.as_dict()


def run_layers(config: ArrayConfig, stalls: Stalls, shapes: list[tuple[int, int, int]]) -> int:
    """Run layers one after the other in one core; return how many were checked."""
    core = Core(config)
    checked = 0

    async def bench(ctx: SimulatorContext) -> None:
        nonlocal checked
        for seed, shape in enumerate(shapes):
            layer = make_layer(*shape, seed)
            expected = cycles(config, stalls, shape, seed)
            seen = await give(ctx, core, layer, config, stalls)
            assert seen == expected
            checked += 1
            for _ in range(seed):
                await ctx.tick()

    simulate(core, bench)
    return checked


@pytest.mark.parametrize("stalls", [Stalls(), Stalls(0.5, 1), Stalls(0.8, 2)], ids=str)
def test_layers_of_all_shapes_one_after_the_other(stalls: Stalls) -> None:
    assert run_layers(SMALL, stalls, SHAPES) == len(SHAPES)


def test_layers_of_many_blocks() -> None:
    """Enough that upper bits of their counts change: those of tokens, row blocks and steps."""
    assert run_layers(SMALL, Stalls(), [(2, 9, 174), (300, 4, 1)]) == 2


def test_while_a_port_waits_its_cause_is_counted() -> None:
    core = Core(SMALL)
    ports = {
        "weight": core.weights.valid,
        "activation": core.activations.valid,
        "result": core.results.ready,
    }
    waits = [
        ("weight", "fill_drain"),  # there was no step yet
        ("weight", "weight_stall"),
        ("activation", "activation_stall"),
        ("result", "result_stall"),
    ]
    checked = 0

    async def bench(ctx: SimulatorContext) -> None:
        nonlocal checked
        ctx.set(core.weights.payload, 0x5555)
        ctx.set(core.command.payload.as_value(), sum(1 << 32 * place for place in range(5)))
        ctx.set(core.command.payload.tokens, 1 << 16)

        def counts() -> dict[str, int]:
            return {cause: ctx.get(getattr(core.cycles, cause)) for cause in ("total", *CAUSES)}

        async def rest(waiting: str | None) -> None:
            """Go on without a port until nothing moves; what it offers stays until it is taken."""
            for name, port in ports.items():
                if name != waiting:
                    ctx.set(port, 1)
            for _ in range(60):
                taken = {
                    "weight": ctx.get(core.weights.ready),
                    "activation": ctx.get(core.activations.ready),
                    "result": 1,
                }
                await ctx.tick()
                if waiting and taken[waiting]:
                    ctx.set(ports[waiting], 0)

        ctx.set(core.command.valid, 1)
        await ctx.tick()
        ctx.set(core.command.valid, 0)
        for port, cause in waits:
            await rest(port)
            before = counts()
            for waited in range(65, 65 * 9, 65):
                for _ in range(65):
                    await ctx.tick()
                grown = {name: count - before[name] for name, count in counts().items()}
                assert grown == dict.fromkeys(grown, 0) | {"total": waited, cause: waited}
                checked += 1
            await rest(None)
        assert ctx.get(core.busy)

    simulate(core, bench)
    assert checked == 4 * 8


def test_steps_follow_each_other_where_a_tile_is_one_word() -> None:
    """Of a single token, too: each adds to what the one before it made."""
    config = SMALL.replace(weight_bus_bits=24)
    assert config.tile_words == 1
    assert run_layers(config, Stalls(), SHAPES) == len(SHAPES)


def test_a_layer_after_a_reset_in_the_midst_of_another() -> None:
    core, reset = Core(SMALL), Signal()
    shape = (7, 11, 5)
    checked = 0

    async def bench(ctx: SimulatorContext) -> None:
        nonlocal checked
        layer = make_layer(*shape, 0)
        for stop in range(2, cycles(SMALL, Stalls(), shape, 0)["total"], 5):
            await give(ctx, core, layer, SMALL, Stalls(), stop)
            ctx.set(reset, 1)
            await ctx.tick()
            ctx.set(reset, 0)
            seen = await give(ctx, core, layer, SMALL, Stalls())
            assert seen == cycles(SMALL, Stalls(), shape, 0)
            checked += 1

    simulate(core, bench, reset=reset)
    assert checked >= 15


def test_the_first_words_of_layers_of_any_size() -> None:
    """A count of two bits, the higher one of which may not get lost: the layer would end soon."""
    core, reset = Core(SMALL), Signal()
    begun = 0

    async def bench(ctx: SimulatorContext) -> None:
        nonlocal begun
        ctx.set(core.weights.valid, 1)
        ctx.set(core.weights.payload, 0x5555)
        ctx.set(core.activations.valid, 1)
        ctx.set(core.activations.payload, 0x010101)
        ctx.set(core.results.ready, 1)
        for bit in range(6, 31):
            many = (1 << bit) + 2
            row_blocks = (many, 1, 1, 3 * many, 4)
            rows = (-(-many // 3), 1, 1, many, 4)
            tokens = (1, 1, many, 3, 4)
            for command in (row_blocks, rows, tokens):
                number = sum(word << 32 * place for place, word in enumerate(command))
                ctx.set(core.command.payload.as_value(), number)
                ctx.set(core.command.valid, 1)
                await ctx.tick()
                ctx.set(core.command.valid, 0)
                words: list[int] = []
                cycle = 0
                while len(words) < 24:  # four blocks of tokens or more
                    assert ctx.get(core.busy)
                    assert not ctx.get(core.error)
                    if ctx.get(core.results.valid):
                        words.append(ctx.get(core.results.payload.as_value()))
                    await ctx.tick()
                    cycle += 1
                    assert cycle < 100
                assert words == [0x00000004_00000004, 4] * 12
                ctx.set(reset, 1)
                await ctx.tick()
                ctx.set(reset, 0)
                assert not ctx.get(core.busy)
                begun += 1

    simulate(core, bench, reset=reset)
    assert begun == 3 * 25


def test_bad_commands_and_codes_are_reported() -> None:
    core = Core(SMALL)
    good = (1, 1, 1, 3, 4)
    zeros = [
        tuple(0 if place == at else word for place, word in enumerate(good)) for at in range(5)
    ]
    bad = [*zeros, (1, 5, 1, 3, 4), (1, 1, 1, 3, 17), (1, 1 << 31, 1, 3, 4)]
    counted = 0

    async def order(ctx: SimulatorContext, command: tuple[int, ...]) -> None:
        assert ctx.get(core.command.ready)
        number = sum(word << 32 * place for place, word in enumerate(command))
        ctx.set(core.command.payload.as_value(), number)
        ctx.set(core.command.valid, 1)
        await ctx.tick()
        ctx.set(core.command.valid, 0)

    async def bench(ctx: SimulatorContext) -> None:
        nonlocal counted
        assert not ctx.get(core.error)
        ctx.set(core.results.ready, 1)
        for command in bad:
            await order(ctx, command)
            assert (ctx.get(core.busy), ctx.get(core.error)) == (1, 0)
            for _ in range(2):  # it is looked at, then decided about
                await ctx.tick()
            for _ in range(3):
                assert (ctx.get(core.busy), ctx.get(core.error)) == (0, 1)
                await ctx.tick()
            # The next one clears the flag; an illegal weight code raises it again, for good.
            illegal = 0b10 << 2 * counted
            for weights, error in ((0x5555, 0), (0x5555 & ~(3 << 2 * counted) | illegal, 1)):
                await order(ctx, good)
                assert (ctx.get(core.busy), ctx.get(core.error)) == (1, 0)
                assert not ctx.get(core.command.ready)
                ctx.set(core.activations.valid, 1)
                ctx.set(core.weights.valid, 1)
                ctx.set(core.weights.payload, weights)
                cycle = 0
                while ctx.get(core.busy):
                    await ctx.tick()
                    cycle += 1
                    assert cycle < 100
                ctx.set(core.activations.valid, 0)
                ctx.set(core.weights.valid, 0)
                assert ctx.get(core.error) == error
            counted += 1
        for bit in range(32):
            number = 1 << bit | 1  # without it, a good one
            for command in ((1, number, 1, 3, 4), (1, 1, 1, 3, number)):
                if max(command[1] * SMALL.columns, command[4]) > SMALL.max_in_features:
                    await order(ctx, command)
                    for _ in range(4):
                        await ctx.tick()
                    assert (ctx.get(core.busy), ctx.get(core.error)) == (0, 1), command
                    counted += 1

    simulate(core, bench)
    assert counted == len(bad) + 30 + 28
