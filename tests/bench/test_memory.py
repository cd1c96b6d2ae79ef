import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "bench" / "memory.py"


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["fast", "fast --toggles", "gates", "rtl"])
def test_the_largest_layer_of_a_70b_model_takes_less_than_a_gigabyte(engine: str) -> None:
    command = [sys.executable, str(SCRIPT), "--layer", "llama-3-70b up", engine]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:]]
    ternary = [row for row in rows if row[3] == "`carry-fold`"]
    assert [row[2] for row in ternary] == ["1", "8"]
    for row in rows:
        out_features, in_features = map(int, row[1].split(" x "))
        # Baselines have weights of their own: the trits are there for this comparison alone.
        trits = 0 if row in ternary else out_features * in_features / 2**20
        assert float(row[6]) - trits < 1024
    for row in ternary:
        weights, peak = float(row[5]), float(row[6])
        assert weights < peak
        # It is not held a second time, but for what `gates` makes of it.
        assert peak - weights < 350
