"""A layer in parts: row blocks that depend on nothing of each other, each part a run of its own.

Parts run side by side. Every one of them fills and drains the array by itself and takes all
activations, so their cycles and counts together are not those of the layer in one run: they are
what so many commands to the array take.
"""

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from hwsim import engines
from hwsim.activity import Cycles
from hwsim.config import ArrayConfig
from hwsim.engines import HardwareFault, Run, schedule_of
from hwsim.engines.stalls import Stalls
from hwsim.errors import InputError
from hwsim.layer import Layer
from hwsim.operands import Operands, operands_of
from hwsim.parallel import Processes, cancel
from hwsim.predict import predict_cycles

THREADED = ("rtl", "fast")
"""Engines that leave the interpreter alone, so that threads are enough."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a layer, and its run.

    Attributes
    ----------
    rows
        Outputs of the layer that it computes.
    run
        What came out.
    predicted
        The cycles of this part alone, predicted; those of `run` if ports never waited at random.
    stall_free
        The same if no port ever waited.
    """

    rows: slice
    run: Run
    predicted: Cycles
    stall_free: Cycles


def executor_for(engine: str, jobs: int) -> Executor:
    """Return what runs so many parts side by side: threads, or processes if they must be."""
    return ThreadPoolExecutor(jobs) if engine in THREADED else Processes(jobs)


def part_of(layer: Layer, operands: Operands, rows: slice) -> tuple[Layer, Operands]:
    """Return some rows of a layer, and what the array is fed with for them."""
    name = f"{layer.name}[{rows.start}:{rows.stop}]"
    part = replace(layer, name=name, weight=layer.weight[rows], weight_latent=None)
    return part, replace(operands, weight=operands.weight[rows])


def run_split(
    layer: Layer,
    config: ArrayConfig,
    *,
    parts: int,
    executor: Executor,
    engine: str = "rtl",
    operands: Operands | None = None,
    stalls: Stalls | None = None,
    progress: Callable[[int], None] = lambda steps: None,
    **options: Any,
) -> list[Part]:
    """Run a layer in parts, as equal as row blocks allow.

    Parameters
    ----------
    layer, config, engine, operands, stalls, options
        As for `engines.run`. Ports of all parts wait by the same pattern, from its beginning.
    parts
        From 1 to the row blocks of the layer.
    executor
        Runs them: see `executor_for`.
    progress
        Told the steps of the parts that are done.

    Returns
    -------
    list of Part
        In the order of rows.

    Raises
    ------
    InputError
        If there are not so many row blocks, the array cannot run the layer, or the engine is
        `gates`, whose counts are of one run.
    HardwareFault
        If a part does not take the cycles that are predicted for it.
    """
    if engine == "gates":
        raise InputError("engine gates counts in one run, on all processors; it is not split")
    whole = schedule_of(layer, config)
    if not 1 <= parts <= whole.row_blocks:
        raise InputError(
            f"layer {layer.name}: has {whole.row_blocks} row blocks; it cannot be split into "
            f"{parts} parts"
        )
    operands = operands or operands_of(layer, config)
    stalls = stalls or Stalls()
    watch = _Watch()
    futures = {}
    steps = 0
    found: list[Part] = []
    try:
        for index in range(parts):
            limits = (whole.row_blocks * i // parts * config.rows for i in (index, index + 1))
            first, end = (min(limit, layer.out_features) for limit in limits)
            rows = slice(first, end)
            part, fed = part_of(layer, operands, rows)
            future = executor.submit(_run, part, config, engine, fed, stalls, watch, options)
            futures[future] = rows, schedule_of(part, config)
        for future in as_completed(futures):
            rows, schedule = futures[future]
            steps += schedule.steps
            progress(steps)
            predicted = predict_cycles(schedule)
            run = future.result()
            if not stalls.rate and run.activity.cycles != predicted:
                raise HardwareFault(
                    f"layer {layer.name}: rows {rows.start} to {rows.stop - 1} took "
                    f"{run.activity.cycles.total} cycles, not the {predicted.total} predicted"
                )
            free = predict_cycles(replace(schedule, config=schedule.config.unlimited))
            found.append(Part(rows=rows, run=run, predicted=predicted, stall_free=free))
    finally:
        watch.stopped = True
        cancel(executor, futures)
    return sorted(found, key=lambda part: part.rows.start)


class _Watch:
    """Ends parts that still run in threads when nobody waits for them any more.

    A process has a copy, and ends by the signal that it gets.
    """

    stopped = False

    def __call__(self, steps: int) -> None:
        if self.stopped:
            raise InterruptedError("nobody waits for this part any more")


def _run(
    part: Layer,
    config: ArrayConfig,
    engine: str,
    operands: Operands,
    stalls: Stalls,
    watch: _Watch,
    options: dict[str, Any],
) -> Run:
    return engines.run(
        part, config, engine=engine, operands=operands, stalls=stalls, progress=watch, **options
    )


def joined(parts: list[Part]) -> Run:
    """Return the outputs of all parts side by side, and the sums of what they took."""
    runs = [part.run for part in parts]
    toggles = [run.toggles for run in runs if run.toggles is not None]
    return Run(
        outputs=np.concatenate([run.outputs for run in runs], axis=1),
        activity=reduce(add, (run.activity for run in runs)),
        engine_s=sum(run.engine_s for run in runs),
        toggles=reduce(add, toggles) if toggles else None,
    )


def describe_split(parts: list[Part], *, stalled: bool) -> dict[str, Any]:
    """Return what `results.describe` says otherwise of a layer in one run."""
    return {
        "predicted_cycles": None if stalled else sum(part.predicted.total for part in parts),
        "stall_free_cycles": sum(part.stall_free.total for part in parts),
        "split": {
            "about": "each part is a run of its own: cycles, counts and energies are sums over "
            "parts that each fill, drain and take all activations by themselves",
            "parts": [
                {
                    "first_row": part.rows.start,
                    "out_features": part.rows.stop - part.rows.start,
                    "cycles": part.run.activity.cycles.as_dict(),
                    "predicted_cycles": None if stalled else part.predicted.total,
                    "engine_s": part.run.engine_s,
                }
                for part in parts
            ],
        },
    }
