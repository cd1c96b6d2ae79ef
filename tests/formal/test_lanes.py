"""Short lanes against the plain sum, for all weights, activations and accumulators at once."""

from pathlib import Path
from typing import Any

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from bitwuzla import Bitwuzla, Options, Parser, Result, TermManager
from rows import Row
from strategies import LANE_FIELDS

from hwsim import yosys
from hwsim.config import ArrayConfig

LANES = pytest.mark.parametrize(
    "fields", LANE_FIELDS, ids=lambda fields: "-".join(map(str, fields.values()))
)


class PlainSum(wiring.Component):
    """A lane beside what it is for: `wrong` is 1 where they differ.

    Weights are legal: a sign without a trit never reaches a lane.
    """

    def __init__(self, config: ArrayConfig, *, off_by: int = 0):
        self._config = config
        self._off_by = off_by
        self.row = Row(config)
        inputs = {n: m for n, m in self.row.signature.members.items() if m.flow == In}
        super().__init__({**inputs, "wrong": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, bits = self._config, self._config.weight_bits
        m.submodules.row = row = self.row
        total = Mux(self.first, 0, self.accumulator.as_signed()) + self._off_by
        legal = 1
        for column in range(config.columns):
            x = self.activations.word_select(column, config.activation_bits).as_signed()
            w = self.weights.word_select(column, bits)
            if config.is_ternary:
                total += Mux(w == 0b01, x, 0) - Mux(w == 0b11, x, 0)
                legal &= w != 0b10
            else:
                total += x * w.as_signed()
        expected = Signal(config.accumulator_bits)
        m.d.comb += [
            *(getattr(row, n).eq(getattr(self, n)) for n in self.signature.members if n != "wrong"),
            expected.eq(total),
            self.wrong.eq(legal & (row.next != expected)),
        ]
        return m


def written(component: PlainSum, folder: Path) -> None:
    ports = [getattr(component, name) for name in component.signature.members]
    (folder / "design.il").write_text(rtlil.convert(component, ports=ports, emit_src=False))


def config_of(columns: int, fields: dict[str, Any]) -> ArrayConfig:
    return ArrayConfig(rows=1, columns=columns, pipeline=0, accumulator_bits=24, **fields)


READ = """\
read_rtlil design.il
hierarchy -top top
proc
flatten
memory -nomap
memory_map
opt
"""


@LANES
def test_two_columns_by_yosys(fields: dict[str, Any], tmp_path: Path) -> None:
    written(PlainSum(config_of(2, fields)), tmp_path)
    yosys.run(f"{READ}sat -verify -prove wrong 0\n", folder=tmp_path)
    assert "SUCCESS!" in (tmp_path / "yosys.log").read_text()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_yosys_sees_a_lane_that_is_off_by_one(
    unbuffered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    written(PlainSum(config_of(2, {"lane": "carry-fold"}), off_by=1), tmp_path)
    with pytest.raises(yosys.YosysError, match="proof did fail"):
        yosys.run(f"{READ}sat -verify -prove wrong 0\n", folder=tmp_path)


def wrong_for_some_input(component: PlainSum, folder: Path) -> bool:
    """Ask Bitwuzla whether `wrong` can be 1."""
    written(component, folder)
    yosys.run(f"{READ}write_smt2 -stbv design.smt2\n", folder=folder)
    text = (folder / "design.smt2").read_text()
    query = "(declare-const s |top_s|)\n(assert (|top_n wrong| s))\n"
    tm = TermManager()
    parser = Parser(tm, Options())
    parser.parse(f"(set-logic QF_BV)\n{text}\n{query}", True, False)
    solver: Bitwuzla = parser.bitwuzla()
    result = solver.check_sat()
    assert result in (Result.SAT, Result.UNSAT)
    return bool(result == Result.SAT)


@pytest.mark.slow
@LANES
def test_four_columns_by_bitwuzla(fields: dict[str, Any], tmp_path: Path) -> None:
    assert not wrong_for_some_input(PlainSum(config_of(4, fields)), tmp_path)


def test_bitwuzla_sees_a_lane_that_is_off_by_one(tmp_path: Path) -> None:
    component = PlainSum(config_of(4, {"lane": "carry-fold"}), off_by=1)
    assert wrong_for_some_input(component, tmp_path)
