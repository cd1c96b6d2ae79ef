"""Combinational netlists in Python, 64 operands to a machine word.

Numbers travel as *planes*: row i of a `(bits, words)` array of uint64 holds bit i of all numbers,
so that one operation on words is one gate for 64 numbers.
"""

import json
from collections.abc import Callable
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.back import rtlil
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from hwsim import yosys

Words = np.ndarray[Any, np.dtype[np.uint64]]
Unsigned = np.ndarray[Any, np.dtype[np.unsignedinteger[Any]]]

GATES: dict[str, Callable[..., Words]] = {
    "$_NOT_": np.bitwise_not,
    "$_AND_": np.bitwise_and,
    "$_OR_": np.bitwise_or,
    "$_XOR_": np.bitwise_xor,
}
ONES = np.uint64(2**64 - 1)


def transposed(planes: Words) -> None:
    """Turn numbers into planes or planes into numbers, in place.

    The rows are 16 or 32, as many as numbers have bits; a row of numbers is an array of them seen
    as uint64. What happens is that bit i of row k changes places with bit k of row i.
    """
    bits = len(planes)
    step = bits // 2
    while step:
        mask = np.uint64(sum(1 << i for i in range(64) if not i & step))
        rows = planes.reshape(bits // (2 * step), 2, step, -1)
        low, high = rows[:, 0], rows[:, 1]
        swap = ((low >> np.uint64(step)) ^ high) & mask
        high ^= swap
        low ^= swap << np.uint64(step)
        step //= 2


def planes(numbers: Unsigned) -> Words:
    """Planes of uint16 or uint32 numbers, a multiple of 64 of them."""
    result = numbers.copy().view(np.uint64).reshape(8 * numbers.itemsize, -1)
    transposed(result)
    return result


def numbers(planes: Words) -> Unsigned:
    """Undo `planes`; what is given is overwritten."""
    transposed(planes)
    return planes.reshape(-1).view(f"u{len(planes) // 8}")


class Netlist:
    """The gates of a combinational component, as Yosys maps it.

    Parameters
    ----------
    component
        Its members are ports of plain shapes.
    words
        What it is evaluated on at a time.
    folder
        For the files of Yosys.

    Attributes
    ----------
    inputs
        Planes to write before a call.
    outputs
        Planes to read after it.
    gates
        Number of gates with two inputs.
    """

    def __init__(self, component: wiring.Component, *, words: int, folder: Path):
        members = dict(component.signature.members)
        (folder / "design.il").write_text(
            rtlil.convert(component, ports=[getattr(component, name) for name in members])
        )
        yosys.run(
            "read_rtlil design.il\nsynth -flatten -noabc -top top\nabc -g AND,OR,XOR\nopt_clean\n"
            "write_json design.json\n",
            folder=folder,
        )
        module = json.loads((folder / "design.json").read_text())["modules"]["top"]
        drivers = {cell["connections"]["Y"][0]: cell for cell in module["cells"].values()}

        def operands(cell: dict[str, Any]) -> list[Any]:
            return [bits[0] for pin, bits in cell["connections"].items() if pin != "Y"]

        self.gates = sum(cell["type"] != "$_NOT_" for cell in drivers.values())

        # Rows of nets that are not read any more are used again: the fewer, the better they cache.
        ports = {name: module["ports"][name]["bits"] for name in members}
        readers: dict[Any, int] = {}
        for bit in [bit for cell in drivers.values() for bit in operands(cell)]:
            readers[bit] = readers.get(bit, 0) + 1
        rows: dict[Any, Words] = {
            "0": np.zeros(words, np.uint64),
            "1": np.full(words, ONES),
        }
        self.inputs: dict[str, Words] = {}
        for name, member in members.items():
            if member.flow == In:
                self.inputs[name] = np.zeros((len(ports[name]), words), np.uint64)
                rows |= zip(ports[name], self.inputs[name], strict=True)
        kept = {*rows, *(bit for bits in ports.values() for bit in bits)}

        self._steps: list[tuple[Callable[..., Words], list[Words]]] = []
        free: list[Words] = []
        order = TopologicalSorter({bit: operands(cell) for bit, cell in drivers.items()})
        for bit in order.static_order():
            if bit not in drivers:
                continue
            cell = drivers[bit]
            rows[bit] = free.pop() if free else np.empty(words, np.uint64)
            self._steps.append(
                (GATES[cell["type"]], [*(rows[operand] for operand in operands(cell)), rows[bit]])
            )
            for operand in operands(cell):
                readers[operand] -= 1
                if not readers[operand] and operand not in kept:
                    free.append(rows[operand])
        self._outputs = {
            name: [rows[bit] for bit in ports[name]]
            for name, member in members.items()
            if member.flow != In
        }

    def __call__(self) -> dict[str, Words]:
        """Return the planes of the outputs for those that `inputs` hold."""
        for gate, arguments in self._steps:
            gate(*arguments)
        return {name: np.stack(rows) for name, rows in self._outputs.items()}
