"""Many design points at once: arrays x models x formats x nodes x scopes x workloads, as one table.

There are no formulas here. Arrays that differ in sizes alone become one `ArrayConfig` whose sizes
are numpy arrays, and what computes with the numbers of one array computes with those of many.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwsim import predict
from hwsim.activity import Activity, Cycles
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
from hwsim.errors import InputError
from hwsim.models import ModelShape
from hwsim.schedule import Schedule
from hwsim.workload import Workload

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_PARTS = parts_of("system")

_SIZES = (
    "rows",
    "columns",
    "batch",
    "weight_bus_bits",
    "activation_bus_bits",
    "result_bus_bits",
    "max_in_features",
    "clock_mhz",
)
"""Fields in which arrays can differ and be computed together."""

_OWN_SIZES = ("rows", "activation_bus_bits", "result_bus_bits", "max_in_features")
"""Those of them that depend on the format and the model, each by itself."""

_FIELDS = tuple(ArrayConfig.model_fields)
_OTHERS = tuple(name for name in _FIELDS if name not in _SIZES)


def design_points(
    models: Iterable[ModelShape],
    workloads: Sequence[Workload],
    arrays: ArrayConfig | Sequence[ArrayConfig],
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
    arrays
        The ternary array, or several; see `hwsim.compare.compare`. Those whose memory has a
        bandwidth or a latency take far longer, since their cycles are not a closed form.
    rates
        What to price with, whatever its node; memories are those of the arrays.
    baseline
        How the arrays of the other formats are derived.

    Returns
    -------
    pandas.DataFrame
        A row for each combination. Units are in the names of the columns; ``energy_j`` and the
        parts (such as ``registers_j``) are of the whole run, a part that is out of scope is NaN.
        ``array`` counts the arrays as they were given; fields in which they differ are columns,
        too, as the array of that format has them.

    Raises
    ------
    InputError
        As `run`.
    """
    import pandas as pd

    given = [arrays] if isinstance(arrays, ArrayConfig) else list(arrays)
    scopes, formats, nodes = tuple(scopes), tuple(formats), tuple(nodes)
    differing = [name for name in _FIELDS if len({getattr(a, name) for a in given}) > 1]
    work = {
        name: np.array([getattr(workload, name) for workload in workloads])
        for name in ("phase", "tokens", "context", "batch_size")
    }
    frames = []
    for model, kind in itertools.product(models, list(_kinds(given))):
        at_nodes = [replace(rates, node=node, memory=kind.one.memory) for node in nodes]
        beside = {at.node: _beside(model, workloads, at) for at in at_nodes}
        for format, at in itertools.product(formats, at_nodes):
            own = kind.of_format(format, at, baseline, model)
            points = _evaluate(model, format, own, workloads, at, beside[at.node])
            shape = (len(kind.indices), len(workloads))
            about = {name: np.broadcast_to(values, shape) for name, values in work.items()}
            about["array"] = np.broadcast_to(np.reshape(kind.indices, (-1, 1)), shape)
            for name in differing:
                about[name] = np.broadcast_to(getattr(own.all, name), shape)
            for scope in scopes:
                columns = {**about, **_in_scope(points, scope)}
                names = {
                    "model": model.name,
                    "format": format.name,
                    "node": at.node,
                    "scope": scope,
                }
                frames.append(
                    pd.DataFrame({n: np.ravel(v) for n, v in columns.items()}).assign(**names)
                )
    frame = pd.concat(frames, ignore_index=True)
    first = ["model", "format", "node", "scope", *work, "array", *differing]
    return frame[first + [name for name in frame.columns if name not in first]]


@dataclass(frozen=True)
class _Kind:
    """Arrays that differ in sizes alone.

    Attributes
    ----------
    indices
        Which ones of those that were given.
    one
        An array that shows what all of them allow: the one with the narrowest result bus.
    all
        All of them in one, whose sizes are of shape (arrays, 1).
    """

    indices: list[int]
    one: ArrayConfig
    all: ArrayConfig

    def of_format(self, format: Format, rates: Rates, baseline: str, model: ModelShape) -> "_Kind":
        """Return the arrays for a format that are to be compared with these ternary ones."""
        longest = model.longest_in_features

        def own(**fields: Any) -> ArrayConfig:
            array = self.one.replace(**fields) if fields else self.one
            return format.array(array, rates, baseline).for_in_features(longest)

        one = own()
        one.check_in_features(longest, where=model.name)
        sizes = {name: getattr(self.all, name) for name in _SIZES}

        def own_size(name: str) -> Callable[[int], int]:
            return lambda size: int(getattr(own(**{name: size}), name))

        sizes |= {name: _each(sizes[name], own_size(name)) for name in _OWN_SIZES}
        return _Kind(self.indices, one, one.model_copy(update=sizes))


def _each(values: Integers, function: Callable[[int], int]) -> Integers:
    """Apply a function to each value, but only once to equal ones."""
    different, place = np.unique(values, return_inverse=True)
    return np.array([function(int(value)) for value in different])[place]


def _kinds(arrays: Sequence[ArrayConfig]) -> Iterator[_Kind]:
    """Put arrays together that differ in sizes alone, and are not limited by their memory."""
    kinds: dict[tuple[Any, ...], list[int]] = {}
    for index, array in enumerate(arrays):
        if not array.is_ternary:
            raise InputError(
                f"lane {array.lane}: the array must be a ternary one; "
                "the others are derived from it"
            )
        alone = index if array.is_limited else None
        others = tuple(getattr(array, name) for name in _OTHERS)
        kinds.setdefault((alone, *others), []).append(index)
    for indices in kinds.values():
        one = min((arrays[index] for index in indices), key=lambda array: array.result_bus_bits)
        sizes = {n: np.array([[getattr(arrays[index], n)] for index in indices]) for n in _SIZES}
        yield _Kind(indices, one, one.model_copy(update=sizes))


def _beside(model: ModelShape, workloads: Sequence[Workload], rates: Rates) -> dict[str, Floats]:
    """Return what runs beside the array, in pJ by part, each of shape (workloads,)."""
    rows = rates.table.rows
    pj = {part: np.zeros(len(workloads)) for part in _PARTS}
    for index, workload in enumerate(workloads):
        for part, key, times in beside_the_array(model, workload, rates, scope="system"):
            pj[part][index] += times * rows[key].converted()
    return pj


def _evaluate(
    model: ModelShape,
    format: Format,
    kind: _Kind,
    workloads: Sequence[Workload],
    rates: Rates,
    beside: Mapping[str, Floats],
) -> dict[str, Floats]:
    """Evaluate all workloads of a model in one format in scope `system`.

    Returns figures by name, each of shape (arrays, workloads).
    """
    array, rows = kind.all, rates.table.rows
    shape = (len(kind.indices), len(workloads))
    passes = np.array([workload.passes for workload in workloads])
    new_tokens = np.array([workload.new_tokens for workload in workloads])
    tokens, place = np.unique([w.tokens_per_pass for w in workloads], return_inverse=True)

    # Of the linear layers in one pass, shape (arrays, different numbers of tokens)
    pj = {part: np.zeros((len(kind.indices), len(tokens))) for part in _PARTS}
    cycles, macs, bits = (np.zeros_like(pj["linear_add"]) for _ in range(3))
    for layer in linear_layers(
        model, format, array, tokens, rates, scope="system", predict=predict_many
    ):
        for (part, key), times in layer.bill.counts.items():
            pj[part] += times * rows[key].converted()
        cycles += layer.times * layer.activity.cycles.total
        macs += layer.times * layer.activity.macs
        bits += layer.times * layer.activity.weight_bits
    # From here on, of the run, shape (arrays, workloads)
    cycles, macs, bits = (figure[:, place] * passes for figure in (cycles, macs, bits))
    latency_s = cycles / (array.clock_mhz * 1e6)
    attending_s = np.empty(shape)
    for index, workload in enumerate(workloads):
        attending_s[:, [index]] = attention_s(model, workload, array, rates)
    footprints = [sum(footprint_bytes(model, format, kind.one, w).values()) for w in workloads]
    return {
        **{part: pj[part][:, place] * passes + beside[part] for part in _PARTS},
        "cycles": cycles,
        "latency_s": latency_s,
        "attention_s": attending_s,
        "tokens_per_s": new_tokens / (latency_s + attending_s),
        "utilisation": macs / (cycles * array.rows * array.columns),
        "weight_bytes": bits / 8,
        "footprint_bytes": np.broadcast_to(footprints, shape),
        "new_tokens": np.broadcast_to(new_tokens, shape),
    }


_MOST = 1 << 62
"""More than this is not counted: int64 could overflow."""


def predict_many(arrays: ArrayConfig, out_features: int, in_features: int, tokens: Any) -> Activity:
    """Predict one layer on many arrays, as `hwsim.predict.predict` does on one.

    Parameters
    ----------
    arrays
        All of them in one: its sizes are of shape (arrays, 1).
    out_features, in_features
        Shape of the layer.
    tokens
        Tokens of the layer, shape (n,).

    Returns
    -------
    Activity
        Counts of shape (arrays, n), or what broadcasts to it; floats, exact below 2**53.

    Raises
    ------
    InputError
        If a count could be too large.
    """
    schedule = Schedule(
        config=arrays, out_features=out_features, in_features=in_features, tokens=tokens
    )
    places = np.max(
        1.0 * arrays.rows * arrays.columns * schedule.row_blocks * schedule.column_blocks
    )
    if 64 * places * np.max(tokens) > _MOST:
        raise InputError(f"{np.max(tokens)} tokens are too many for design points")
    activity = schedule.activity(_cycles(schedule), nonzero=out_features * in_features)
    # As floats, so that no product overflows
    counts: dict[str, Any] = {name: 1.0 * count for name, count in activity.as_dict().items()}
    return Activity(cycles=_of_cycles(lambda name: 1.0 * getattr(activity.cycles, name)), **counts)


def _of_cycles(count: Callable[[str], Any]) -> Cycles:
    return Cycles(**{field.name: count(field.name) for field in fields(Cycles)})


def _cycles(schedule: Schedule) -> Cycles:
    """Predict cycles, of shape (arrays, numbers of tokens)."""
    arrays = schedule.config
    if arrays.is_limited:  # and alone
        sizes = {name: getattr(arrays, name).item() for name in _SIZES}
        one = replace(schedule, config=arrays.model_copy(update=sizes))
        tokens: Any = schedule.tokens
        found = [predict.predict_cycles(replace(one, tokens=int(count))) for count in tokens]
        return _of_cycles(lambda name: np.array([getattr(cycles, name) for cycles in found]))
    points = np.stack(np.broadcast_arrays(*predict.Sizes.of(schedule)), axis=-1)
    states = np.empty((*points.shape[:-1], len(predict.State._fields)), np.int64)
    _compiled()(points.reshape(-1, points.shape[-1]), states.reshape(-1, states.shape[-1]))
    return predict.cycles_of(predict.State(*np.moveaxis(states, -1, 0)), schedule.steps)


@cache
def _compiled() -> Callable[[Integers, Integers], None]:
    """Compile `hwsim.predict.walk_all` and what it calls."""
    from numba import njit
    from numba.extending import register_jitable

    for function in predict.COMPILED:
        register_jitable(function)
    compiled: Callable[[Integers, Integers], None] = njit(cache=True)(predict.walk_all)
    return compiled


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
