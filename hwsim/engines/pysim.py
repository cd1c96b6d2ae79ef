"""Engine `pysim`: the Amaranth component in Amaranth's own simulator."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import numpy as np
from amaranth.hdl import Signal
from amaranth.sim import Simulator, SimulatorContext
from numpy.typing import NDArray

from hwsim.activity import Cycles
from hwsim.engines.ports import HardwareHang, Observed, Stimulus
from hwsim.engines.stalls import PORTS
from hwsim.files import replacing
from hwsim.rtl.counters import CAUSES
from hwsim.rtl.top import Top
from hwsim.streams import Results, Words
from hwsim.supply import after, arrival, begun, opening

_PROGRESS_CYCLES = 256


class _Source:
    """Offers words on a port; what has been offered stays until it is taken."""

    def __init__(self, top: Top, name: str, pieces: Iterator[Words], stimulus: Stimulus):
        self.data: Signal = getattr(top, f"s_axis_{name}_tdata")
        self.valid: Signal = getattr(top, f"s_axis_{name}_tvalid")
        self.ready: Signal = getattr(top, f"s_axis_{name}_tready")
        self.taken = 0
        self._words = chain.from_iterable(pieces)
        self._word = next(self._words, None)
        self._supply = stimulus.supply(name)
        self._stalls = stimulus.stalls
        self._port = PORTS.index(name)
        self._offering = False

    def accept(self, ready: int) -> bool:
        """End a cycle; return whether a word was taken in it."""
        taken = self._offering and bool(ready)
        if taken:
            self._offering = False
            self._word = next(self._words, None)
            self.taken += 1
        return taken

    def offer(self, ctx: SimulatorContext, cycle: int) -> None:
        """Begin a cycle."""
        if not self._offering and self._word is not None:
            there = cycle >= arrival(self._supply, self.taken)
            self._offering = there and not self._stalls.waits(self._port, cycle)
            if self._offering:
                ctx.set(self.data, int.from_bytes(self._word.tobytes(), "little"))
        ctx.set(self.valid, self._offering)


class _Sink:
    """Takes words from the result port."""

    def __init__(self, top: Top, stimulus: Stimulus):
        self.data: Signal = top.m_axis_result_tdata
        self.valid: Signal = top.m_axis_result_tvalid
        self.taken = 0
        self._results = Results(stimulus.schedule)
        self._room = chain.from_iterable(self._results)
        self._ready: Signal = top.m_axis_result_tready
        self._most = stimulus.schedule.result_words
        self._supply = stimulus.supply("result")
        self._stalls = stimulus.stalls
        self._willing = False
        self._free = 0

    def begin(self, ctx: SimulatorContext, cycle: int) -> None:
        """Begin a cycle."""
        open_ = cycle >= opening(begun(self._supply, self.taken), self._free)
        self._willing = open_ and not self._stalls.waits(PORTS.index("result"), cycle)
        ctx.set(self._ready, self._willing)

    def take(self, valid: int, data: int, cycle: int) -> bool:
        """End a cycle; return whether a word was taken in it."""
        taken = self._willing and bool(valid)
        if taken:
            bursts = begun(self._supply, self.taken)
            self._free = after(self._supply, bursts, cycle, self._free)
            room = next(self._room, None)
            if room is None:
                raise HardwareHang(f"more than the {self._most} result words of the layer")
            room[:] = np.frombuffer(data.to_bytes(len(room), "little"), np.uint8)
            self.taken += 1
        return taken

    def sums(self) -> NDArray[np.generic]:
        """Return what was taken, once all has been."""
        next(self._room, None)
        return self._results.sums


class _Bench:
    """Drives and watches all ports for one layer."""

    def __init__(self, top: Top, stimulus: Stimulus, progress: Callable[[int], None]):
        self._top = top
        self._stimulus = stimulus
        self._progress = progress
        self.observed: Observed | None = None

    async def drive(self, ctx: SimulatorContext) -> None:
        """Offer, watch, until the last result has been taken or the command is refused."""
        top, stimulus, schedule = self._top, self._stimulus, self._stimulus.schedule
        sources = [
            _Source(top, "weight", stimulus.weights(), stimulus),
            _Source(top, "activation", stimulus.activations(), stimulus),
        ]
        sink = _Sink(top, stimulus)
        patience = stimulus.patience
        started = time.perf_counter()
        command = sum(word << 32 * place for place, word in enumerate(schedule.command))

        def begin(cycle: int) -> None:
            for source in sources:
                source.offer(ctx, cycle)
            sink.begin(ctx, cycle)

        with ctx.critical():
            ctx.set(top.s_axis_command_tdata, command)
            ctx.set(top.s_axis_command_tvalid, 1)
            begin(0)
            cycle = moved = 0
            watched = (
                *(source.ready for source in sources),
                sink.valid,
                sink.data,
                top.busy,
                top.error,
                top.cycles_compute,
                *(getattr(top, f"cycles_{cause}") for cause in CAUSES),
            )
            async for _, _, *seen in ctx.tick().sample(*watched):
                *readies, valid, data, busy, error, compute = seen[: -len(CAUSES)]
                taken = [s.accept(r) for s, r in zip(sources, readies, strict=True)]
                if any([*taken, sink.take(valid, data, cycle)]):
                    moved = cycle
                elif cycle - moved > patience:
                    raise HardwareHang(f"no transfer since cycle {moved}")
                if cycle > 0 and not busy:
                    break
                cycle += 1
                ctx.set(top.s_axis_command_tvalid, 0)
                begin(cycle)
                if cycle % _PROGRESS_CYCLES == 0:
                    self._progress(compute)
        self.observed = Observed(
            outputs=sink.sums(),
            result_words=sink.taken,
            cycles=Cycles(**dict(zip(CAUSES, seen[-len(CAUSES) :], strict=True))),
            weight_words=sources[0].taken,
            activation_words=sources[1].taken,
            error=bool(error),
            engine_s=time.perf_counter() - started,
        )


def run(
    stimulus: Stimulus,
    *,
    progress: Callable[[int], None] = lambda steps: None,
    vcd: str | Path | None = None,
) -> Observed:
    """Run one layer in Amaranth's simulator.

    Parameters
    ----------
    stimulus
        What the ports are fed.
    progress
        Told the steps so far, now and then.
    vcd
        File for the waveforms of all signals.
    """
    config = stimulus.schedule.config
    top = Top(config)
    simulator = Simulator(top)
    simulator.add_clock(1e-6 / config.clock_mhz)
    bench = _Bench(top, stimulus, progress)
    simulator.add_process(bench.drive)
    with ExitStack() as stack:
        if vcd is not None:
            stack.enter_context(simulator.write_vcd(str(stack.enter_context(replacing(vcd)))))
        simulator.run()
    if bench.observed is None:
        raise HardwareHang("the simulation ended before the layer did")
    return bench.observed
