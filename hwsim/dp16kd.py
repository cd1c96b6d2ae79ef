"""The output registers inside the block RAMs of an ECP5.

A word leaves a DP16KD late in the cycle after its address. Behind that stands a register of the
block's own, which Yosys does not use. `pack` does, in place of registers that take nothing else.
"""

from collections import Counter
from typing import Any

Cell = dict[str, Any]
"""Of Yosys's JSON netlists."""


def pack(netlist: dict[str, Any]) -> int:
    """Change all modules of a netlist in Yosys's JSON; return how many registers were moved."""
    return sum(_pack(module) for module in netlist["modules"].values())


def _pack(module: dict[str, Any]) -> int:
    cells: dict[str, Cell] = module["cells"]
    readers: Counter[int] = Counter()
    for port in module["ports"].values():
        readers.update(port["bits"])
    for cell in cells.values():
        for pin, nets in cell["connections"].items():
            if cell["port_directions"][pin] == "input":
                readers.update(nets)
    registers = {
        cell["connections"]["DI"][0]: name
        for name, cell in cells.items()
        if cell["type"] == "TRELLIS_FF" and _is_plain(cell)
    }
    moved = 0
    for ram in [cell for cell in cells.values() if cell["type"] == "DP16KD"]:
        for side in "AB":
            pins = [ram["connections"][f"DO{side}{place}"] for place in range(18)]
            read = [pin for pin in pins if readers[pin[0]]]
            clock = ram["connections"][f"CLK{side}"]
            names = [
                registers[pin[0]]
                for pin in read
                if readers[pin[0]] == 1
                and pin[0] in registers
                and cells[registers[pin[0]]]["connections"]["CLK"] == clock
            ]
            if not read or len(names) < len(read):
                continue
            for pin, name in zip(read, names, strict=True):
                pin[:] = cells.pop(name)["connections"]["Q"]
            ram["parameters"][f"REGMODE_{side}"] = "OUTREG"
            ram["connections"][f"OCE{side}"] = ["1"]
            moved += len(read)
    return moved


def _is_plain(register: Cell) -> bool:
    """Return whether a register takes its input at every edge, and is never set or reset."""
    always = register["parameters"]["CEMUX"].strip() == "1"
    return always and bool(register["connections"].get("LSR", ["0"]) == ["0"])
