"""Whole models: every linear layer through an engine, one after the other or side by side.

The layers come from a trace, with their own data, or from a shape, with seeded data. They are made
where they are run, so memory does not grow with the model. With a folder for results, a run that
was interrupted goes on where it stopped.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hwsim import engines
from hwsim.config import ArrayConfig
from hwsim.engines import Run
from hwsim.engines.stalls import Stalls
from hwsim.errors import InputError
from hwsim.files import make_folder, replacing, write_atomically
from hwsim.layer import Layer
from hwsim.models import ModelShape
from hwsim.operands import Kind, Operands, matches, operands_of, row_spans
from hwsim.parallel import cancel
from hwsim.predict import predict
from hwsim.results import describe
from hwsim.sampling import combined, counts_of, is_estimate, sample, sum_of_estimates

ZERO_FRACTION = 0.42
"""Share of zero trits in BitNet b1.58 2B4T (measured on its published weights)."""

RESULT_FILES = ("results.json", "layers.parquet")
"""What the results of a model consist of: all of them, and a table of its layers."""


class Source(Protocol):
    """Where a layer comes from; small, so that it can be sent to another process."""

    @property
    def name(self) -> str:
        """Name of the layer in the model."""

    def load(self) -> Layer:
        """Return the layer, with activations."""

    def state(self) -> tuple[str, ...]:
        """Return what the layer depends on and `repr` does not show."""


@dataclass(frozen=True, kw_only=True)
class TraceSource:
    """A layer of a trace.

    Attributes
    ----------
    path
        The file.
    name
        Name of the layer.
    tokens
        Take the first so many tokens; all, if None.
    """

    path: str
    name: str
    tokens: int | None = None

    def load(self) -> Layer:
        """Read it."""
        from hwsim import trace

        layer = trace.read(self.path).layer(self.name)
        if layer.activation is None:
            raise InputError(f"{self.path}: layer {self.name}: has no activations")
        return layer if self.tokens is None else layer.take(self.tokens)

    def state(self) -> tuple[str, ...]:
        """Return which file that is, its size, and when it was written."""
        path = Path(self.path).resolve()
        found = path.stat()
        return str(path), str(found.st_size), str(found.st_mtime_ns)


@dataclass(frozen=True, kw_only=True)
class SeededSource:
    """A layer of a model's shape, with random data.

    Attributes
    ----------
    name
        Name of the layer; it is a part of the seed.
    out_features, in_features, tokens
        Shape.
    zero_fraction
        Probability of a zero trit; signs are fair.
    seed
        Of the model.
    """

    name: str
    out_features: int
    in_features: int
    tokens: int
    zero_fraction: float
    seed: int

    def load(self) -> Layer:
        """Draw it: trits, and activations that are normal with a deviation of 32."""
        digest = hashlib.sha256(f"{self.seed} {self.name}".encode()).digest()
        rng = np.random.default_rng(list(digest))
        shape = (self.out_features, self.in_features)
        activation = np.rint(rng.normal(0, 32, (self.tokens, self.in_features)))
        return Layer(
            name=self.name,
            weight=_draw_trits(rng, shape, self.zero_fraction),
            weight_scale=1.0,
            activation=activation.clip(-127, 127).astype(np.int8),
            activation_scale=np.ones(self.tokens, np.float32),
        )

    def state(self) -> tuple[str, ...]:
        """Return nothing: the data follow from the attributes."""
        return ()


def _draw_trits(
    rng: np.random.Generator, shape: tuple[int, int], zero_fraction: float
) -> NDArray[np.int8]:
    """Draw trits by looking up 16 random bits each: as fast as the bits come."""
    zeros = round(zero_fraction * (1 << 16))
    trit_of = np.ones(1 << 16, np.int8)
    trit_of[:zeros] = 0
    trit_of[zeros + (len(trit_of) - zeros) // 2 :] = -1
    trits = np.empty(shape, np.int8)
    for rows in row_spans(shape):
        draws = rng.integers(0, 1 << 16, trits[rows].shape, dtype=np.uint16)
        trits[rows] = trit_of[draws]
    return trits


def sources_of_shape(
    model: ModelShape, *, tokens: int, zero_fraction: float = ZERO_FRACTION, seed: int = 0
) -> list[Source]:
    """Return all linear layers of a model's blocks, with seeded data.

    Raises
    ------
    InputError
        If a number is out of range.
    """
    if tokens < 1:
        raise InputError(f"tokens must be at least 1, not {tokens}")
    if not 0 <= zero_fraction <= 1:
        raise InputError(f"zero_fraction must be from 0 to 1, not {zero_fraction}")
    return [
        SeededSource(
            name=f"blocks.{block}.{linear.name}",
            out_features=linear.out_features,
            in_features=linear.in_features,
            tokens=tokens,
            zero_fraction=zero_fraction,
            seed=seed,
        )
        for block in range(model.layers)
        for linear in model.linears
    ]


def sources_of_trace(path: str | Path, *, tokens: int | None = None) -> list[Source]:
    """Return all layers of a trace.

    Raises
    ------
    InputError
        If the file is not a trace.
    """
    from hwsim import trace

    names = trace.read(path).names
    return [TraceSource(path=str(path), name=name, tokens=tokens) for name in names]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How layers are run.

    Attributes
    ----------
    config
        The array. Its buffer holds the longest layer.
    engine
        One of `hwsim.engines.ENGINES`.
    kind
        What the baselines' lanes are fed with: see `operands_of`.
    stalls
        When ports wait.
    check
        Compare the outputs with numpy.
    toggles
        Count the bits that change (`fast`; `gates` counts those of its nets in any case).
    sample
        Row blocks of each layer that are run; all, if None. See `run_layer`.
    seed
        Of the choice of row blocks, and of weights that a trace lacks.
    """

    config: ArrayConfig
    engine: str
    kind: Kind = "trace"
    stalls: Stalls = field(default_factory=Stalls)
    check: bool = False
    toggles: bool = False
    sample: int | None = None
    seed: int = 0


def run_layer(source: Source, plan: Plan) -> dict[str, Any]:
    """Run one layer and describe it, as ``hwsim simulate`` does.

    With `Plan.sample`, so many row blocks are chosen at random and run. Cycles and all counts that
    do not depend on data are then predicted, which is exact; `nonzero_macs` and toggles are
    estimated, and `sampled` holds the estimates with their 95 % confidence intervals: see
    `hwsim.sampling`.
    """
    layer = source.load()
    fed = operands_of(layer, plan.config, kind=plan.kind, seed=plan.seed)
    if plan.sample is not None:
        return _run_sample(layer, fed, plan, plan.sample)
    run, checked = _run(layer, fed, plan)
    stalled = plan.stalls.rate > 0
    result = describe(layer, plan.config, plan.engine, run, stalled=stalled)
    return result | counts_of(run) | {"operands": fed.source, "checked": checked}


def _run(layer: Layer, fed: Operands, plan: Plan) -> tuple[Run, bool | None]:
    """Run a layer; say whether its outputs are right, if that is asked for."""
    options: dict[str, Any] = {"toggles": True} if plan.toggles else {}
    run = engines.run(
        layer, plan.config, engine=plan.engine, operands=fed, stalls=plan.stalls, **options
    )
    return run, matches(run.outputs, fed, plan.config) if plan.check else None


def _run_sample(layer: Layer, fed: Operands, plan: Plan, row_blocks: int) -> dict[str, Any]:
    found = sample(
        layer,
        fed,
        plan.config,
        lambda part, part_fed: _run(part, part_fed, plan),
        row_blocks=row_blocks,
        seed=plan.seed,
        toggles=plan.toggles or plan.engine == "gates",
    )
    values = combined([found.counts], lambda leaf: round(leaf[0]["value"]), is_estimate)
    activity = predict(
        plan.config.for_in_features(layer.in_features),
        out_features=layer.out_features,
        in_features=layer.in_features,
        tokens=layer.tokens,
        nonzero=round(values.pop("nonzero_macs") / layer.tokens),
    )
    outputs = np.empty((layer.tokens, 0), np.int32)
    estimated = Run(outputs=outputs, activity=activity, engine_s=found.engine_s)
    result = describe(layer, plan.config, plan.engine, estimated, stalled=False)
    result |= values | {"operands": fed.source, "checked": found.checked}
    result["sampled"] = {
        "row_blocks": found.row_blocks,
        "of_row_blocks": found.of_row_blocks,
        **found.counts,
    }
    return result


def run_model(
    sources: Sequence[Source],
    plan: Plan,
    *,
    executor: Executor | None = None,
    folder: str | Path | None = None,
    progress: Callable[[str], None] = lambda name: None,
) -> list[dict[str, Any]]:
    """Run all layers; return their descriptions, in the order of `sources`.

    Parameters
    ----------
    sources
        The layers; names must differ.
    plan
        How each is run.
    executor
        Runs them side by side: any of `concurrent.futures`, or a cluster's. In this process, if
        left out.
    folder
        Keeps the description of each layer as soon as it is there, and those of an earlier run of
        the same plan with the same versions are taken from it.
    progress
        Told the name of each layer that is done.
    """
    store = _Store(folder, plan) if folder is not None else None
    done: dict[str, dict[str, Any]] = {}
    missing = []
    for source in sources:
        kept = store.get(source) if store else None
        if kept is None:
            missing.append(source)
        else:
            done[source.name] = kept
            progress(source.name)
    for name, result in _results(missing, plan, executor):
        done[name] = result
        if store:
            store.put(next(s for s in missing if s.name == name), result)
        progress(name)
    return [done[source.name] for source in sources]


def _results(
    sources: Sequence[Source], plan: Plan, executor: Executor | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    if executor is None:
        yield from ((source.name, run_layer(source, plan)) for source in sources)
        return
    futures = {executor.submit(run_layer, source, plan): source.name for source in sources}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        cancel(executor, futures)


class _Store:
    """A folder with a JSON file a layer, under a key of everything that the result depends on."""

    def __init__(self, folder: str | Path, plan: Plan):
        self._folder = Path(folder) / "layers"
        self._plan = plan

    def _path(self, source: Source) -> Path:
        versions = [metadata.version(name) for name in ("hwsim", "amaranth", "numpy")]
        parts = (*versions, repr(source), *source.state(), repr(self._plan))
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
        return self._folder / f"{source.name.replace('/', '_')}-{key}.json"

    def get(self, source: Source) -> dict[str, Any] | None:
        try:
            kept = json.loads(self._path(source).read_text())
            result: dict[str, Any] = kept["result"]
            whole = kept["sha256"] == _digest(result)
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None  # not there, or not what was written
        return result if whole else None

    def put(self, source: Source, result: Mapping[str, Any]) -> None:
        make_folder(self._folder)
        kept = {"sha256": _digest(result), "result": result}
        write_atomically(self._path(source), json.dumps(kept))


def _digest(result: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(result).encode()).hexdigest()


def summary(model: str, layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the layers of a model with the sums over them.

    Cycles add up, since a layer follows the other without overlap. So do toggles, which each layer
    counts from an array that is all 0; intervals of samples add in squares, since each layer's row
    blocks are chosen by themselves.
    """

    def total(values: Sequence[Any]) -> Any:
        return combined(values, lambda numbers: None if numbers[0] is None else sum(numbers))

    def total_sampled(values: Sequence[Any]) -> Any:
        return sum_of_estimates(values) if is_estimate(values[0]) else sum(values)

    keys = ["cycles", "stall_free_cycles", "predicted_cycles", "activity", "energy_pj", "engine_s"]
    keys += [key for key in ("word_toggles", "toggles") if key in layers[0]]
    sampled = [layer["sampled"] for layer in layers if "sampled" in layer]
    return {
        "model": model,
        "engine": layers[0]["engine"],
        "array": layers[0]["array"],
        "layers": list(layers),
        **{key: total([layer[key] for layer in layers]) for key in keys},
        "baseline": total([layer["baseline"] for layer in layers]),
        "extrapolated": next(filter(None, (layer["extrapolated"] for layer in layers)), None),
        **({"sampled": combined(sampled, total_sampled, is_estimate)} if sampled else {}),
        "checked": _all_checked([layer["checked"] for layer in layers]),
    }


def _all_checked(values: Sequence[bool | None]) -> bool | None:
    return None if None in values else all(values)


def write_results(folder: str | Path, content: Mapping[str, Any]) -> None:
    """Write `RESULT_FILES`; of the table, a row is a layer, and columns are as ``cycles.total``."""
    import pandas as pd  # type: ignore[import-untyped]

    folder = Path(folder)
    make_folder(folder)
    everything, table = (folder / name for name in RESULT_FILES)
    write_atomically(everything, json.dumps(content, indent=2) + "\n")
    with replacing(table) as temporary:
        pd.json_normalize(list(content["layers"])).to_parquet(temporary, index=False)
