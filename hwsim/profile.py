"""The timeline of a run, for Perfetto (ui.perfetto.dev) or ``chrome://tracing``."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.engines.control import (
    ACTIVATION_TAKEN,
    CAUSE,
    CAUSES,
    RESULT_TAKEN,
    WEIGHT_TAKEN,
    Control,
    Log,
)
from hwsim.engines.ports import Stimulus

_PORTS = {
    "weights": WEIGHT_TAKEN,
    "activations": ACTIVATION_TAKEN,
    "results": RESULT_TAKEN,
}
"""Tracks beside that of the array, with the flag of what moves."""


def timeline(stimulus: Stimulus) -> dict[str, Any]:
    """Return the timeline of one layer in Chrome's trace event format.

    Track `array` says for every cycle why it passed, the others when words moved over a port; a
    tile of weights is an event of its own. Cycles in which the same happens are one event. Times
    are in microseconds at the array's clock; `args` has the cycles.

    Parameters
    ----------
    stimulus
        How the layer comes to the ports.
    """
    schedule = stimulus.schedule
    log = np.concatenate(list(Control(stimulus)))
    tracks: dict[str, Iterable[tuple[str, int, int]]] = {
        "array": ((CAUSES[cause], start, end) for cause, start, end in _runs(log & CAUSE)),
        **{
            name: ((name, start, end) for moved, start, end in _runs(log & flag) if moved)
            for name, flag in _PORTS.items()
        },
        "weights": _tiles(log, schedule.config.tile_words),
    }
    microseconds = 1 / schedule.config.clock_mhz
    events: list[dict[str, Any]] = []
    for thread, (track, runs) in enumerate(tracks.items()):
        shared = {"pid": 0, "tid": thread}
        events.append({"ph": "M", "name": "thread_name", "args": {"name": track}, **shared})
        events += (
            {
                "ph": "X",
                "name": name,
                "ts": start * microseconds,
                "dur": (end - start) * microseconds,
                "args": {"cycle": start, "cycles": end - start},
                **shared,
            }
            for name, start, end in runs
        )
    return {"displayTimeUnit": "ns", "traceEvents": events}


def _runs(states: NDArray[Any]) -> Iterator[tuple[int, int, int]]:
    """Give the runs of equal states: state, first cycle, cycle after the last."""
    starts = np.flatnonzero(np.diff(states, prepend=~states[:1]))
    ends = np.append(starts[1:], len(states))
    return zip(states[starts].tolist(), starts.tolist(), ends.tolist(), strict=True)


def _tiles(log: Log, words: int) -> Iterator[tuple[str, int, int]]:
    """Give the tiles: from the cycle in which the first word is taken to that of the last."""
    taken = np.flatnonzero(log & WEIGHT_TAKEN)
    firsts, lasts = taken[::words].tolist(), (taken[words - 1 :: words] + 1).tolist()
    for index, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
        yield f"tile {index}", first, last
