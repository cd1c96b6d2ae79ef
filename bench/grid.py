"""Measure how long 10^5 design points take: as many different arrays, then all models on one array.

    python bench/grid.py

The first run compiles the recurrence, which takes some seconds more.
"""

import itertools
import time

from hwsim.compare import FORMATS
from hwsim.config import ArrayConfig, preset
from hwsim.energy import Rates
from hwsim.energy_tables import EnergyTable
from hwsim.grid import design_points
from hwsim.models import ZOO
from hwsim.workload import PHASES, Workload

SIZES = {
    "rows": (4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512),
    "columns": (4, 8, 16, 24, 32, 48, 64, 80, 96, 128, 256, 512),
    "batch": (1, 2, 4, 8, 16, 32),
    "lane": ("negate", "carry-fold"),
    "weight_encoding": ("2bit", "base3"),
    "weight_bus_bits": (64, 128, 256, 512, 1024),
    "clock_mhz": (250.0, 500.0, 1000.0),
    "memory": ("lpddr5", "hbm2"),
}
RATES = Rates(table=EnergyTable.load(), memory="hbm2", extrapolate=True)


def many_arrays() -> int:
    """Decode a token of a model on every array of `SIZES`, in the ternary format."""
    arrays = [
        ArrayConfig(**dict(zip(SIZES, values, strict=True)))
        for values in itertools.product(*SIZES.values())
    ]
    return len(
        design_points(
            [ZOO["bitnet-b1.58-2b-4t"]],
            [Workload(phase="decode", tokens=1)],
            arrays,
            RATES,
            formats=[FORMATS["ternary"]],
            nodes=["7nm"],
            scopes=["system"],
        )
    )


def many_models() -> int:
    """Run all models in all formats, nodes and scopes on one array, with many workloads."""
    workloads = [
        Workload(phase=phase, tokens=tokens, context=context, batch_size=batch_size)
        for phase in PHASES
        for tokens in (1, 64, 128, 512, 2048)
        for context in (0, 512, 4096, 32768)
        for batch_size in (1, 4, 16, 64)
    ]
    return len(design_points(ZOO.values(), workloads, preset("default-64x64"), RATES))


def main() -> None:
    """Print points and seconds of both."""
    for sweep in (many_arrays, many_models):
        started = time.perf_counter()
        points = sweep()
        seconds = time.perf_counter() - started
        print(f"{sweep.__name__}: {points:,} points in {seconds:.1f} s")


if __name__ == "__main__":
    main()
