"""One bit of the emitted Verilog is changed: the testbench has to notice."""

from pathlib import Path

import pytest
from benches import FOLDED, icarus, needs_icarus
from layers import make_layer

from hwsim import yosys
from hwsim.rtl.emit import emit
from hwsim.testbench import make_testbench

CONFIG = FOLDED.replace(columns=10)
COUNT = 30

_LIST = f"""\
read_rtlil design.il
hierarchy -top hwsim_core
proc
opt_merge t:$*dff* %n
pmuxtree
opt_clean -purge
write_rtlil prepared.il
mutate -list {COUNT} -seed 1 -o mutants.ys
"""


@needs_icarus
@pytest.mark.slow
def test_the_testbench_notices_mutants_of_the_verilog(tmp_path: Path) -> None:
    """What is left is no fault, or one of a count that only a far larger layer reaches.

    A third of the mutants are of that kind at most, such as those of a loop's number that nobody
    reads: the Verilog has what synthesis removes.
    """
    design = emit(CONFIG)
    files = make_testbench(make_layer(11, 22, 10, seed=5), CONFIG, source="core.v")
    (tmp_path / "design.il").write_text(design.rtlil)
    yosys.run(_LIST, folder=tmp_path)
    mutations = ["", *(tmp_path / "mutants.ys").read_text().splitlines()]
    scripts = (
        f"read_rtlil prepared.il\n{mutation}\nwrite_verilog -noattr {number}.v\ndesign -reset\n"
        for number, mutation in enumerate(mutations)
    )
    yosys.run("".join(scripts), folder=tmp_path)
    passed = []
    for number, mutation in enumerate(mutations):
        core = (tmp_path / f"{number}.v").read_text() + design.verilog
        # A mutant may drive an input, about which Icarus would say something.
        code, printed = icarus({**files, "core.v": core}, tmp_path, clean=False)
        assert (code, printed[:5]) in ((0, "PASS "), (1, "FAIL ")), mutation
        if not code:
            passed.append(mutation)
    assert passed[0] == ""  # the design itself
    assert len(mutations) == 1 + COUNT
    assert len(passed) - 1 <= COUNT / 3, passed
