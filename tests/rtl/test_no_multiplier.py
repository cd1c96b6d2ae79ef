import re
from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwsim import yosys
from hwsim.config import ArrayConfig, preset
from hwsim.rtl.emit import emit
from hwsim.rtl.top import TOP_MODULE

CONFIGS = {
    "default": ArrayConfig(),
    "tiny": preset("tiny"),
    "1x1": ArrayConfig(rows=1, columns=1, batch=1),
    "3x7": ArrayConfig(rows=3, columns=7, batch=5, activation_bus_bits=24, pipeline=0),
    "5x12": ArrayConfig(rows=5, columns=12, batch=3, result_bus_bits=96, max_in_features=1000),
}


def multipliers(text: str) -> set[str]:
    """Return the types of cells in a design that multiply or divide."""
    kinds = "mul|div|divfloor|mod|modfloor|pow|macc|macc_v2|alu|fa"
    return set(re.findall(rf"^\s*cell \$({kinds}) ", text, re.MULTILINE))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_emitted_design_multiplies_nowhere(name: str) -> None:
    text = emit(CONFIGS[name]).rtlil
    assert text.count("cell $add ") > 1  # the check reads cells as this text has them
    assert multipliers(text) == set()


def test_neither_does_it_once_yosys_has_joined_it_with_its_memory(tmp_path: Path) -> None:
    design = emit(CONFIGS["3x7"])
    (tmp_path / "design.il").write_text(design.rtlil)
    (tmp_path / "design.v").write_text(design.verilog)
    yosys.run(
        f"read_rtlil design.il\nread_verilog design.v\nhierarchy -check -top {TOP_MODULE}\n"
        "proc\nwrite_rtlil joined.il\n",
        folder=tmp_path,
    )
    text = (tmp_path / "joined.il").read_text()
    assert text.count("cell $add ") > 1
    assert multipliers(text) == set()


class Offender(wiring.Component):
    a: In(8)
    b: In(8)
    y: Out(16)

    def __init__(self, operator: str):
        self._operator = operator
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        results: dict[str, Value] = {
            "*": self.a * self.b,
            "//": self.a // self.b,
            "%": self.a % self.b,
        }
        held = Signal(16)
        m.d.sync += held.eq(results[self._operator])
        m.d.comb += self.y.eq(held)
        return m


@pytest.mark.parametrize(("operator", "kind"), [("*", "mul"), ("//", "div"), ("%", "mod")])
def test_the_check_sees_a_multiplier_where_there_is_one(operator: str, kind: str) -> None:
    text = rtlil.convert(Offender(operator), emit_src=False)
    assert any(found.startswith(kind) for found in multipliers(text))
