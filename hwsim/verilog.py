"""Verilog of an array."""

import re
import tempfile
from importlib import metadata
from pathlib import Path

from hwsim import yosys
from hwsim.config import ArrayConfig
from hwsim.rtl.emit import emit

# `opt_merge`, since Amaranth writes an expression out wherever it is used; not of registers, of
# which some are copies on purpose. `pmuxtree`, since parallel multiplexers come out as `casez` with
# overlapping patterns; `-purge`, since an unused alias of part of a port looks like a combinational
# loop to linters.
_SCRIPT = """\
read_rtlil design.il
hierarchy -top {top}
proc
opt_merge t:$*dff* %n
pmuxtree
opt_clean -purge
write_verilog -noattr core.v
"""


# Amaranth trims the operands of sums, so that their widths differ.
_FILE = """\
// {top}: {array}
// Made by hwsim {version}. One clock, clk; rst is synchronous and active high; the streams are
// described in docs/ports.md of hwsim. All modules depend on the array: two arrays in one design
// need a library each.

/* verilator lint_off WIDTH */
{modules}
/* verilator lint_on WIDTH */
"""


def to_verilog(config: ArrayConfig, *, registers: str | None = None) -> str:
    """Return the design of an array: one top module, and those it is made of.

    Parameters
    ----------
    config
        The array.
    registers
        `axi-lite` puts the command and the counters into registers: `hwsim_core_axil` instead of
        `hwsim_core`.
    """
    design = emit(config, registers=registers)
    with tempfile.TemporaryDirectory(prefix="hwsim-") as name:
        folder = Path(name)
        (folder / "design.il").write_text(design.rtlil)
        yosys.run(_SCRIPT.format(top=design.top), folder=folder)
        text = (folder / "core.v").read_text()
    # Yosys writes every digit of the zeros that wide registers begin with.
    text = re.sub(r"\b(\d+)'h0{8,}(?![0-9a-fxz])", r"{\1{1'h0}}", text)
    return _FILE.format(
        top=design.top,
        array=config.model_dump_json(exclude_none=True),
        version=metadata.version("hwsim"),
        modules=f"{text}\n{design.verilog}",
    )
