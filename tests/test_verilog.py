"""The emitted Verilog, in tools that are not ours."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from benches import needs_icarus
from strategies import FLOATS, LANE_FIELDS

from hwsim.bench.peers import verilator
from hwsim.config import ArrayConfig, preset
from hwsim.verilog import to_verilog

VERILATOR = verilator()
needs_verilator = pytest.mark.skipif(VERILATOR is None, reason="needs Verilator")

CONFIGS = {
    "default": ArrayConfig(),
    "1x1": ArrayConfig(rows=1, columns=1, batch=1, weight_bus_bits=8, max_in_features=1),
    "1bit": ArrayConfig(rows=3, columns=7, batch=5, weight_encoding="1bit", pipeline=0),
    "base3": ArrayConfig(rows=5, columns=12, batch=3, weight_encoding="base3", lane="carry-fold"),
    "pairs": ArrayConfig(rows=2, columns=9, lane="grouped", activation_bus_bits=24, pipeline=2),
    "threes": ArrayConfig(rows=7, columns=5, lane="grouped", group=3, weight_encoding="base3"),
    "fp16": preset("tiny").baseline("fp16").replace(rows=2),
    "int8": ArrayConfig(rows=4, columns=6, batch=1, lane="int8", result_bus_bits=96),
}
EACH = pytest.mark.parametrize(
    ("config", "registers"),
    [*((config, None) for config in CONFIGS.values()), (CONFIGS["pairs"], "axi-lite")],
    ids=[*CONFIGS, "registers"],
)


@needs_icarus
@EACH
def test_icarus_has_no_warnings(config: ArrayConfig, registers: str | None, tmp_path: Path) -> None:
    (tmp_path / "core.v").write_text(to_verilog(config, registers=registers))
    done = subprocess.run(
        ["iverilog", "-g2012", "-Wall", "-o", "core", "core.v"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_verilator
@EACH
def test_verilator_has_no_warnings(
    config: ArrayConfig, registers: str | None, tmp_path: Path
) -> None:
    (tmp_path / "core.v").write_text(to_verilog(config, registers=registers))
    done = subprocess.run(
        [str(VERILATOR), "--lint-only", "--quiet", "core.v"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_lane_is_one_module_whatever_the_rows() -> None:
    small = to_verilog(preset("tiny"))
    large = to_verilog(preset("default-16x16"))
    for text, rows in ((small, 4), (large, 16)):
        assert len(re.findall(r"^module hwsim_lane\b", text, re.MULTILINE)) == 1
        assert len(re.findall(r"^  hwsim_lane ", text, re.MULTILINE)) == rows


@pytest.mark.parametrize(
    "fields", [*LANE_FIELDS, FLOATS], ids=lambda fields: "-".join(map(str, fields.values()))
)
@pytest.mark.parametrize("weight_bus_bits", [64, 512])
def test_the_text_of_a_large_array_is_short(fields: dict[str, Any], weight_bus_bits: int) -> None:
    array = preset("default-64x64").replace(**fields, weight_bus_bits=weight_bus_bits)
    assert len(to_verilog(array)) < 250_000


def test_copies_of_a_register_stay_copies() -> None:
    text = to_verilog(preset("default-16x16").replace(broadcast_rows=4))
    for name in ("again_copy", "swap_copy", "operands"):
        assert len(set(re.findall(rf"^ +{name}_(\d) <= ", text, re.MULTILINE))) == 4, name


def test_the_text_depends_on_the_configuration_alone() -> None:
    assert to_verilog(preset("tiny")) == to_verilog(preset("tiny"))
