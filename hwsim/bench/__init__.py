"""Speed of the engines beside that of other simulators, on the same layer in one run.

Each contender is prepared and run in a process of its own, which stays alive, so that runs can
alternate and the memory of each is its own. Slow ones are given fewer row blocks of the layer, fast
ones run it several times: what is compared is work per second.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from hwsim.config import ArrayConfig
from hwsim.layer import Layer
from hwsim.models import ModelShape
from hwsim.predict import predict

GROWING = ("hwsim-rtl", "hwsim-fast", "hwsim-gates")
"""Contenders that are shown on a layer that grows."""

MODEL = "bitnet-b1.58-2b-4t"
WHOLE = ("hwsim-fast", "hwsim-fast-toggles", "hwsim-gates", "int8-gemv", "memory-read")
"""The model that a page shows, and contenders that are fast enough for it."""

LEAST_S = 0.25
"""A run that is shorter is repeated until so many seconds are over; the mean counts."""

PAGE_FILES = ("bench.md", "images/bench.svg", "images/growth.svg")
"""What a page consists of: text, simulated cycles a second, the layer that grows."""


@dataclass(frozen=True)
class Job:
    """A layer of seeded random trits on an array.

    Attributes
    ----------
    config
        The array; its buffer holds `in_features`.
    out_features, in_features, tokens
        Shape of the layer.
    zero_fraction
        Share of zero trits; 0.42 is that of BitNet b1.58 2B4T.
    """

    config: ArrayConfig
    out_features: int
    in_features: int
    tokens: int
    zero_fraction: float = 0.42

    @property
    def layer(self) -> Layer:
        """The data."""
        rng = np.random.default_rng(0)
        shape = (self.out_features, self.in_features)
        signs = rng.integers(0, 2, shape, dtype=np.int8) * np.int8(2) - np.int8(1)
        return Layer(
            name="bench",
            weight=signs * (rng.random(shape, np.float32) >= self.zero_fraction),
            weight_scale=1.0,
            activation=rng.integers(-128, 128, (self.tokens, self.in_features), dtype=np.int8),
            activation_scale=np.ones(self.tokens, np.float32),
        )

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the layer."""
        return self.out_features * self.in_features * self.tokens

    @property
    def cycles(self) -> int:
        """Cycles that the array takes."""
        return predict(
            self.config,
            out_features=self.out_features,
            in_features=self.in_features,
            tokens=self.tokens,
        ).cycles.total

    def within(self, *, cycles: int | None = None, macs: int | None = None) -> "Job":
        """Return the job with about as many row blocks as fit, at least one."""
        blocks = -(-self.out_features // self.config.rows)
        if cycles is not None:
            blocks = min(blocks, blocks * cycles // self.cycles)
        if macs is not None:
            blocks = min(blocks, macs // (self.config.rows * self.in_features * self.tokens))
        rows = max(1, blocks) * self.config.rows
        return replace(self, out_features=min(rows, self.out_features))

    def sizes(self) -> "list[Job]":
        """Return the job with 1/16, 1/8... of its row blocks, up to itself."""
        blocks = -(-self.out_features // self.config.rows)
        parts = dict.fromkeys(max(1, blocks >> shift) for shift in range(4, 0, -1))
        smaller = [replace(self, out_features=part * self.config.rows) for part in parts]
        return [*smaller, self]


def model_jobs(model: ModelShape, config: ArrayConfig, tokens: int) -> list[Job]:
    """Return the linear layers of one block of a model, on one array that holds them all."""
    config = config.for_in_features(model.longest_in_features)
    return [
        Job(config, linear.out_features, linear.in_features, tokens) for linear in model.linears
    ]


@dataclass(frozen=True)
class Work:
    """One run.

    Attributes
    ----------
    seconds
        Of simulation, without preparation.
    cycles
        Simulated; None for those that compute cycles instead of simulating them.
    macs
        Of the layer that was run.
    """

    seconds: float
    cycles: int | None
    macs: int


@dataclass(frozen=True)
class Contender:
    """A simulator.

    Attributes
    ----------
    name
        As it is chosen.
    what
        What it does, in a few words.
    missing
        Says what is not installed, or nothing.
    prepare
        Gets the job and an empty folder, builds, returns what makes a run.
    """

    name: str
    what: str
    missing: Callable[[], str | None]
    prepare: Callable[[Job, Path], Callable[[], Work]]


@dataclass(frozen=True)
class Measurement:
    """All runs of one contender.

    Attributes
    ----------
    contender
        Its name.
    build_s
        Preparation, from an empty cache.
    works
        The runs.
    peak_mb
        Largest memory of its process or of a child.
    """

    contender: str
    build_s: float
    works: tuple[Work, ...]
    peak_mb: float

    @property
    def cycles_per_s(self) -> float | None:
        """Median rate of simulated cycles."""
        rates = [work.cycles / work.seconds for work in self.works if work.cycles is not None]
        return statistics.median(rates) if rates else None

    @property
    def macs_per_s(self) -> float:
        """Median rate of the layer's multiply-accumulates."""
        return statistics.median(work.macs / work.seconds for work in self.works)

    @property
    def median_s(self) -> float:
        """Median time of a run."""
        return statistics.median(work.seconds for work in self.works)

    @property
    def spread(self) -> float:
        """Slowest run over fastest."""
        seconds = [work.seconds for work in self.works]
        return max(seconds) / min(seconds)


@dataclass(frozen=True)
class Comparison:
    """Contenders on the same work.

    Attributes
    ----------
    what
        The work, in words.
    jobs
        What each ran.
    measurements
        One a contender.
    """

    what: str
    jobs: tuple[Job, ...]
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True)
class Failure:
    """A contender that could not be built or run.

    Attributes
    ----------
    contender
        Its name.
    reason
        The last thing it said.
    """

    contender: str
    reason: str


def contenders() -> dict[str, Contender]:
    """Return all contenders by name."""
    from hwsim.bench import netlists, own, peers

    return {c.name: c for c in (*own.CONTENDERS, *peers.CONTENDERS, *netlists.CONTENDERS)}


def measure(
    names: Sequence[str], jobs: Sequence[Job], *, repeat: int, rounds: int = 1
) -> Iterator[str | Measurement | Failure]:
    """Prepare each contender, then run all in turn.

    Parameters
    ----------
    names
        The contenders.
    jobs
        What each of them runs, one job after the other.
    repeat
        Runs of each.
    rounds
        How often a run does all jobs: blocks of a model, which have the same shapes. So the data of
        one block is enough; it should be more than caches hold.

    Yields
    ------
    str, Measurement or Failure
        What is being done; who fails, and is left out from then on; at the end the measurements,
        one a contender.
    """
    with ExitStack() as stack:
        pools: dict[str, Executor] = {}
        built: dict[str, float] = {}
        for name in names:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=f"hwsim-{name}-"))
            pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
            pools[name] = stack.enter_context(pool)
            yield f"{name}: build"
            try:
                built[name] = pools[name].submit(_prepare, name, jobs, folder).result()
            except RuntimeError as error:
                yield _failure(name, error)
        works: dict[str, list[Work]] = {name: [] for name in built}
        for turn in range(repeat):
            for name in list(works):
                yield f"{name}: run {turn + 1} of {repeat}"
                try:
                    works[name].append(pools[name].submit(_run, rounds).result())
                except RuntimeError as error:
                    del works[name]
                    yield _failure(name, error)
        for name in works:
            peak_mb = pools[name].submit(_peak_mb).result()
            yield Measurement(name, built[name], tuple(works[name]), peak_mb)


def _failure(name: str, error: RuntimeError) -> Failure:
    return Failure(name, str(error).strip().splitlines()[-1])


# What follows runs in the contender's own process.

_prepared: list[Callable[[], Work]]


def _prepare(name: str, jobs: Sequence[Job], folder: str) -> float:
    global _prepared
    import os
    import time

    # Builds are made anew: their time is a part of the result.
    os.environ["XDG_CACHE_HOME"] = folder
    contender = contenders()[name]
    started = time.perf_counter()
    _prepared = []
    for index, job in enumerate(jobs):
        place = Path(folder) / str(index)
        place.mkdir()
        _prepared.append(contender.prepare(job, place))
    return time.perf_counter() - started


def _run(rounds: int) -> Work:
    """Do all jobs; again and again, if that takes less than `LEAST_S`."""
    runs: list[float] = []
    while sum(runs) < LEAST_S:
        works = [run() for _ in range(rounds) for run in _prepared]
        runs.append(sum(work.seconds for work in works))
    cycles = [work.cycles for work in works if work.cycles is not None]
    return Work(
        seconds=statistics.fmean(runs),
        cycles=sum(cycles) if len(cycles) == len(works) else None,
        macs=sum(work.macs for work in works),
    )


def _peak_mb() -> float:
    import resource

    peaks = (
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return max(peaks) / 1024
