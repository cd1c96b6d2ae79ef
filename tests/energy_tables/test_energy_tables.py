import csv
import math
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toytable import HEADER, ROWS, load_toy, write_table

from hwsim.energy_tables import KINDS, EnergyTable, Key
from hwsim.errors import InputError

TABLE = EnergyTable.load()


@pytest.mark.parametrize(
    ("node", "operation", "format", "pj"),
    [
        # Jouppi et al., ISCA 2021, Table 2, as the BitNet papers use it
        ("7nm", "add", "int8", 0.007),
        ("7nm", "add", "int32", 0.03),
        ("7nm", "add", "fp16", 0.16),
        ("7nm", "mul", "fp16", 0.34),
        ("7nm", "add", "fp32", 0.38),
        ("7nm", "mul", "fp32", 1.31),
        ("45nm", "add", "int8", 0.03),
        ("45nm", "mul", "fp16", 1.1),
        ("7nm", "dram", "hbm2", 350 / 64),
        ("45nm", "dram", "ddr3", 1950 / 64),
    ],
)
def test_published_figures(node: str, operation: str, format: str, pj: float) -> None:
    assert TABLE.row(node, operation, format).converted() == pytest.approx(pj)


def test_every_row_says_where_it_is_from_and_how_firm_it_is() -> None:
    for row in TABLE.rows.values():
        assert row.source
        assert row.locator
        assert row.kind in KINDS
        assert row.converted("low") <= row.converted() <= row.converted("high")


def test_rows_are_immutable() -> None:
    with pytest.raises(TypeError):
        TABLE.rows[Key("7nm", "add", "int8")] = next(iter(TABLE.rows.values()))  # type: ignore[index]


def test_units_are_converted(tmp_path) -> None:
    rows = "x,flip_flop,held,,64,fJ/bit,,,me,,assumed,\nx,dram,d,,64,pJ/64bit,32,128,me,,assumed,\n"
    table = EnergyTable.load(write_table(tmp_path, rows))
    assert table.row("x", "flip_flop", "held").converted() == pytest.approx(0.064)
    assert [table.row("x", "dram", "d").converted(b) for b in ("low", "value", "high")] == [
        0.5,
        1,
        2,
    ]


def test_a_missing_row_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"no row for add int4 at 7nm; known there: bf16, fp16"):
        TABLE.row("7nm", "add", "int4")
    with pytest.raises(InputError, match=r"node '3nm': no such node; known: 45nm, 7nm"):
        TABLE.row("3nm", "add", "int8")


def test_memories_do_not_depend_on_the_node_of_the_logic() -> None:
    assert TABLE.row("45nm", "dram", "hbm2") is TABLE.row("7nm", "dram", "hbm2")


class TestUserFile:
    def test_overrides_and_extends_and_is_remembered(self, tmp_path) -> None:
        rows = "7nm,add,int8,,9,pJ,,,me,,measured,\n3nm,add,int8,,1,pJ,,,me,,measured,\n"
        table = EnergyTable.load(write_table(tmp_path, rows))
        assert table.row("7nm", "add", "int8").value == 9
        assert table.row("3nm", "add", "int8").value == 1
        assert [row.value for row in table.overridden] == [0.007]
        assert [row.key.node for row in table.user_rows] == ["7nm", "3nm"]
        assert not TABLE.user_rows
        assert not TABLE.overridden

    def test_a_row_for_one_node_goes_before_one_for_any(self, tmp_path) -> None:
        rows = "7nm,dram,hbm2,,1,pJ/bit,,,me,,measured,\n"
        table = EnergyTable.load(write_table(tmp_path, rows))
        assert table.row("7nm", "dram", "hbm2").value == 1
        assert table.row("45nm", "dram", "hbm2").value == 350

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("x,add,int8,,1,pJ,,,,,assumed,", "has no source"),
            ("x,add,int8,,1,pJ,,, ,,assumed,", "has no source"),
            ("x,add,int8,,,pJ,,,me,,assumed,", "has no value"),
            ("x,add,int8,,1,eV,,,me,,assumed,", "unknown unit 'eV'; known: pJ, fJ"),
            ("x,add,int8,,1,pJ/bit,,,me,,assumed,", "add must be in pJ or fJ, not in pJ/bit"),
            ("x,add,int8,,1,pJ,,,me,,rumoured,", "unknown kind 'rumoured'; known: measured"),
            ("x,sub,int8,,1,pJ,,,me,,assumed,", "unknown operation 'sub'; known: add, mul"),
            ("x,add,int8,,nan,pJ,,,me,,assumed,", "value must be a finite number .* not 'nan'"),
            ("x,add,int8,,inf,pJ,,,me,,assumed,", "value must be a finite number"),
            ("x,add,int8,,-1,pJ,,,me,,assumed,", "at least 0, not '-1'"),
            ("x,add,int8,,much,pJ,,,me,,assumed,", "not 'much'"),
            ("x,add,int8,,1,pJ,2,3,me,,assumed,", "value 1 must be from low 2 to high 3"),
            ("any,bandwidth,hbm2,,0,GB/s,,,me,,assumed,", "bandwidth must be above 0"),
            ("any,bandwidth,hbm2,,1,GB/s,0,2,me,,assumed,", "bandwidth must be above 0"),
            ("x,area,fp16,,0,um2,,,me,,assumed,", "area must be above 0"),
            ("x,add,int8,,4,pJ,2,3,me,,assumed,", "value 4 must be from low 2 to high 3"),
            ("x,add,int8,,1,pJ,1,,me,,assumed,", "low and high must both be given, or neither"),
            ("x,add,int8,8,1,pJ,,,me,,assumed,", "size must be given for sram, and for sram only"),
            ("x,sram,64bit,,1,pJ/bit,,,me,,assumed,", "size must be given for sram"),
            ("x,sram,64bit,0,1,pJ/bit,,,me,,assumed,", "size must be above 0"),
            ("x,add,int8,,1,pJ,,,me", "must have 12 cells"),
            ("x,add,int8,,1,pJ,,,me,,assumed,,,", "must have 12 cells"),
        ],
    )
    def test_refuses_a_bad_row_with_file_and_line(self, tmp_path, row: str, message: str) -> None:
        good = ROWS.splitlines()[0]
        with pytest.raises(InputError, match=rf"toy.csv:3: .*{message}"):
            EnergyTable.load(write_table(tmp_path, f"{good}\n{row}\n"))

    def test_refuses_a_duplicate(self, tmp_path) -> None:
        good = ROWS.splitlines()[0]
        message = r"toy.csv:3: add int8 at toy is there already \(.*toy.csv:2\)"
        with pytest.raises(InputError, match=message):
            EnergyTable.load(write_table(tmp_path, f"{good}\n{good}\n"))

    def test_refuses_other_columns(self, tmp_path) -> None:
        file = tmp_path / "t.csv"
        file.write_text(HEADER.replace(",source", ""))
        with pytest.raises(InputError, match=r"t.csv:1: columns must be node, .*, source"):
            EnergyTable.load(file)
        file.write_text("")
        with pytest.raises(InputError, match=r"t.csv:1: columns must be .* not nothing"):
            EnergyTable.load(file)

    def test_refuses_what_is_no_text_and_what_is_not_there(self, tmp_path) -> None:
        file = tmp_path / "t.csv"
        file.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(InputError, match=r"t.csv: not a text file"):
            EnergyTable.load(file)
        with pytest.raises(InputError, match=r"absent.csv: No such file"):
            EnergyTable.load(tmp_path / "absent.csv")


class TestSram:
    def test_interpolates_in_log_capacity(self, tmp_path) -> None:
        toy = load_toy(tmp_path)  # 1, 3 and 10 pJ a bit at 8, 32 and 1024 KB

        def pj(kb: float, **options: bool) -> float:
            rows = toy.sram("toy", kb * 1024, **options)
            return sum(weight * row.converted() for row, weight in rows)

        assert pj(8) == 1
        assert pj(32) == 3
        assert pj(1024) == pytest.approx(10)
        assert pj(16) == pytest.approx(2)  # half way from 8 to 32 by ratio
        assert pj(4) == 1  # an upper bound
        with pytest.raises(InputError, match=r"sram of 2048 KB at toy is beyond the largest row"):
            pj(2048)
        assert pj(4096, extrapolate=True) == pytest.approx(20)  # twice as long wires

    @given(st.floats(1, 1e6))
    def test_no_memory_gets_cheaper_when_a_row_rises(self, kb: float) -> None:
        rows = TABLE.sram("7nm", kb * 1024, extrapolate=True)
        assert all(weight > 0 for _, weight in rows)

    @given(st.floats(1, 1024), st.floats(1, 1024))
    def test_is_monotone_and_within_the_rows(self, a: float, b: float) -> None:
        def pj(kb: float) -> float:
            rows = TABLE.sram("7nm", kb * 1024)
            assert math.isclose(sum(weight for _, weight in rows), 1)
            return sum(weight * row.converted() for row, weight in rows)

        assert 7.5 / 64 <= pj(a) <= 14 / 64 + 1e-12
        assert pj(min(a, b)) <= pj(max(a, b)) + 1e-12


def test_files_are_plain_csv_with_one_address_a_row() -> None:
    seen = set()
    for file in resources.files("hwsim.energy_tables").iterdir():
        if file.name.endswith(".csv"):
            for cells in csv.DictReader(file.read_text().splitlines()):
                key = tuple(cells[c] for c in ("node", "operation", "format", "size"))
                assert key not in seen
                seen.add(key)
    assert len(seen) == len(TABLE.rows)
