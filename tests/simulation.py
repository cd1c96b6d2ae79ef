"""The one way in which tests of blocks run: so that the same test can also meet a mutant."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from amaranth.hdl import ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.sim import Simulator

Bench = Callable[[Any], Awaitable[None]]
"""A testbench: sets, gets, and waits for ticks through the context that it is given."""

Runner = Callable[[wiring.Component, Bench, bool, Signal | None], None]


def _in_amaranth(dut: wiring.Component, bench: Bench, clocked: bool, reset: Signal | None) -> None:
    simulator = Simulator(dut if reset is None else ResetInserter(reset)(dut))
    if clocked:
        simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


_runner: Runner = _in_amaranth


def simulate(
    dut: wiring.Component, bench: Bench, *, clocked: bool = True, reset: Signal | None = None
) -> None:
    """Run `bench` on a component, from reset to the bench's end.

    A bench uses `set`, `get`, `await ctx.tick()` and `await ctx.delay(...)`, on ports alone and on
    `reset`, which resets the component.
    """
    _runner(dut, bench, clocked, reset)


@contextmanager
def simulated_by(runner: Runner) -> Iterator[None]:
    """Let `simulate` use another simulator."""
    global _runner
    before, _runner = _runner, runner
    try:
        yield
    finally:
        _runner = before
