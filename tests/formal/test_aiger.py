from pathlib import Path

import pytest
from formal.aiger import Circuit, differing, fixing
from formal.contract import abc, proved

CHOICE, REGISTER, GATE = 2, 4, 6
"""Literals: an input, a register, and whether both are 1."""


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("following", "same"), [(0, True), (REGISTER ^ 1, False)])
def test_copies_differ_where_the_first_one_gets(
    following: int, same: bool, together: bool, tmp_path: Path
) -> None:
    """A choice shows while the register is 1: never, or every other cycle."""
    circuit = Circuit(1, [following], [GATE], [(REGISTER, CHOICE)], {})
    both = differing(circuit, {0: 0}, {0: 1}, together=together)
    both.write(tmp_path / "both.aig")
    assert Circuit.read(tmp_path / "both.aig") == both
    assert proved(abc("read_aiger both.aig; orpos; strash; ps; pdr", folder=tmp_path)) == same


@pytest.mark.parametrize("bit", [0, 1])
def test_an_input_is_fixed(bit: int, tmp_path: Path) -> None:
    fixing(Circuit(1, [REGISTER ^ 1], [GATE], [(REGISTER, CHOICE)], {}), {0: bit}).write(
        tmp_path / "one.aig"
    )
    said = abc("read_aiger one.aig; strash; ps; bmc3 -F 3", folder=tmp_path)
    assert ("asserted in frame 1" in said) == bool(bit)
