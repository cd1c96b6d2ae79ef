"""``hwsim verilog``: the array as Verilog."""

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hwsim.cli.array import array_options
from hwsim.cli.layer import (
    Activations,
    ActivationsOption,
    OperandKind,
    OperandsOption,
    Seed,
    Tokens,
    layer_files,
    read_layer,
)
from hwsim.cli.output import check_outputs, check_results, progress_bar, refuse_changed
from hwsim.config import ArrayConfig

EXAMPLE = "Example: hwsim verilog --rows 16 --columns 64 -o core.v --testbench shipped"


_STALL_RATE = 0.25


class Registers(StrEnum):
    """Buses that registers can be reached by."""

    axi_lite = "axi-lite"


@array_options
def verilog(
    array: ArrayConfig,
    config_file: Path | None,
    output: Annotated[Path, typer.Option("-o", "--output", help="the file to write")],
    registers: Annotated[
        Registers | None,
        typer.Option(
            help="take commands and show counters through registers: module hwsim_core_axil",
            show_default=False,
        ),
    ] = None,
    testbench: Annotated[
        str | None,
        typer.Option(
            metavar="FILE[:NAME]",
            help="write beside it a testbench that plays this layer of a trace, or the one that "
            "ships with hwsim if it says 'shipped', and a FuseSoC description; fewer --tokens make "
            "it shorter",
        ),
    ] = None,
    tokens: Tokens = None,
    activations: ActivationsOption = Activations.trace,
    seed: Seed = 0,
    stall_rate: Annotated[
        float, typer.Option(help="how often ports wait in the testbench's run with stalls")
    ] = _STALL_RATE,
    stall_seed: Annotated[int, typer.Option(help="of the stalls", min=0)] = 0,
    operands: OperandsOption = OperandKind.trace,
) -> None:
    """Write the array as Verilog, with AXI4-Stream ports: module hwsim_core."""
    if testbench is None:
        refuse_changed(
            "--testbench",
            tokens=(tokens, None),
            activations=(activations, Activations.trace),
            seed=(seed, 0),
            stall_rate=(stall_rate, _STALL_RATE),
            stall_seed=(stall_seed, 0),
            operands=(operands, OperandKind.trace),
        )
    check_outputs(output)
    from hwsim.files import write_together
    from hwsim.verilog import to_verilog

    files: dict[str, str] = {}
    if testbench is not None:
        from hwsim import engines
        from hwsim.engines.stalls import Stalls
        from hwsim.operands import operands_of
        from hwsim.testbench import make_testbench

        layer = read_layer(testbench, tokens, activations, seed)
        schedule = engines.schedule_of(layer, array)
        with progress_bar(f"testbench: {layer.name}", schedule.steps) as report:
            files = make_testbench(
                layer,
                array,
                source=output.name,
                registers=registers,
                operands=operands_of(layer, array, kind=operands.value, seed=seed),
                stalls=Stalls(stall_rate, stall_seed),
                progress=report,
            )
        array = schedule.config
    inputs = [*layer_files(testbench), *([] if config_file is None else [str(config_file)])]
    check_results(output.parent, [output.name, *files], None, inputs)
    write_together(output.parent, {output.name: to_verilog(array, registers=registers), **files})
    if testbench is not None:
        print(
            f"cd -- {shlex.quote(str(output.parent))} && "
            f"iverilog -g2012 -o tb {output.name} {output.stem}_tb.v && vvp tb"
        )
