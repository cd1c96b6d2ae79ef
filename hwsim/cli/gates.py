"""What ``hwsim simulate`` says and writes about gates."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwsim.cli.output import print_table

if TYPE_CHECKING:
    from hwsim.gates.activity import GateActivity

SAMPLES = 512
"""Steps, each of one lane, on which glitches are simulated."""

ABOUT = {
    "covers": "lanes, evaluated over steps, and weight decoders, evaluated over the words loaded; "
    "not operand registers, weight tile, accumulator bank, buffers, control and clock tree",
    "gates": "zero-delay toggles: glitches are not in it",
    "gates_glitch": "the same, each part times what a simulation with inertial delays takes more "
    f"on {SAMPLES} sampled steps of a lane",
    "library": "ASAP7 RVT, TT, 0.70 V, 25 C; an assumed wire for each driven pin",
    "kind": "derived",
}
"""What the energies of gates are."""


def describe_gates(activity: "GateActivity", *, priced: bool) -> dict[str, Any]:
    """Return toggles by part, what the gates are and, if asked for, their energies."""
    from hwsim.gates.library import load

    lane = activity.netlists.lane
    result: dict[str, Any] = {
        "toggles": activity.toggles(),
        "gates": {
            **ABOUT,
            "lane_cells": len(lane.gates),
            "lane_registers": lane.registers,
            "lane_area_um2": lane.area_um2,
            "lane_area_um2_per_mac": lane.area_um2 / activity.config.columns,
        },
    }
    if priced:
        result["energies"] = {
            "gates": activity.energy_pj(load()),
            "gates_glitch": activity.energy_pj(load(), glitches=True),
        }
    return result


def write_gates(activity: "GateActivity", saif: Path | None, netlist: Path | None) -> None:
    """Write the activity for other power tools, and the netlist that it is of."""
    from hwsim.files import write_atomically
    from hwsim.gates import export

    if saif is not None:
        write_atomically(saif, export.saif(activity))
    if netlist is not None:
        write_atomically(netlist, export.verilog(activity.netlists.lane))


def print_gates(result: dict[str, Any]) -> None:
    """Print toggles, and energies if there are some, by part."""
    macs = result["activity"]["padded_macs"]
    energies = [
        result["energy_pj"][key] for key in ("gates", "gates_glitch") if key in result["energy_pj"]
    ]
    rows = [
        (part, f"{count / macs:.3f}", *(f"{1000 * energy[part] / macs:.3f}" for energy in energies))
        for part, count in result["toggles"].items()
    ]
    columns = ("part", "toggles", *("fJ", "fJ with glitches")[: len(energies)])
    print_table("Gates, for each place of the array and step", columns, rows)
    if energies:
        print(f"cells: {ABOUT['library']}\nthey cover {ABOUT['covers']}")
