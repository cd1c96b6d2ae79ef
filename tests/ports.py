"""Playing the streams of a top module in Amaranth's simulator."""

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from amaranth.sim import Simulator, SimulatorContext

from hwsim.streams import Words

Bench = Callable[[SimulatorContext], Awaitable[None]]


def simulate(dut: Any, *benches: Bench, max_cycles: int = 5000) -> None:
    """Run until the first bench has ended; the others go on beside it."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    ended = []

    async def first(ctx: SimulatorContext) -> None:
        await benches[0](ctx)
        ended.append(True)

    simulator.add_testbench(first)
    for bench in benches[1:]:
        simulator.add_testbench(bench, background=True)
    simulator.run_until(1e-6 * max_cycles)
    assert ended, "the simulation timed out"


class Source:
    """Offers words on `s_axis_NAME`, over and over."""

    def __init__(self, top: Any, name: str):
        self._top = top
        self._name = name
        self.play(np.zeros((1, 1), np.uint8))

    def play(self, words: Words) -> None:
        """Begin with other words, while none can be taken."""
        self._words = [int.from_bytes(word.tobytes(), "little") for word in words]
        self._at = 0

    async def run(self, ctx: SimulatorContext) -> None:
        data, valid, ready = (
            getattr(self._top, f"s_axis_{self._name}_{port}")
            for port in ("tdata", "tvalid", "tready")
        )
        ctx.set(valid, 1)
        while True:
            ctx.set(data, self._words[self._at])
            *_, taken = await ctx.tick().sample(ready)
            self._at = (self._at + taken) % len(self._words)


class Sink:
    """Takes what `m_axis_result` offers."""

    def __init__(self, top: Any):
        self._top = top
        self.taken: list[int] = []

    async def run(self, ctx: SimulatorContext) -> None:
        top = self._top
        ctx.set(top.m_axis_result_tready, 1)
        async for _, _, valid, word in ctx.tick().sample(
            top.m_axis_result_tvalid, top.m_axis_result_tdata
        ):
            if valid:
                self.taken.append(word)

    def words(self) -> Words:
        """Return what has been taken, as bus words."""
        size = len(self._top.m_axis_result_tdata) // 8
        return np.array([list(word.to_bytes(size, "little")) for word in self.taken], np.uint8)
