"""Netlists and their toggles in the forms that other tools read."""

import re
from collections.abc import Iterator

from hwsim.errors import InputError
from hwsim.gates.activity import GateActivity
from hwsim.gates.library import Cell, Library, expression
from hwsim.gates.netlist import ONE, ZERO, Netlist

CELL_SUFFIX = "_ASAP7_75t_R"
"""Ends the names of all cells in the kit."""

_MILLION = 1_000_000


def net_names(netlist: Netlist) -> list[str]:
    """Return the name of each net in Verilog; inputs are the bits of their ports.

    The number comes first, since Yosys has names that begin with a digit.
    """
    names = [
        f"n{net}_{re.sub(r'[^A-Za-z0-9]+', '_', name).strip('_')}"
        for net, name in enumerate(netlist.names)
    ]
    names[ZERO], names[ONE] = "1'b0", "1'b1"
    for port, nets in netlist.inputs.items():
        for place, net in enumerate(nets):
            names[net] = f"{port}[{place}]" if len(nets) > 1 else port
    return names


def verilog(netlist: Netlist) -> str:
    """Return a netlist as a module of cells of the kit."""
    return "\n".join(_verilog(netlist)) + "\n"


def _verilog(netlist: Netlist) -> Iterator[str]:
    names = net_names(netlist)
    ports = [("input", "clk", 1)] if netlist.registers else []
    ports += [("input", port, len(nets)) for port, nets in netlist.inputs.items()]
    ports += [("output", port, len(nets)) for port, nets in netlist.outputs.items()]
    yield f"module {netlist.top} ("
    yield ",\n".join(
        f"  {direction} {f'[{width - 1}:0] ' if width > 1 else ''}{port}"
        for direction, port, width in ports
    )
    yield ");"
    for gate in netlist.gates:
        yield f"  wire {names[gate.output]};"
    for index, gate in enumerate(netlist.gates):
        pins = [*zip(gate.cell.inputs, gate.inputs, strict=True), (gate.cell.output, gate.output)]
        wired = ", ".join(f".{pin}({names[net]})" for pin, net in pins)
        clock = ".CLK(clk), " if gate.cell.is_register else ""
        yield f"  {gate.cell.name}{CELL_SUFFIX} g{index} ({clock}{wired});"
    for port, nets in netlist.outputs.items():
        yield f"  assign {port} = {{{', '.join(names[net] for net in reversed(nets))}}};"
    yield "endmodule"


def cell_models(library: Library) -> str:
    """Return Verilog models of all cells, without delays."""
    return "\n".join(map(_model, library.cells.values())) + "\n"


def _model(cell: Cell) -> str:
    name = f"{cell.name}{CELL_SUFFIX}"
    if cell.is_register:
        return (
            f"module {name} (input CLK, D, output reg QN);\n"
            "  always @(posedge CLK) QN <= ~D;\nendmodule"
        )
    return (
        f"module {name} (input {', '.join(cell.inputs)}, output {cell.output});\n"
        f"  assign {cell.output} = {expression(cell.truth, cell.inputs)};\nendmodule"
    )


def saif(activity: GateActivity) -> str:
    """Return the activity of all lanes as SAIF 2.0, an instance `lane_<row>` each.

    One clock period a step; cycles without a step, in which nothing moves, are left out. The clock
    is not in it.

    Raises
    ------
    InputError
        If it was not counted for how many steps nets are 1.
    """
    if activity.lane_high is None:
        raise InputError("SAIF needs the steps in which nets are 1; run with high=True")
    return "\n".join(_saif(activity)) + "\n"


def _saif(activity: GateActivity) -> Iterator[str]:
    assert activity.lane_high is not None
    lane = activity.netlists.lane
    period_ps = round(_MILLION / activity.config.clock_mhz)
    duration = activity.steps * period_ps
    names = [re.sub(r"([\[\]])", r"\\\1", name) for name in net_names(lane)]
    nets = [*lane.input_nets, *(gate.output for gate in lane.gates)]
    yield '(SAIFILE\n(SAIFVERSION "2.0")\n(DIRECTION "backward")\n(DESIGN "hwsim_lanes")'
    yield f'(PROGRAM_NAME "hwsim")\n(DIVIDER / )\n(TIMESCALE 1 ps)\n(DURATION {duration})'
    yield "(INSTANCE hwsim_lanes"
    for row in range(activity.config.rows):
        yield f"  (INSTANCE lane_{row}\n    (NET"
        for net in nets:
            high = int(activity.lane_high[row, net]) * period_ps
            yield (
                f"      ({names[net]} (T0 {duration - high}) (T1 {high}) (TX 0) "
                f"(TC {int(activity.lane[row, net])}) (IG 0))"
            )
        yield "    )\n  )"
    yield ")\n)"
