"""Measure how long it takes to write the Verilog of 64 x 64 lanes of every kind, and its length.

    python bench/emission.py

Weights are `2bit` on a bus of 64 bits, or those of the baseline. One array is written before, since
imports are no part of it.
"""

import time

from fpga import LANES

from hwsim.config import ArrayConfig
from hwsim.verilog import to_verilog


def main() -> None:
    """Print a row a lane."""
    print("| lane | s | kB |")
    print("|---|---|---|")
    arrays = {
        name: ArrayConfig.make(rows=64, columns=64, **fields) for name, fields in LANES.items()
    }
    to_verilog(arrays["negate"])
    for name, array in arrays.items():
        started = time.perf_counter()
        text = to_verilog(array)
        seconds = time.perf_counter() - started
        print(f"| {name} | {seconds:.1f} | {len(text) / 1e3:.0f} |")


if __name__ == "__main__":
    main()
