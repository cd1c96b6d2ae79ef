"""Verilog of an array."""

import tempfile
from pathlib import Path

from hwsim import yosys
from hwsim.config import ArrayConfig
from hwsim.rtl.emit import emit
from hwsim.rtl.top import TOP_MODULE

# `pmuxtree`, since parallel multiplexers come out as `casez` with overlapping patterns; `-purge`,
# since an unused alias of part of a port looks like a combinational loop to linters.
_SCRIPT = f"""\
read_rtlil design.il
hierarchy -top {TOP_MODULE}
proc
pmuxtree
opt_clean -purge
write_verilog -noattr core.v
"""


def to_verilog(config: ArrayConfig) -> str:
    """Return the design of an array: one module `hwsim_core`, and those it is made of."""
    design = emit(config)
    with tempfile.TemporaryDirectory(prefix="hwsim-") as name:
        folder = Path(name)
        (folder / "design.il").write_text(design.rtlil)
        yosys.run(_SCRIPT, folder=folder)
        text = (folder / "core.v").read_text()
    # Amaranth trims the operands of sums, so that their widths differ.
    return f"/* verilator lint_off WIDTH */\n{text}\n{design.verilog}"
