"""Combinational netlists as terms of Bitwuzla.

Registers are taken as wires, so that a pipelined lane is proven like the one without: that all
paths to a node have as many registers is shown by `Netlist.delays`.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.lib import wiring
from bitwuzla import Kind, Term, TermManager

from hwsim import yosys

Bit = Any
"""Number of a net, or one of `CONSTANTS`."""

CONSTANTS = ("0", "1", "x")

_SCRIPT = """\
read_rtlil design.il
hierarchy -top top
proc
flatten
opt_clean
memory -nomap
memory_map
techmap
simplemap
opt_clean
write_json design.json
"""
_KINDS = {
    "$_NOT_": Kind.BV_NOT,
    "$_AND_": Kind.BV_AND,
    "$_OR_": Kind.BV_OR,
    "$_XOR_": Kind.BV_XOR,
}
_LOGIC: dict[str, Callable[..., int]] = {
    "$_DFF_P_": lambda ones, a: a,
    "$_NOT_": lambda ones, a: ones ^ a,
    "$_AND_": lambda ones, a, b: a & b,
    "$_OR_": lambda ones, a, b: a | b,
    "$_XOR_": lambda ones, a, b: a ^ b,
    "$_MUX_": lambda ones, low, high, select: low ^ ((low ^ high) & select),
}


class Netlist:
    """The gates of a component, hierarchy flattened.

    Parameters
    ----------
    component
        Its members are ports of plain shapes.
    folder
        For the files of Yosys.

    Attributes
    ----------
    nets
        Bits of every named net, by name without the hierarchy.
    inputs
        Bits of all input ports.
    """

    def __init__(self, component: wiring.Component, *, folder: Path):
        ports = [getattr(component, name) for name in component.signature.members]
        (folder / "design.il").write_text(rtlil.convert(component, ports=ports, emit_src=False))
        yosys.run(_SCRIPT, folder=folder)
        module = json.loads((folder / "design.json").read_text())["modules"]["top"]
        names = module["netnames"]
        self.nets: dict[str, tuple[Bit, ...]] = {
            name.split(".")[-1]: tuple(names[name]["bits"])
            for name in sorted(names, key=lambda name: -name.count("."))  # ports last
        }
        self.inputs = {
            bit
            for port in module["ports"].values()
            if port["direction"] == "input"
            for bit in port["bits"]
        }
        self._drivers: dict[Bit, tuple[str, list[Bit]]] = {}
        for cell in module["cells"].values():
            if cell["type"] == "$scopeinfo":
                continue
            pins = {pin: bits[0] for pin, bits in cell["connections"].items()}
            if cell["type"] == "$_DFF_P_":
                self._drivers[pins["Q"]] = (cell["type"], [pins["D"]])
            else:
                sources = [pins[pin] for pin in "ABS" if pin in pins]
                self._drivers[pins["Y"]] = (cell["type"], sources)

    def behind(self, bit: Bit) -> list[Bit]:
        """Return what the gate or register of a bit reads; of an input or a constant, itself."""
        return self._drivers[bit][1] if bit in self._drivers else [bit]

    def sources(self, bits: Iterable[Bit], cut: Iterable[Bit]) -> set[Bit]:
        """Return those of the inputs and of `cut` from which `bits` are made."""
        ends = {*self.inputs, *cut}
        found: set[Bit] = set()
        seen: set[Bit] = set()
        todo = list(bits)
        while todo:
            bit = todo.pop()
            if bit in ends:
                found.add(bit)
            elif bit not in seen and bit not in CONSTANTS:
                seen.add(bit)
                todo += self.behind(bit)
        return found

    def delays(self, late: Mapping[str, int]) -> dict[Bit, int]:
        """Return for every bit the registers between it and the inputs.

        Parameters
        ----------
        late
            Input ports that are read as if they came after so many registers.

        Raises
        ------
        AssertionError
            If the paths to one gate have different numbers of them.
        """
        begin = {bit: delay for name, delay in late.items() for bit in self.nets[name]}
        delays: dict[Bit, int] = {}
        order = TopologicalSorter({bit: sources for bit, (_, sources) in self._drivers.items()})
        for bit in order.static_order():
            if bit in self._drivers:
                kind, sources = self._drivers[bit]
                known = {delays[source] for source in sources if source in delays}
                assert len(known) <= 1, f"{kind} {bit} reads what is {known} registers old"
                if known:
                    delays[bit] = known.pop() + (kind == "$_DFF_P_")
            elif bit not in CONSTANTS:
                delays[bit] = begin.get(bit, 0)
        return delays

    def terms(self, bits: Iterable[Bit], given: Mapping[Bit, Term], tm: TermManager) -> list[Term]:
        """Return `bits` as functions of `given`, one bit wide each; an "x" is any bit anywhere."""
        made = dict(given)
        one = tm.mk_bv_sort(1)
        made |= {"0": tm.mk_bv_zero(one), "1": tm.mk_bv_one(one)}
        todo = list(bits)
        wanted = list(bits)
        while todo:
            bit = todo[-1]
            if bit in made:
                todo.pop()
                continue
            kind, sources = self._drivers[bit]
            if missing := [source for source in sources if source not in made and source != "x"]:
                todo += missing
                continue
            operands = [made[s] if s != "x" else tm.mk_const(one) for s in sources]
            if kind == "$_DFF_P_":
                made[bit] = operands[0]
            elif kind == "$_MUX_":
                low, high, select = operands
                chosen = tm.mk_term(Kind.EQUAL, [select, made["1"]])
                made[bit] = tm.mk_term(Kind.ITE, [chosen, high, low])
            else:
                made[bit] = tm.mk_term(_KINDS[kind], operands)
        return [made[bit] for bit in wanted]

    def table(self, bits: Iterable[Bit], inputs: Sequence[Bit]) -> list[int]:
        """Return `bits` as functions of few `inputs`: bit v of each is its value for number v."""
        size = 1 << len(inputs)
        ones = (1 << size) - 1
        made: dict[Bit, int] = {"0": 0, "1": ones}
        for place, bit in enumerate(inputs):
            # 2^place zeros, as many ones, and so on
            made[bit] = ones // ((1 << (1 << place)) + 1) << (1 << place)
        wanted = list(bits)
        todo = list(bits)
        while todo:
            bit = todo[-1]
            if bit in made:
                todo.pop()
                continue
            kind, sources = self._drivers[bit]
            if missing := [source for source in sources if source not in made]:
                todo += missing
                continue
            made[bit] = _LOGIC[kind](ones, *(made[source] for source in sources))
        return [made[bit] for bit in wanted]
