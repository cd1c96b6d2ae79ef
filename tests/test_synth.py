"""Synthesis of small arrays, and the counts that come of it."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benches import needs_icarus

from hwsim import ccu2c, dp16kd, pnr
from hwsim.config import ArrayConfig
from hwsim.errors import InputError
from hwsim.layer import Layer
from hwsim.synth import TARGETS, Resources, SynthReport, check, synthesize

SMALL = ArrayConfig(
    rows=2, columns=6, batch=1, lane="carry-fold", max_in_features=16, accumulator_bits=16
)


@pytest.fixture(scope="module")
def ecp5() -> SynthReport:
    return synthesize(SMALL, "ecp5")


def small_layer() -> Layer:
    rng = np.random.default_rng(3)
    return Layer(
        name="small",
        weight=rng.integers(-1, 2, (3, 13)).astype(np.int8),
        weight_scale=np.float32(1),
        activation=rng.integers(-128, 128, (2, 13)).astype(np.int8),
        activation_scale=np.ones(2, np.float32),
    )


def test_a_ternary_core_takes_no_dsp_block_and_a_lane_for_every_row(ecp5: SynthReport) -> None:
    assert ecp5.core.count("dsp") == 0
    assert ecp5.core.cells["hwsim_lane"] == ecp5.lanes_only.cells["hwsim_lane"] == 2
    for kind in ("lut", "ff", "carry"):
        assert 0 < ecp5.lanes_only.count(kind) < ecp5.core.count(kind)
    # Nothing is folded away: the operand registers and accumulators are there, at the least.
    assert ecp5.lanes_only.count("ff") >= 6 * 8 + 2 * 16


def test_synthesis_keeps_the_copies_of_a_register() -> None:
    one = synthesize(SMALL.replace(broadcast_rows=2), "ecp5")
    two = synthesize(SMALL.replace(broadcast_rows=1), "ecp5")
    operand_bits = SMALL.columns * SMALL.activation_bits
    assert two.lanes_only.count("ff") == one.lanes_only.count("ff") + operand_bits
    assert two.core.count("ff") >= one.core.count("ff") + operand_bits + 1  # a swap, too
    assert two.core.count("lut") <= 1.05 * one.core.count("lut")


@needs_icarus
def test_bits_that_are_always_one_are_no_fault() -> None:
    """In `1bit` no weight is zero; such a bit once began as 0 and was 1 at the same time."""
    layer = small_layer()
    layer = replace(layer, weight=np.where(layer.weight < 0, -1, 1).astype(np.int8))
    assert check(synthesize(SMALL.replace(weight_encoding="1bit"), "generic"), layer)


def test_counts_by_hand() -> None:
    cells = {"LUT4": 10, "CCU2C": 3, "TRELLIS_FF": 7, "TRELLIS_DPR16X4": 2, "PFUMX": 5}
    found = Resources("ecp5", 4, cells).as_dict()
    assert (found["lut"], found["lutram"], found["ff"], found["carry"]) == (10, 2, 7, 3)
    assert (found["lut4_equivalents"], found["lut_per_trit_mac"]) == (16, 2.5)
    xcup = Resources("xcup", 1, {"LUT1": 1, "LUT6": 2, "INV": 9, "FDSE": 1, "FDRE": 2, "SRL16E": 4})
    assert (xcup.count("lut"), xcup.count("ff"), xcup.count("lutram")) == (3, 3, 4)


def test_what_cannot_be_done_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="target 'abacus': no such target; known: ecp5, xcup"):
        synthesize(SMALL, "abacus")
    with pytest.raises(InputError, match="--pnr needs --target ecp5, not xcup"):
        synthesize(SMALL, "xcup", seeds=(1,))
    monkeypatch.setattr(pnr, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'hwsim\[fpga\]'"):
        synthesize(SMALL, "ecp5", seeds=(1,))


def test_a_router_that_gets_no_closer_to_its_goal_gets_a_lower_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = """
while sys.argv.index("--tmg-ripup") and float(sys.argv[sys.argv.index("--freq") + 1]) > 140:
    print("Info: iter=9 wires=5 overused=0 overuse=0 tmgfail=2 archfail=NA", flush=True)
print("Info: iter=9 wires=5 overused=0 overuse=0 tmgfail=0 archfail=0")
open("report.json", "w").write(" ".join(sys.argv[1:]))
"""
    monkeypatch.setattr(
        pnr.yosys, "run", lambda script, folder: (folder / "harness.json").write_text("{}")
    )
    (core := tmp_path / "netlist.json").write_text("{}")
    monkeypatch.setattr(pnr, "_NEXTPNR", f"import sys{endless}")
    pnr.run("", core, tmp_path, seed=3)
    options = (tmp_path / "report.json").read_text()
    assert options.endswith("--seed 3 --freq 138 --tmg-ripup")
    assert (tmp_path / "nextpnr.log").read_text().count("iter=") == 1

    monkeypatch.setattr(pnr, "_NEXTPNR", "print('ERROR: no room'); raise SystemExit(1)")
    with pytest.raises(InputError, match="nextpnr, seed 3: ERROR: no room"):
        pnr.run("", core, tmp_path, seed=3)


def test_a_second_time_nothing_is_built(ecp5: SynthReport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwsim.yosys.run", None)
    assert synthesize(SMALL, "ecp5") == ecp5


@needs_icarus
def test_the_netlist_gives_the_right_sums_and_a_broken_one_does_not(
    ecp5: SynthReport, tmp_path: pytest.TempPathFactory
) -> None:
    assert check(ecp5, small_layer())
    text = ecp5.netlist.read_text()
    # One entry of one carry cell of the lane.
    at = text.index("INIT0(16'h", text.index("module hwsim_lane"))
    broken = ecp5.netlist.with_name("broken.v")
    value = int(text[at + 10 : at + 14], 16) ^ 0xFFFF
    broken.write_text(f"{text[: at + 10]}{value:04x}{text[at + 14 :]}")
    fake = SynthReport(ecp5.config, ecp5.core, ecp5.lanes_only, broken)
    assert not check(fake, small_layer())


def carry_cell(init: int, table: int, pins: list[int | str]) -> dict[str, object]:
    lut = {
        "type": "LUT4",
        "parameters": {"INIT": f"{table:016b}"},
        "connections": {**{p: [n] for p, n in zip("ABCD", pins, strict=True)}, "Z": [9]},
    }
    halves = {f"{pin}{half}": ["0"] for pin, half in product("ABCD", "01")}
    halves |= {"A0": [8], "B0": [9], "C0": ["0"], "D0": ["1"]}
    cell = {
        "type": "CCU2C",
        "parameters": {"INIT0": f"{init:016b}", "INIT1": f"{init:016b}"},
        "connections": halves,
    }
    return {"modules": {"m": {"cells": {"lut": lut, "cell": cell}}}}


ADD = 0x96AA  # of Yosys: A + B, or A - B where C is 1; D is 1


def test_a_trits_term_fits_into_the_carry_cell() -> None:
    # x = net 5, nonzero = 6, negative = 7.
    table = sum((((i >> 1) & 1) & ((i & 1) ^ (i >> 2 & 1))) << i for i in range(16))
    netlist = carry_cell(ADD, table, [5, 6, 7, "0"])
    assert ccu2c.pack(netlist) == 1
    cell = netlist["modules"]["m"]["cells"]["cell"]
    nets = [cell["connections"][f"{pin}0"][0] for pin in "ABCD"]
    init = int(cell["parameters"]["INIT0"], 2)
    assert sorted(nets) == [5, 6, 7, 8]
    for left, x, nonzero, negative in product((0, 1), repeat=4):
        values = {8: left, 5: x, 6: nonzero, 7: negative}
        index = sum(values[net] << place for place, net in enumerate(nets))
        propagate = init >> index & 1
        assert propagate == left ^ (nonzero & (x ^ negative))
        if not propagate:  # then the carry is what the lowest four entries say
            assert init >> (index & 3) & 1 == left


def test_a_table_that_would_change_the_carry_stays_where_it_is() -> None:
    parity = sum((bin(i & 7).count("1") & 1) << i for i in range(16))
    netlist = carry_cell(ADD, parity, [5, 6, 7, "0"])
    before = repr(netlist)
    assert ccu2c.pack(netlist) == 0
    assert repr(netlist) == before


def block_ram(*, enable: str = "1", clock: int = 2, reader: int = 20) -> dict[str, Any]:
    """One DP16KD of which two outputs of port B, nets 10 and 11, are read by registers."""
    directions = {"CLK": "input", "DI": "input", "LSR": "input", "Q": "output"}
    cells: dict[str, Any] = {
        "ram": {
            "type": "DP16KD",
            "parameters": {"REGMODE_A": "NOREG", "REGMODE_B": "NOREG"},
            "connections": {f"DO{s}{n}": [100 + n] for s in "AB" for n in range(18)}
            | {"DOB3": [10], "DOB4": [11], "CLKA": [2], "CLKB": [2], "OCEA": ["0"], "OCEB": ["0"]},
            "port_directions": {f"DO{s}{n}": "output" for s in "AB" for n in range(18)}
            | dict.fromkeys(("CLKA", "CLKB", "OCEA", "OCEB"), "input"),
        }
    }
    for d, mux in ((10, "1 "), (11, enable)):
        cells[f"register_{d}"] = {
            "type": "TRELLIS_FF",
            "parameters": {"CEMUX": mux},
            "connections": {"CLK": [clock], "DI": [d], "LSR": ["0"], "Q": [d + 10]},
            "port_directions": directions,
        }
    ports = {"out": {"direction": "output", "bits": [20, 21, reader]}}
    return {"modules": {"m": {"ports": ports, "cells": cells}}}


def test_registers_behind_a_block_ram_move_into_it() -> None:
    netlist = block_ram()
    assert dp16kd.pack(netlist) == 2
    cells = netlist["modules"]["m"]["cells"]
    assert list(cells) == ["ram"]
    assert cells["ram"]["parameters"] == {"REGMODE_A": "NOREG", "REGMODE_B": "OUTREG"}
    nets = cells["ram"]["connections"]
    assert (nets["DOB3"], nets["DOB4"], nets["OCEB"]) == ([20], [21], ["1"])


@pytest.mark.parametrize("other", [{"enable": "CE"}, {"clock": 3}, {"reader": 11}], ids=str)
def test_registers_that_do_more_stay_behind_a_block_ram(other: dict[str, Any]) -> None:
    netlist = block_ram(**other)
    before = repr(netlist)
    assert dp16kd.pack(netlist) == 0
    assert repr(netlist) == before


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "fields",
    [
        {"lane": "negate"},
        {"lane": "carry-fold", "broadcast_rows": 1},
        {"lane": "grouped", "group": 2},
        {"lane": "grouped", "group": 3, "broadcast_rows": 2},
        {"lane": "int8", "columns": 2},
        {"lane": "fp16", "columns": 2},
    ],
    ids=str,
)
@needs_icarus
def test_every_lane_works_as_a_netlist(target: str, fields: dict[str, object]) -> None:
    array = {"rows": 2, "columns": 5, "batch": 2, "max_in_features": 16}
    config = ArrayConfig(**{**array, **fields})
    report = synthesize(config, target)
    assert report.core.count("dsp") == 0
    assert check(report, small_layer())
