"""`Netlist`: a component mapped to standard cells."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim import yosys
from hwsim.cache import cached
from hwsim.gates.library import Cell, Library

# Adders that meet without a register between them become carry-save trees (`alumacc`, `maccmap`),
# multipliers Booth's; abc then covers everything with cells of the library.
_SCRIPT = """\
read_rtlil design.il
hierarchy -top {top}
proc
flatten -noscopeinfo
opt -full
memory
wreduce
booth
opt_clean
alumacc
maccmap
opt
techmap
opt -fast
dfflibmap -liberty cells.lib
abc -liberty cells.lib
opt_clean
write_json netlist.json
"""

ZERO, ONE = 0, 1
"""The nets that are constant."""


class NetlistError(RuntimeError):
    """A netlist is not what the gate-level engine can evaluate."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One cell and its nets; of a register the clock is left out.

    Attributes
    ----------
    name
        Of the instance.
    cell
        What it is.
    inputs
        Net of each of `cell.inputs`.
    output
        Net that it drives.
    """

    name: str
    cell: Cell
    inputs: tuple[int, ...]
    output: int


@dataclass(frozen=True)
class Netlist:
    """A feed-forward netlist.

    Registers only shift what they hold in time: seen from its own step, each net is a function of
    the inputs of that step alone. So a register is evaluated like the inverter that it is without
    its clock.

    Attributes
    ----------
    top
        Name of the module.
    names
        Of each net; the first two nets are the constants.
    inputs, outputs
        Nets of each port, lowest bit first, without clock and reset.
    gates
        All cells; each stands after those that drive it.
    """

    top: str
    names: tuple[str, ...]
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]
    gates: tuple[Gate, ...]

    @cached_property
    def input_nets(self) -> tuple[int, ...]:
        """All inputs, port by port."""
        return tuple(net for nets in self.inputs.values() for net in nets)

    @cached_property
    def output_nets(self) -> tuple[int, ...]:
        """All outputs, port by port."""
        return tuple(net for nets in self.outputs.values() for net in nets)

    @cached_property
    def loads(self) -> tuple[tuple[Gate, ...], ...]:
        """For each net the gates that it drives, once for each pin."""
        driven: list[list[Gate]] = [[] for _ in self.names]
        for gate in self.gates:
            for net in gate.inputs:
                driven[net].append(gate)
        return tuple(map(tuple, driven))

    @property
    def registers(self) -> int:
        """Flip-flops."""
        return sum(gate.cell.is_register for gate in self.gates)

    @property
    def area_um2(self) -> float:
        """Area of all cells."""
        return sum(gate.cell.area_um2 for gate in self.gates)

    def load_ff(self, net: int, library: Library) -> float:
        """Return the capacitance of a net: pins that it drives, and wire for each of them."""
        pins = sum(
            gate.cell.input_cap_ff[place]
            for gate in set(self.loads[net])
            for place, driver in enumerate(gate.inputs)
            if driver == net
        )
        return pins + library.wire_ff * len(self.loads[net])

    def stages(self, arrival: Mapping[str, int]) -> dict[int, int]:
        """Return for each net how many cycles after the operands it belongs to their step.

        Parameters
        ----------
        arrival
            The same for the inputs; those that are left out come with the operands.

        Raises
        ------
        NetlistError
            If nets of different steps meet in a gate.
        """
        stages = {net: arrival.get(port, 0) for port, nets in self.inputs.items() for net in nets}
        for gate in self.gates:
            meeting = {stages[net] for net in gate.inputs if net > ONE}
            if len(meeting) > 1:
                raise NetlistError(f"{self.top}: {gate.name} meets steps {sorted(meeting)}")
            stages[gate.output] = max(meeting, default=0) + gate.cell.is_register
        return stages

    def settle(self, inputs: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return what every net is, gate after gate: slow, and simple enough to trust.

        Parameters
        ----------
        inputs
            Bits of `input_nets`, shape (steps, inputs).

        Returns
        -------
        NDArray
            Shape (steps, nets).
        """
        values = np.zeros((len(self.names), len(inputs)), np.uint8)
        values[ONE] = 1
        values[list(self.input_nets)] = inputs.T
        for gate in self.gates:
            number = np.zeros(len(inputs), np.uint64)
            for place, net in enumerate(gate.inputs):
                number |= values[net].astype(np.uint64) << np.uint64(place)
            values[gate.output] = np.uint64(gate.cell.truth) >> number & np.uint64(1)
        return values.T

    def table(self, port: str) -> NDArray[np.uint32]:
        """Return an output for every number at the inputs."""
        count = len(self.input_nets)
        bits = np.arange(1 << count)[:, None] >> np.arange(count) & 1
        found = self.settle(bits.astype(np.uint8))[:, list(self.outputs[port])]
        numbers: NDArray[np.uint32] = found.astype(np.uint32) @ (
            np.uint32(1) << np.arange(found.shape[1], dtype=np.uint32)
        )
        return numbers


def synthesize(design: str, top: str, library: Library) -> Netlist:
    """Map a design to the cells of a library.

    Parameters
    ----------
    design
        In RTLIL.
    top
        Its top module.
    library
        The cells.

    Returns
    -------
    Netlist
        Flat. It is kept in the cache.
    """
    script = _SCRIPT.format(top=top)

    def make(folder: Path) -> Path:
        (folder / "design.il").write_text(design)
        (folder / "cells.lib").write_text(library.liberty)
        yosys.run(script, folder=folder)
        return folder / "netlist.json"

    file = cached("netlist", ".json", (script, design, library.liberty), make)
    with file.open() as text:
        module = json.load(text, object_hook=_only_what_is_read)["modules"][top]
    return _Reader(module, top, library).netlist()


def _only_what_is_read(about: dict[str, Any]) -> Any:
    """Return what matters of a cell, or a name: else those of a large lane take a lot of memory."""
    if "connections" in about:
        pins = about["connections"]
        return sys.intern(about["type"]), {sys.intern(pin): bits[0] for pin, bits in pins.items()}
    return about["bits"] if "hide_name" in about else about


class _Reader:
    """Reads the module that Yosys wrote."""

    def __init__(self, module: Mapping[str, Any], top: str, library: Library):
        self._module = module
        self._top = top
        self._library = library
        self._nets: dict[int | str, int] = {"0": ZERO, "1": ONE, "x": ZERO}
        self._names = ["zero", "one"]

    def netlist(self) -> Netlist:
        for name, bits in self._module["netnames"].items():
            for place, bit in enumerate(bits):
                if bit not in self._nets:
                    self._nets[bit] = len(self._names)
                    self._names.append(f"{name}[{place}]" if len(bits) > 1 else name)
        ports = {"input": {}, "output": {}}  # type: dict[str, dict[str, tuple[int, ...]]]
        for name, port in self._module["ports"].items():
            if name not in ("clk", "rst"):
                ports[port["direction"]][name] = tuple(self._nets[bit] for bit in port["bits"])
        drivers = {gate.output: gate for gate in self._gates()}
        roots = [net for nets in ports["output"].values() for net in nets]
        return Netlist(
            top=self._top,
            names=tuple(self._names),
            inputs=ports["input"],
            outputs=ports["output"],
            gates=tuple(_in_order(drivers, roots)),
        )

    def _gates(self) -> Iterator[Gate]:
        for name, (kind, pins) in self._module["cells"].items():
            cell = self._library.cells.get(kind)
            if cell is None:
                raise NetlistError(f"{self._top}: {name} is a {kind}, not a cell")
            inputs = tuple(self._nets[pins[pin]] for pin in cell.inputs)
            yield Gate(name, cell, inputs, self._nets[pins[cell.output]])


def _in_order(drivers: Mapping[int, Gate], roots: list[int]) -> Iterator[Gate]:
    """Give the gates depth first: what one needs comes shortly before it, which caches like."""
    done: set[int] = set()
    waiting: set[int] = set()
    stack = list(reversed(roots))
    while stack:
        net = stack[-1]
        if net in done or net not in drivers:
            stack.pop()
            continue
        missing = [n for n in drivers[net].inputs if n in drivers and n not in done]
        if not missing:
            done.add(net)
            stack.pop()
            yield drivers[net]
        elif net in waiting:
            raise NetlistError(f"gate {drivers[net].name} depends on itself")
        else:
            waiting.add(net)
            stack += missing
