"""Many design points at once: models x formats x nodes x scopes x workloads, as one table."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hwsim.compare import (
    FORMATS,
    Format,
    attention_s,
    beside_the_array,
    footprint_bytes,
    linear_layers,
)
from hwsim.config import ArrayConfig
from hwsim.energy import PICOJOULES, SCOPES, Rates, parts_of
from hwsim.models import ModelShape
from hwsim.workload import Workload

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

Floats = NDArray[np.float64]

_PARTS = parts_of("system")


def design_points(
    models: Iterable[ModelShape],
    workloads: Sequence[Workload],
    array: ArrayConfig,
    rates: Rates,
    *,
    formats: Iterable[Format] = tuple(FORMATS.values()),
    nodes: Iterable[str] = ("7nm", "45nm"),
    scopes: Iterable[str] = tuple(SCOPES),
    baseline: str = "equal-peak",
) -> "pd.DataFrame":
    """Evaluate every combination, each as `hwsim.compare.run` would.

    Parameters
    ----------
    models, workloads, formats, nodes, scopes
        What to combine.
    array
        The ternary array; see `hwsim.compare.compare`.
    rates
        What to price with, whatever its node.
    baseline
        How the arrays of the other formats are derived.

    Returns
    -------
    pandas.DataFrame
        A row for each combination. Units are in the names of the columns; ``energy_j`` and the
        parts (such as ``registers_j``) are of the whole run, a part that is out of scope is NaN.

    Raises
    ------
    InputError
        As `run`.
    """
    import pandas as pd

    scopes = tuple(scopes)
    given = {
        name: np.array([getattr(workload, name) for workload in workloads])
        for name in ("phase", "tokens", "context", "batch_size")
    }
    frames = []
    for model, format, node in itertools.product(models, formats, nodes):
        at_node = replace(rates, node=node)
        own = format.array(array, at_node, baseline).for_in_features(model.longest_in_features)
        points = _evaluate(model, format, own, workloads, at_node)
        for scope in scopes:
            names = {"model": model.name, "format": format.name, "node": node, "scope": scope}
            frames.append(pd.DataFrame({**given, **_in_scope(points, scope)}).assign(**names))
    frame = pd.concat(frames, ignore_index=True)
    first = ["model", "format", "node", "scope", *given]
    return frame[first + [name for name in frame.columns if name not in first]]


def _evaluate(
    model: ModelShape,
    format: Format,
    array: ArrayConfig,
    workloads: Sequence[Workload],
    rates: Rates,
) -> dict[str, Floats]:
    """Evaluate all workloads of a model in one format in scope `system`: arrays by name."""
    figures = {key: row.converted() for key, row in rates.table.rows.items()}
    work = {
        name: np.array([getattr(workload, name) for workload in workloads])
        for name in ("passes", "tokens_per_pass", "new_tokens")
    }
    pj = {part: np.zeros(len(workloads)) for part in _PARTS}
    counts = {name: np.zeros(len(workloads)) for name in ("cycles", "macs", "weight_bytes")}
    for tokens in np.unique(work["tokens_per_pass"]):
        here = work["tokens_per_pass"] == tokens
        for layer in linear_layers(model, format, array, int(tokens), rates, scope="system"):
            for (part, key), times in layer.bill.counts.items():
                pj[part][here] += times * figures[key]
            counts["cycles"][here] += layer.times * layer.activity.cycles.total
            counts["macs"][here] += layer.times * layer.activity.macs
            counts["weight_bytes"][here] += layer.times * layer.activity.weight_bits / 8
    for figure in (*pj.values(), *counts.values()):
        figure *= work["passes"]
    for index, workload in enumerate(workloads):
        for part, key, times in beside_the_array(model, workload, rates, scope="system"):
            pj[part][index] += times * figures[key]
    latency_s = counts["cycles"] / (array.clock_mhz * 1e6)
    attending_s = np.array([attention_s(model, w, array, rates) for w in workloads])
    footprints = (footprint_bytes(model, format, array, w) for w in workloads)
    return {
        **pj,
        "cycles": counts["cycles"],
        "latency_s": latency_s,
        "attention_s": attending_s,
        "tokens_per_s": work["new_tokens"] / (latency_s + attending_s),
        "utilisation": counts["macs"] / (counts["cycles"] * array.rows * array.columns),
        "weight_bytes": counts["weight_bytes"],
        "footprint_bytes": np.array([sum(parts.values()) for parts in footprints]),
        "new_tokens": work["new_tokens"],
    }


def _in_scope(points: dict[str, Floats], scope: str) -> dict[str, Floats]:
    """Return the columns of a scope: the parts in it in joules, their sum, and all the rest."""
    parts_j = {part: points[part] / PICOJOULES for part in parts_of(scope)}
    energy_j = np.sum(list(parts_j.values()), axis=0)
    rest = {name: values for name, values in points.items() if name not in _PARTS}
    return {
        "energy_j": energy_j,
        "per_token_j": energy_j / rest.pop("new_tokens"),
        **rest,
        **{f"{part}_j": joules for part, joules in parts_j.items()},
    }
