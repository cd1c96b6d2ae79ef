"""Engine `fast`: a word-level model, equal to the hardware cycle by cycle, compiled with numba.

Two parts that need nothing of each other, since the lanes never stall: when words move
(`hwsim.engines.control`; without stalls the prediction, which equals it), and what the words hold
(`hwsim.engines.words`). It takes the numbers of a layer, not its bus words: so it never meets an
illegal code, and never raises the error flag.
"""

import functools
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hwsim import streams
from hwsim.config import ArrayConfig
from hwsim.engines.control import CAUSE, COMPUTE, Control
from hwsim.engines.ports import Observed, Stimulus
from hwsim.engines.words import Words, integer_sums
from hwsim.operands import Operands
from hwsim.predict import predict_cycles
from hwsim.schedule import Schedule
from hwsim.toggles import Toggles

_SPAN = 1 << 24
"""Weights of floats that are padded together, about: enough for all processors."""


def run(
    stimulus: Stimulus,
    *,
    progress: Callable[[int], None] = lambda steps: None,
    toggles: bool = False,
) -> Observed:
    """Run one layer in the word-level model.

    Parameters
    ----------
    stimulus
        How the layer comes to the ports.
    progress
        Told the steps so far, now and then.
    toggles
        Whether to count the bits that change.
    """
    schedule = stimulus.schedule
    _compile(schedule.config, toggles, stimulus.stalls.threshold > 0)
    started = time.perf_counter()
    counted, sums = _computed(schedule, stimulus.operands, toggles)
    if stimulus.stalls.threshold:
        control = Control(stimulus)
        for _ in control:
            progress(control.cycles.compute)
        cycles = control.cycles
    else:
        cycles = _predicted(schedule)
    return Observed(
        outputs=streams.as_sent(sums),
        result_words=schedule.result_words,
        cycles=cycles,
        weight_words=schedule.weight_words,
        activation_words=schedule.activation_words,
        error=False,
        engine_s=time.perf_counter() - started,
        toggles=counted,
    )


_predicted = functools.lru_cache(256)(predict_cycles)
"""A model has few shapes."""


def _computed(
    schedule: Schedule, operands: Operands, toggles: bool
) -> tuple[Toggles | None, NDArray[np.generic]]:
    """Return the toggles, if asked to, and the sums."""
    if toggles:
        return Words(schedule, operands).toggles()
    if schedule.config.lane == "fp16":
        return None, _float_sums(schedule, operands)
    return None, integer_sums(operands)


def _float_sums(schedule: Schedule, operands: Operands) -> NDArray[np.generic]:
    """Return the sums of a layer, some row blocks at a time: what has to be padded is a copy."""
    rows = schedule.config.rows
    height = -(-_SPAN // (schedule.in_features * rows)) * rows
    parts = []
    for first in range(0, schedule.out_features, height):
        weight = operands.weight[first : first + height]
        part = replace(schedule, out_features=len(weight))
        parts.append(Words(part, replace(operands, weight=weight)).sums())
    return np.concatenate(parts, axis=1)


@functools.cache
def _compile(config: ArrayConfig, toggles: bool, stalled: bool) -> None:
    """Have numba compile, or load, what a run needs: it does so on first use."""
    schedule = Schedule(config=config, out_features=1, in_features=1, tokens=1)
    number = np.dtype(np.float16 if config.lane == "fp16" else np.int8)
    one = np.ones((1, 1), number)
    operands = Operands(weight=one, activation=one, source="trace")
    _computed(schedule, operands, toggles)
    if stalled:
        list(Control(Stimulus(schedule=schedule, operands=operands)))
    elif config.is_limited:
        predict_cycles(schedule)


def registers(stimulus: Stimulus) -> dict[str, NDArray[np.generic]]:
    """Return what registers hold in every cycle: by the names they have in `pysim`'s waveforms.

    Meant for small arrays and layers: all of it is kept in memory. Values are bit patterns, as
    unsigned numbers. A level of the tree that has no register (see `ArrayConfig.pipeline`) shows
    the same values, as it settles in every cycle.

    Parameters
    ----------
    stimulus
        How the layer comes to the ports.

    Returns
    -------
    dict
        ``valid_K``: bit K of the pipeline, shape (cycles,). ``operands``: the words of the operand
        register, shape (cycles, words), with ``operand_bits`` the width of each. ``weights``: the
        tile, shape (cycles, terms, rows). ``level_L``: the terms (0) or sums of a level, shape
        (cycles, words, rows), ``owed_L`` what they still lack. ``bank``: shape (cycles, 2 x batch,
        rows).
    """
    schedule, config = stimulus.schedule, stimulus.schedule.config
    words = Words(schedule, stimulus.operands)
    log = np.concatenate(list(Control(stimulus)))
    steps = np.flatnonzero(log & CAUSE == COMPUTE)
    cycles = np.arange(len(log))

    def after(delay: int, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return what a register holds that gets its value so many cycles after a step."""
        done = np.searchsorted(steps + delay, cycles, side="right")
        return np.concatenate([np.zeros_like(values[:1]), values])[done]

    seen = words.steps()
    arrival = 2 + config.broadcast_stages
    trace: dict[str, NDArray[np.generic]] = {
        "operands": after(arrival, seen.operands),
        "operand_bits": np.array(words.operand_widths),
        "weights": after(arrival, seen.weights),
    }
    for stage in range(1, config.step_latency):
        trace[f"valid_{stage}"] = np.isin(cycles, steps + stage)
    first = config.lane in ("carry-fold", "grouped")  # their terms are a level of their own
    for level, (nodes, owed) in enumerate(seen.levels):
        registers = (level + first) // config.pipeline if config.pipeline else 0
        trace[f"level_{level}"] = after(arrival + registers, nodes)
        trace[f"owed_{level}"] = after(arrival + registers, owed)
    bank = np.zeros((len(steps) + 1, 2 * config.batch, config.rows), seen.accumulators.dtype)
    for step, (word, sums) in enumerate(zip(words.bank_words(), seen.accumulators, strict=True)):
        bank[step + 1] = bank[step]
        bank[step + 1, word] = sums
    trace["bank"] = after(config.step_latency, bank[1:])
    return trace
