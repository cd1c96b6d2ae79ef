"""Measure the memory that engines take for the largest layers of 70B models, one process a run.

    python bench/memory.py [-o docs/memory.md] [--layer NAME] [ENGINE ...]

Seeded data on the preset `default-64x64`, and on its baselines with full weights; outputs are
compared with numpy in the same process, and cycles with the prediction. Takes some minutes.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

import numpy as np

from hwsim.models import ZOO, Linear

LLAMA_3_70B = (Linear("up", 28672, 8192), Linear("down", 8192, 28672))
"""Its widest layers; it is no ternary model."""

ENGINES = {
    "fast": ("fast", {}),
    "fast --toggles": ("fast", {"toggles": True}),
    "gates": ("gates", {}),
    "rtl": ("rtl", {}),
    "pysim": ("pysim", {}),
}
TOKENS = (1, 8)
BASELINES = ("int8", "fp16")
"""Lanes that engines are run with, too, for one token of the widest layer."""
SLOW = ("pysim",)
"""Engines that would take hours: one token of the widest layer alone, and no baselines."""
STOPPED = ("pysim", "rtl")
"""Engines that are stopped after some minutes."""
BYTES = {"fp16": 2}
"""That a weight takes, if not one."""

PAGE = """\
# Memory of the engines

Made by `{command}`: the largest linear layers of 70B models, seeded
data, on `default-64x64`. Each row is a process of its own that makes the layer, runs it, and, if it
comes to the end, compares every output with numpy and the cycles with the prediction. Peak is the
largest resident memory of that process, in units of 2^20 bytes; weights alone is what the array's
weights take, a byte each, two for `fp16`.
C compilers run in processes of their own, once: the largest took {compilers:,.0f} MB. numba
compiles inside the process; in the first run of each kind that is a part of the peak.

{table}

Beside the weights an engine holds Python and its libraries, the outputs, and pieces of streams of a
few MB (`hwsim.streams`), however large the layer. `gates` also holds decoded tiles, 64 MB at a time
(`hwsim.gates.decoding`), its netlists, and a counter of each net for each thread: two here. The
trits that the baselines' weights were made beside are let go before the run. `rtl` and `pysim` were
stopped after some minutes where a row says how far they were; they take the layer in pieces, so the
rest of it is like the first (`tests/engines/test_rtl.py` holds both to that).
"""


@dataclass(frozen=True)
class Case:
    """One run."""

    layer: str
    shape: Linear
    tokens: int
    engine: str
    lane: str


@dataclass(frozen=True)
class Seen:
    """What a run took."""

    peak_mb: float
    compilers_mb: float
    engine_s: float
    done: float


def layers() -> Iterator[tuple[str, Linear]]:
    """Give the largest layers of the 70B models that are known."""
    models = {name: model.linears for name, model in ZOO.items() if name.endswith("-70b")}
    for name, linears in (models | {"llama-3-70b": LLAMA_3_70B}).items():
        most = max(linear.weights for linear in linears)
        seen = set()
        for linear in linears:
            sides = (linear.out_features, linear.in_features)
            if linear.weights == most and sides not in seen:
                seen.add(sides)
                yield f"{name} {linear.name}", linear


def cases(layer: str, engines: list[str]) -> Iterator[Case]:
    """Give the runs of the layers whose names begin so, with `BASELINES`."""
    for name, shape in layers():
        if name.startswith(layer):
            for tokens in TOKENS:
                least = tokens == TOKENS[0] and shape == LLAMA_3_70B[0]
                for engine in engines:
                    if least or engine not in SLOW:
                        yield Case(name, shape, tokens, engine, "carry-fold")
                    if least and engine not in SLOW:
                        yield from (Case(name, shape, tokens, engine, lane) for lane in BASELINES)


class Enough(Exception):
    """A slow engine has run for some minutes; holds its steps, and seconds."""


def measure(case: Case, minutes: float) -> Seen:
    """Run a case in this process, which should be a fresh one; of slow engines some minutes."""
    from hwsim import engines
    from hwsim.config import preset
    from hwsim.operands import matches, operands_of
    from hwsim.predict import predict_cycles
    from hwsim.whole_model import ZERO_FRACTION, SeededSource

    layer = SeededSource(
        name=case.layer,
        out_features=case.shape.out_features,
        in_features=case.shape.in_features,
        tokens=case.tokens,
        zero_fraction=ZERO_FRACTION,
        seed=0,
    ).load()
    config = preset("default-64x64").baseline(case.lane)
    fed = operands_of(layer, config, kind="full")
    if case.lane in BASELINES:
        # It is fed with weights of its own; the trits have only been there to make these.
        layer = replace(layer, weight=np.broadcast_to(np.int8(0), layer.weight.shape))
    engine, options = ENGINES[case.engine]
    schedule = engines.schedule_of(layer, config)
    started = 0.0

    def progress(steps: int) -> None:
        nonlocal started
        # Whatever is built is built before the first call.
        started = started or time.monotonic()
        if (seconds := time.monotonic() - started) > 60 * minutes:
            raise Enough(steps, seconds)

    if case.engine in STOPPED:
        options = {**options, "progress": progress}
    try:
        run = engines.run(layer, config, engine=engine, operands=fed, **options)
    except Enough as enough:
        done, seconds = enough.args[0] / schedule.steps, enough.args[1]
    else:
        done, seconds = 1.0, run.engine_s
        if not matches(run.outputs, fed, config):
            raise SystemExit(f"{case}: outputs differ from numpy")
        if run.activity.cycles != predict_cycles(schedule):
            raise SystemExit(f"{case}: cycles differ from the prediction")
    own, compilers = (
        resource.getrusage(who).ru_maxrss / 1024
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return Seen(own, compilers, seconds, done)


def main() -> None:
    """Measure as the command line says, with a cache of builds that is empty at first."""
    with tempfile.TemporaryDirectory(prefix="hwsim-memory-") as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        report()


def report() -> None:
    """Print the rows of the table as they are made; write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=", ".join(ENGINES))
    parser.add_argument("--layer", default="", help="only layers whose names begin so")
    parser.add_argument(
        "--minutes", type=float, default=3, help="after which slow engines are stopped; default: 3"
    )
    parser.add_argument("-o", metavar="FILE", help="write the page")
    arguments = parser.parse_args()
    heads = (
        "layer",
        "shape",
        "tokens",
        "lane",
        "engine",
        "weights alone MB",
        "peak MB",
        "engine s",
    )
    lines = [f"| {' | '.join(heads)} |", "| --- | --- | --: | --- | --- | --: | --: | --: |"]
    print("\n".join(lines))
    compilers = 0.0
    for case in cases(arguments.layer, arguments.engines or list(ENGINES)):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            seen = pool.submit(measure, case, arguments.minutes).result()
        compilers = max(compilers, seen.compilers_mb)
        cells = (
            case.layer,
            f"{case.shape.out_features} x {case.shape.in_features}",
            case.tokens,
            f"`{case.lane}`",
            f"`{case.engine}`" + (f", first {seen.done:.2%}" if seen.done < 1 else ""),
            f"{case.shape.weights * BYTES.get(case.lane, 1) / 2**20:.0f}",
            f"{seen.peak_mb:.0f}",
            f"{seen.engine_s:.1f}",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
        print(lines[-1], flush=True)
    if arguments.o:
        from hwsim.files import write_atomically

        command = " ".join(["python", *sys.argv])
        write_atomically(
            arguments.o, PAGE.format(command=command, compilers=compilers, table="\n".join(lines))
        )


if __name__ == "__main__":
    main()
