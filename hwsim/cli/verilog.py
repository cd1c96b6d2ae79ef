"""``hwsim verilog``: the array as Verilog."""

from pathlib import Path
from typing import Annotated

import typer

from hwsim.cli.array import array_options
from hwsim.config import ArrayConfig

EXAMPLE = "Example: hwsim verilog --rows 16 --columns 64 -o core.v"


@array_options
def verilog(
    array: ArrayConfig,
    output: Annotated[Path, typer.Option("-o", "--output", help="the file to write")],
) -> None:
    """Write the array as Verilog, with AXI4-Stream ports: module hwsim_core."""
    from hwsim.files import write_atomically
    from hwsim.verilog import to_verilog

    write_atomically(output, to_verilog(array))
