"""Running a testbench of emitted Verilog in Icarus."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from hwsim.config import ArrayConfig

FOLDED = ArrayConfig(
    rows=4,
    columns=9,
    batch=3,
    lane="carry-fold",
    weight_encoding="base3",
    result_bus_bits=64,
    max_in_features=64,
)

needs_icarus = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="needs Icarus Verilog (iverilog)"
)


def icarus(files: Mapping[str, str], folder: Path, *, clean: bool = True) -> tuple[int, str]:
    """Run `core_tb.v` on `core.v`; return the exit code and what was printed.

    There may be no warning, if they are to be `clean`.
    """
    for name, text in files.items():
        (folder / name).write_text(text)
    compiled = subprocess.run(
        ["iverilog", "-g2012", "-Wall", "-o", "tb", "core.v", "core_tb.v"],
        cwd=folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert compiled.returncode == 0, compiled.stderr
    assert not (clean and compiled.stderr), compiled.stderr
    # Without -n a simulation that stops waits for commands.
    done = subprocess.run(
        ["vvp", "-n", "tb"], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.stderr == ""
    return done.returncode, done.stdout
