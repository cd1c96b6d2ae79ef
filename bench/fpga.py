"""Make the table of `docs/fpga.md`: every lane on every FPGA target, 16 rows of 64 columns.

    python bench/fpga.py [LANE ...]

Takes some minutes a lane; what was synthesized before comes out of the cache. The clocks are those
of ``hwsim synth --target ecp5 --pnr``, which takes longer and is not run here.
"""

import sys
from typing import Any

from hwsim.config import ArrayConfig
from hwsim.synth import synthesize

LANES: dict[str, dict[str, Any]] = {
    "negate": {"lane": "negate"},
    "carry-fold": {"lane": "carry-fold"},
    "grouped-2": {"lane": "grouped", "group": 2},
    "grouped-3": {"lane": "grouped", "group": 3},
    "int8": {"lane": "int8"},
    "fp16": {"lane": "fp16"},
}
COLUMNS = ("lane", "target", "lanes: LUT", "LUT4-eq.", "FF", "core: LUT", "LUT4-eq.", "FF", "DSP")


def main() -> None:
    """Print the rows of the table as they are made; all but DSP blocks a multiply-accumulate."""
    print(f"| {' | '.join(COLUMNS)} |")
    print(f"|{'---|' * len(COLUMNS)}")
    for name in sys.argv[1:] or LANES:
        config = ArrayConfig.make(rows=16, columns=64, **LANES[name])
        for target in ("xcup", "ecp5"):
            report = synthesize(config, target)
            cells = [name, target]
            for part in (report.lanes_only, report.core):
                found = part.as_dict()
                equivalents = found.get("lut4_equivalents_per_trit_mac")
                cells += [
                    f"{found['lut_per_trit_mac']:.2f}",
                    f"{equivalents:.2f}" if equivalents else "",
                    f"{found['ff'] / part.trit_macs:.1f}",
                ]
            print(f"| {' | '.join(cells)} | {report.core.count('dsp')} |", flush=True)


if __name__ == "__main__":
    main()
