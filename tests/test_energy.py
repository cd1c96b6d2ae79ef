import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from amaranth.back import rtlil
from hypothesis import given, settings
from hypothesis import strategies as st
from toytable import load_toy

from hwsim import yosys
from hwsim.activity import Activity, Cycles
from hwsim.config import ArrayConfig
from hwsim.energy import (
    CLOCK_GATING,
    SCOPES,
    EnergyReport,
    Rates,
    adder_tree,
    bill_layer,
    parts_of,
    price,
)
from hwsim.energy_tables import EnergyTable
from hwsim.errors import InputError
from hwsim.predict import predict
from hwsim.rtl.lanes import LANES as RTL_LANES

TABLE = EnergyTable.load()

ARRAY = ArrayConfig.make(
    rows=2, columns=3, batch=1, max_in_features=3, accumulator_bits=16, pipeline=0, clock_mhz=1
)
ACTIVITY = Activity(  # two outputs of three inputs for one token, in ten cycles
    cycles=Cycles(compute=1, weight_stall=0, activation_stall=0, result_stall=0, fill_drain=9),
    macs=6,
    nonzero_macs=4,
    padded_macs=6,
    weight_bits=16,
    activation_bits=24,
    result_bits=32,
    weight_words=1,
    activation_words=1,
    result_words=1,
    weight_tiles=1,
    activation_buffer_write_bits=24,
    activation_buffer_read_bits=24,
    accumulator_updates=2,
    scales=5,
)


@pytest.fixture
def toy(tmp_path) -> EnergyTable:
    return load_toy(tmp_path)


class TestByHand:
    def test_arithmetic(self, toy) -> None:
        report = price(ACTIVITY, ARRAY, toy, node="toy", scope="arithmetic")
        assert report.as_dict() == {
            "linear_mul": 0,
            "linear_add": 6 * 1,
            "scales": 5 * 10,
            "attention_mul": 0,
            "attention_add": 0,
            "total": 56,
        }

    def test_core(self, toy) -> None:
        rates = Rates(table=toy, node="toy", clock_gating="none")
        report = bill_layer(ACTIVITY, ARRAY, rates, scope="core").price(toy)
        # An adder of w bits costs w - 7 pJ here; the tree has 10 and 11, the accumulator 16 bits.
        assert report.wider_adders == 2 * (3 + 4 + 9) - 6 * 1
        # 24 bits of operands and two sums of 16 in ten cycles, written in one; two accumulators of
        # 16 bits written
        assert report.registers == (24 + 32) * (9 * 1 + 1 * 2) + 32 * 2
        assert report.weight_buffer == 2 * 12 * (9 * 1 + 1 * 2)
        assert report.decode == 8  # four trits a byte, two of them fill
        assert report.activation_buffer == 24 * 2  # registers: only writing costs
        assert report.result == 32 * (9 * 1 + 1 * 2)
        assert report.vector == 2 * 3 * 3

    def test_system(self, toy) -> None:
        report = price(ACTIVITY, ARRAY, toy, node="toy", scope="system", memory="hbm2")
        assert report.weights_dram == 16 * 3
        assert report.activations_dram == (24 + 32) * 3
        assert report.leakage == pytest.approx(6 * 10 * 1.0)  # 1000 nW for 10 us: 10 pJ a MAC
        assert price(ACTIVITY, ARRAY, toy, node="toy", scope="system").weights_dram == 0

    def test_baselines(self, toy) -> None:
        int8 = ARRAY.replace(lane="int8", accumulator_bits=ARRAY.accumulator_bits)
        report = price(ACTIVITY, int8, toy, node="toy", scope="core")
        assert (report.linear_mul, report.linear_add, report.scales) == (12, 6, 50)
        assert report.wider_adders == 2 * (10 + 11 + 9) - 6  # sums of 17 and 18 bits
        assert report.decode == 0
        fp16 = ARRAY.replace(lane="fp16")
        report = price(ACTIVITY, fp16, toy, node="toy", scope="core")
        assert (report.linear_mul, report.linear_add, report.scales) == (60, 18, 0)
        assert (report.wider_adders, report.vector, report.decode) == (0, 0, 0)
        fp32 = fp16.replace(accumulator_bits=32)
        report = price(ACTIVITY, fp32, toy, node="toy", scope="core")
        assert report.wider_adders == 2 * (4 - 3)

    def test_clock_gating(self, toy) -> None:
        array = ARRAY.replace(pipeline=1, broadcast_rows=2)
        # Trees of two rows: 10 + 9, then 11 bits, and the sum of 16 that is added to. Operands of
        # 24 bits, and three registers before them.
        tree, operands, tile = 2 * (10 + 9 + 11 + 16), 4 * 24, 12
        for gating, held_cycles in (("none", (9, 9)), ("enables", (0, 9)), ("all", (0, 0))):
            enabled, always = (held * 1 + 1 * 2 for held in held_cycles)
            rates = Rates(table=toy, node="toy", clock_gating=gating)
            report = bill_layer(ACTIVITY, array, rates, scope="core").price(toy)
            assert report.registers == operands * enabled + tree * always + 32 * 2
            assert report.weight_buffer == 2 * tile * enabled
            assert report.result == 32 * enabled

    def test_large_memories_are_priced_by_capacity(self, toy) -> None:
        deep = ARRAY.replace(batch=8, max_in_features=3 * 8 * 1024 // 3 // 8)  # 16 KB and a word
        report = price(ACTIVITY, deep, toy, node="toy")
        assert report.activation_buffer == pytest.approx(48 * 2, rel=0.01)
        huge = ARRAY.replace(batch=4096, max_in_features=30_000)
        with pytest.raises(InputError, match="is beyond the largest row, 1024 KB"):
            price(ACTIVITY, huge, toy, node="toy")
        rates = Rates(table=toy, node="toy", extrapolate=True)
        assert bill_layer(ACTIVITY, huge, rates, scope="core").price(toy).activation_buffer > 480


LANES: list[dict[str, Any]] = [
    {"lane": "negate"},
    {"lane": "carry-fold"},
    {"lane": "grouped", "group": 2},
    {"lane": "grouped", "group": 3},
    {"lane": "int8"},
]


@pytest.mark.parametrize("columns", [1, 2, 5, 12, 64])
@pytest.mark.parametrize("pipeline", [0, 1, 2])
@pytest.mark.parametrize("fields", LANES, ids=lambda f: "-".join(map(str, f.values())))
def test_adder_tree_counts_what_the_netlist_has(
    fields: dict[str, Any], pipeline: int, columns: int, tmp_path: Path
) -> None:
    array = ArrayConfig.make(columns=columns, pipeline=pipeline, **fields)
    (tmp_path / "lane.il").write_text(rtlil.convert(RTL_LANES[array.lane](array), name="lane"))
    yosys.run(
        "read_rtlil lane.il\nproc\nsplitcells\nopt_clean\nwrite_rtlil out.il\n", folder=tmp_path
    )
    text = (tmp_path / "out.il").read_text()
    registers = re.findall(r"cell \$dff .*?parameter \\WIDTH (\d+)", text, re.DOTALL)
    tree = adder_tree(array)
    assert sum(map(int, registers)) == tree.register_bits


def test_adder_tree_by_hand() -> None:
    # 64 terms of 9 bits: 32 sums of 10 bits, 16 of 11, ... 1 of 15.
    array = ArrayConfig.make(columns=64, pipeline=1)
    bits = 32 * 10 + 16 * 11 + 8 * 12 + 4 * 13 + 2 * 14 + 15
    tree = adder_tree(array)
    assert (tree.adders, tree.adder_bits, tree.register_bits) == (63, bits, bits)
    assert (tree.shared_adders, tree.operand_bits) == (0, 64 * 8)
    assert adder_tree(array.replace(pipeline=2)).register_bits == 16 * 11 + 4 * 13 + 15
    assert adder_tree(array.replace(pipeline=0)).register_bits == 0
    assert adder_tree(array.replace(columns=1))[:3] == (0, 0, 0)
    # Five terms: 2 sums and a rest, then 1 and the rest, then 1.
    five = adder_tree(array.replace(columns=5))
    assert five[:3] == (4, 10 + 10 + 11 + 12, 10 + 10 + 9 + 11 + 9 + 12)
    # Three pairs: picks of 9 bits with a sign; 2 sums, of 10 and 11 bits.
    pairs = adder_tree(ArrayConfig.make(columns=6, lane="grouped"))
    assert pairs.adders == 2
    assert pairs.register_bits == 3 * 10 + (11 + 10) + 12
    assert (pairs.shared_adders, pairs.shared_adder_bits) == (6, 6 * 9)
    assert pairs.operand_bits == 3 * (8 + 8 + 9 + 9)


class TestReport:
    def test_parts_sum_to_the_total_and_reports_add(self) -> None:
        report = EnergyReport(scope="core", linear_add=1.0, registers=2.0)
        both = report + report
        assert report.total_pj == 3
        assert both.as_dict()["total"] == sum(both.parts.values()) == 6

    def test_scopes_do_not_mix(self) -> None:
        with pytest.raises(ValueError, match="arithmetic and core do not add"):
            EnergyReport(scope="arithmetic") + EnergyReport(scope="core")
        with pytest.raises(ValueError, match="registers is not a part of scope arithmetic"):
            EnergyReport(scope="arithmetic", registers=1.0)
        with pytest.raises(InputError, match="scope 'all': no such scope; known: arithmetic, core"):
            parts_of("all")
        one = bill_layer(ACTIVITY, ARRAY, Rates(table=TABLE), scope="core")
        other = bill_layer(ACTIVITY, ARRAY, Rates(table=TABLE), scope="arithmetic")
        with pytest.raises(ValueError, match="do not add"):
            one + other

    def test_what_is_missing_is_refused_by_name(self) -> None:
        with pytest.raises(InputError, match="no row for dram abacus at 7nm; known there: ddr3"):
            price(ACTIVITY, ARRAY, TABLE, scope="system", memory="abacus")


arrays = st.builds(
    lambda lane, **fields: ArrayConfig.make(lane=lane, **fields),
    lane=st.sampled_from(["negate", "int8", "fp16"]),
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    batch=st.integers(1, 4),
    pipeline=st.integers(0, 3),
)
shapes = st.fixed_dictionaries(
    {name: st.integers(1, 40) for name in ("out_features", "in_features", "tokens")}
)


@settings(deadline=None, max_examples=50)
@given(array=arrays, shape=shapes, gating=st.sampled_from([*CLOCK_GATING]))
def test_properties(array: ArrayConfig, shape: dict[str, int], gating: str) -> None:
    activity = predict(array, **shape)
    rates = Rates(table=TABLE, memory="hbm2", clock_gating=gating)
    totals = []
    for scope in SCOPES:
        bill = bill_layer(activity, array, rates, scope=scope)
        # No total falls when the energy of a row rises.
        assert all(times > -1e-6 for times in bill.rows.values())
        low, value, high = (bill.price(TABLE, b).total_pj for b in ("low", "value", "high"))
        assert low <= value <= high
        parts = bill.price(TABLE).as_dict()
        total = parts.pop("total")
        assert total == pytest.approx(sum(parts.values()))
        assert list(parts) == list(parts_of(scope))
        totals.append(total)
    assert totals == sorted(totals)
    # Sums of layers are layers of sums.
    twice = bill_layer(activity + activity, array, rates, scope="system")
    one = bill_layer(activity, array, rates, scope="system")
    for both in (one + one, one * 2):
        assert both.price(TABLE).total_pj == pytest.approx(twice.price(TABLE).total_pj)


def test_a_changed_number_moves_exactly_what_uses_it(toy) -> None:
    rates = Rates(table=toy, node="toy", memory="hbm2")
    bill = bill_layer(ACTIVITY, ARRAY, rates, scope="system")
    before = bill.price(toy).parts
    for key, row in toy.rows.items():
        changed = replace(toy, rows={**toy.rows, key: replace(row, value=row.value + 1)})
        again = bill_layer(ACTIVITY, ARRAY, replace(rates, table=changed), scope="system")
        after = again.price(changed).parts
        moved = {part for part in before if after[part] != before[part]}
        assert moved == {part for part, at in bill.counts if at == key}
