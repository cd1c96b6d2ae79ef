from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Signal
from amaranth.sim import SimulatorContext
from layers import make_layer, reference
from ports import Sink, Source, simulate

import hwsim
from hwsim import streams
from hwsim.config import preset
from hwsim.engines import schedule_of
from hwsim.predict import predict_cycles
from hwsim.rtl.registers import (
    BUS_MEMBERS,
    IDENTITY,
    OFFSETS,
    OKAY,
    REGISTERS,
    SLVERR,
    RegisterBlock,
    register_map,
)
from hwsim.rtl.top import AxiLiteTop


class Bus:
    """A master of AXI4-Lite that waits at random on every channel."""

    def __init__(self, ctx: SimulatorContext, dut: Any, rng: Random, prefix: str = ""):
        self._ctx = ctx
        self._rng = rng
        self._signals: dict[str, Signal] = {
            name: getattr(dut, prefix + name) for name in BUS_MEMBERS
        }
        self.waits = 0.5

    def set(self, **values: int) -> None:
        for name, value in values.items():
            self._ctx.set(self._signals[name], value)

    async def transact(self, channels: dict[str, dict[str, int]], answer: str) -> dict[str, int]:
        """Offer what `channels` hold, each from a random cycle on; take the answer likewise.

        While the answer waits it must hold.
        """
        ctx, signals = self._ctx, self._signals
        left = dict.fromkeys(channels, False)  # and whether it is being offered
        payload = tuple(n for n in BUS_MEMBERS if n in (f"{answer}resp", f"{answer}data"))
        held = None
        for _ in range(200):
            for name, offered in left.items():
                if not offered and self._rng.random() >= self.waits:
                    left[name] = True
                    self.set(**{f"{name}valid": 1}, **channels[name])
            ready = self._rng.random() >= self.waits
            self.set(**{f"{answer}ready": ready})
            sampled = [f"{name}ready" for name in channels]
            _, _, valid, *seen = await ctx.tick().sample(
                signals[f"{answer}valid"], *(signals[name] for name in (*payload, *sampled))
            )
            readies = dict(zip(channels, seen[len(payload) :], strict=True))
            for name in [name for name, offered in left.items() if offered and readies[name]]:
                del left[name]
                self.set(**{f"{name}valid": 0})
            if held is not None:
                assert (valid, seen[: len(payload)]) == (1, held)
            if valid:
                assert not left, "an answer before all of the question"
                held = seen[: len(payload)]
                if ready:
                    self.set(**{f"{answer}ready": 0})
                    return dict(zip(payload, held, strict=True))
        raise AssertionError("no answer")

    async def write(self, offset: int, value: int, strobes: int = 0b1111) -> int:
        channels = {"aw": {"awaddr": offset}, "w": {"wdata": value, "wstrb": strobes}}
        return (await self.transact(channels, "b"))["bresp"]

    async def read(self, offset: int) -> tuple[int, int]:
        answer = await self.transact({"ar": {"araddr": offset}}, "r")
        return answer["rresp"], answer["rdata"]


def with_block(bench: Callable[[SimulatorContext, RegisterBlock, Bus], Any], seed: int) -> None:
    dut = RegisterBlock()

    async def run(ctx: SimulatorContext) -> None:
        await bench(ctx, dut, Bus(ctx, dut, Random(seed)))

    simulate(dut, run)


SEEDS = pytest.mark.parametrize("seed", range(4))
SHAPE = ("row_blocks", "column_blocks", "tokens", "out_features", "in_features")


@SEEDS
def test_the_shape_is_written_byte_by_byte_and_read_back(seed: int) -> None:
    async def bench(ctx: SimulatorContext, dut: RegisterBlock, bus: Bus) -> None:
        rng = Random(seed)
        expected = dict.fromkeys(SHAPE, 0)
        for _ in range(40):
            name = rng.choice(SHAPE)
            value, strobes = rng.getrandbits(32), rng.getrandbits(4)
            assert await bus.write(OFFSETS[name], value, strobes) == OKAY
            mask = sum(0xFF << 8 * byte for byte in range(4) if strobes >> byte & 1)
            expected[name] = expected[name] & ~mask | value & mask
            for other in SHAPE:
                assert await bus.read(OFFSETS[other]) == (OKAY, expected[other])
                assert ctx.get(dut.command.payload[other]) == expected[other]

    with_block(bench, seed)


@SEEDS
def test_every_other_address_is_refused(seed: int) -> None:
    access = {register.offset: register.access for register in REGISTERS}

    async def bench(ctx: SimulatorContext, dut: RegisterBlock, bus: Bus) -> None:
        bus.waits = 0.2
        ctx.set(dut.cycles_total, 77)
        for offset in (*range(0, 0x60, 4), 0x100, 0x404, 0x810, 0xFFC):
            known = access.get(offset)
            assert await bus.write(offset, 0) == (OKAY if known in ("rw", "wo") else SLVERR)
            response, value = await bus.read(offset)
            assert response == (OKAY if known else SLVERR)
            assert value == {OFFSETS["id"]: IDENTITY, OFFSETS["cycles_total"]: 77}.get(offset, 0)

    with_block(bench, seed)


@SEEDS
def test_a_start_gives_one_command_and_one_while_busy_gives_none(seed: int) -> None:
    commands = []

    async def watch(ctx: SimulatorContext) -> None:
        async for _, _, valid, busy, payload in ctx.tick().sample(
            dut.command.valid, dut.busy, dut.command.payload
        ):
            if valid:
                assert not busy
                commands.append([payload[name] for name in SHAPE])

    async def bench(ctx: SimulatorContext) -> None:
        bus = Bus(ctx, dut, Random(seed))
        ctx.set(dut.command.ready, 1)
        for place, name in enumerate(SHAPE):
            await bus.write(OFFSETS[name], place + 1)

        async def status() -> int:
            return (await bus.read(OFFSETS["status"]))[1]

        assert await bus.write(OFFSETS["control"], 0) == OKAY
        assert await bus.write(OFFSETS["control"], 1, 0b1110) == OKAY
        assert commands == []
        await bus.write(OFFSETS["control"], 1)
        assert commands == [[1, 2, 3, 4, 5]]
        ctx.set(dut.busy, 1)
        assert await status() == 0b0001
        await bus.write(OFFSETS["tokens"], 9)
        assert await bus.write(OFFSETS["control"], 1) == OKAY
        assert len(commands) == 1
        assert await status() == 0b1001
        ctx.set(dut.error, 1)
        ctx.set(dut.busy, 0)
        assert await status() == 0b1110
        assert await status() == 0b1110
        await bus.write(OFFSETS["control"], 1)
        ctx.set(dut.error, 0)
        assert commands == [[1, 2, 3, 4, 5], [1, 2, 9, 4, 5]]
        assert await status() == 0b0000

    dut = RegisterBlock()
    simulate(dut, bench, watch)


def test_a_command_comes_in_the_cycle_after_its_write_is_taken() -> None:
    dut = RegisterBlock()

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(dut.awaddr, OFFSETS["control"])
        for signal in (dut.awvalid, dut.wvalid, dut.wdata):
            ctx.set(signal, 1)
        ctx.set(dut.wstrb, 0b1111)
        seen = []
        for _ in range(4):
            *_, valid, taken = await ctx.tick().sample(dut.command.valid, dut.awready & dut.wready)
            ctx.set(dut.awvalid, 0)
            ctx.set(dut.wvalid, 0)
            seen.append((taken, valid))
        assert seen == [(1, 0), (0, 1), (1, 0), (1, 0)]

    simulate(dut, bench)


def test_a_layer_runs_through_the_registers() -> None:
    config = preset("tiny").replace(max_in_features=32)
    layer = make_layer(7, 19, 5, seed=1)
    schedule = schedule_of(layer, config)
    dut = AxiLiteTop(config)
    weights, activations, sink = Source(dut, "weight"), Source(dut, "activation"), Sink(dut)
    weights.play(streams.weight_words(layer.weight, schedule))
    activations.play(streams.activation_words(layer.activation, schedule))

    async def host(ctx: SimulatorContext) -> None:
        bus = Bus(ctx, dut, Random(0), prefix="s_axil_")
        for name, value in zip(SHAPE, schedule.command, strict=True):
            await bus.write(OFFSETS[name], value)
        await bus.write(OFFSETS["control"], 1)
        while not (await bus.read(OFFSETS["status"]))[1] & 0b10:
            pass
        assert await bus.read(OFFSETS["status"]) == (OKAY, 0b10)
        for name, count in predict_cycles(schedule).as_dict().items():
            assert await bus.read(OFFSETS[f"cycles_{name}"]) == (OKAY, count)

    simulate(dut, host, sink.run, weights.run, activations.run)
    assert np.array_equal(streams.outputs(sink.words(), schedule), reference(layer))


def test_the_documented_map_is_that_of_the_hardware() -> None:
    page = Path(hwsim.__file__).parents[1] / "docs" / "registers.md"
    assert register_map() in page.read_text()
