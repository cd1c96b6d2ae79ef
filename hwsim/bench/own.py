"""hwsim's engines as contenders, and what the machine could do at most."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hwsim import engines
from hwsim.bench import Contender, Job, Work
from hwsim.parallel import side_by_side

Array = NDArray[Any]

_CYCLES = {"pysim": 1_000}
"""What the slow ones are given."""


def _prepare(engine: str, options: dict[str, Any], job: Job, folder: Path) -> Callable[[], Work]:
    job = job.within(cycles=_CYCLES.get(engine))
    layer = job.layer

    def run() -> Work:
        done = engines.run(layer, job.config, engine=engine, **options)
        return Work(done.engine_s, done.activity.cycles.total, job.macs)

    if engine != "pysim":
        run()  # what is compiled is compiled now
    return run


@njit(nogil=True)
def _product(weight: Array, activation: Array, sums: Array, start: int, end: int) -> None:
    for row in range(start, end):
        for token in range(len(activation)):
            total = np.int32(0)
            for column in range(weight.shape[1]):
                total += np.int32(weight[row, column]) * np.int32(activation[token, column])
            sums[row, token] = total


@njit(nogil=True)
def _read(weight: Array, activation: Array, sums: Array, start: int, end: int) -> None:
    # Words, not bytes: what is done with them must take no time.
    words = weight[start:end].ravel()
    words = words[: len(words) // 8 * 8].view(np.uint64)
    total = np.uint64(0)
    for word in words:
        total ^= word
    sums[start] = total


def _prepare_bare(work: Callable[..., None], job: Job, folder: Path) -> Callable[[], Work]:
    weight, activation = job.layer.weight, job.layer.activation
    sums = np.zeros((job.out_features, job.tokens), np.int32)

    def run() -> Work:
        started = time.perf_counter()
        side_by_side(partial(work, weight, activation, sums), job.out_features)
        return Work(time.perf_counter() - started, None, job.macs)

    run()  # compiles
    return run


CONTENDERS = [
    *(
        Contender(f"hwsim-{name}", what, lambda: None, partial(_prepare, name, {}))
        for name, what in engines.ENGINES.items()
    ),
    Contender(
        "hwsim-fast-toggles",
        "the same with the toggles of operands, tree and accumulators, word by word",
        lambda: None,
        partial(_prepare, "fast", {"toggles": True}),
    ),
    Contender(
        "int8-gemv",
        "no simulation: the layer as a bare product of int8 matrices, on all processors",
        lambda: None,
        partial(_prepare_bare, _product),
    ),
    Contender(
        "memory-read",
        "no simulation: the weights, a byte each, read once; M MAC/s are MB/s times the tokens",
        lambda: None,
        partial(_prepare_bare, _read),
    ),
]
