"""Packing of look-up tables into the carry cells of an ECP5.

Each half of a CCU2C has a look-up table of four inputs, of which Yosys uses two. Where a table
before it fits into the free inputs, `pack` moves it there: the selection of a trit's term, or the
mask of the first addition to an accumulator. The left operand stays as it is, since it is what the
half generates a carry from.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import permutations, product
from typing import Any

_PINS = "ABCD"

Net = int | str
"""Of Yosys's JSON netlists: a number, or a constant ``"0"``, ``"1"`` or ``"x"``."""

Function = Callable[[Mapping[Net, bool]], bool]


def pack(netlist: dict[str, Any]) -> int:
    """Change all modules of a netlist in Yosys's JSON; return how many tables were moved.

    A table that nothing else reads is left without a reader, for `opt_clean` to remove.
    """
    moved = 0
    for module in netlist["modules"].values():
        cells = module["cells"].values()
        tables = {c["connections"]["Z"][0]: c for c in cells if c["type"] == "LUT4"}
        for cell in cells:
            if cell["type"] == "CCU2C":
                moved += sum(_pack_half(cell, half, tables) for half in "01")
    return moved


def _pack_half(cell: dict[str, Any], half: str, tables: Mapping[Net, dict[str, Any]]) -> bool:
    pins = [cell["connections"][pin + half] for pin in _PINS]
    left, right = pins[0][0], pins[1][0]
    table = tables.get(right)
    plain = isinstance(left, int) and not any(isinstance(net, int) for (net,) in pins[2:])
    if table is None or not plain:
        return False
    propagate = _function([net for (net,) in pins], cell["parameters"]["INIT" + half])
    inner = _function([table["connections"][pin][0] for pin in _PINS], table["parameters"]["INIT"])
    inputs = _support(inner, [table["connections"][pin][0] for pin in _PINS])
    if left in inputs or len(inputs) > 3:
        return False

    def whole(values: Mapping[Net, bool]) -> bool:
        return propagate({**values, right: inner(values)})

    constants: list[Net] = ["1"] * (3 - len(inputs))
    for others in permutations(inputs):
        nets = [left, *others, *constants]
        init = _init(whole, nets)
        # The four entries with C = D = 0 are also what a carry is generated from: the left input.
        if constants:
            init = init & ~0b1111 | 0b1010
        if init & 0b1111 == 0b1010:
            for pin, net in zip(pins, nets, strict=True):
                pin[0] = net
            cell["parameters"]["INIT" + half] = f"{init:016b}"
            return True
    return False


def _function(nets: Sequence[Net], init: str) -> Function:
    """Return what a table computes from its nets; its entries stand in `init`, the first last."""
    table = [bit == "1" for bit in reversed(init)]

    def function(values: Mapping[Net, bool]) -> bool:
        bits = [values[net] if isinstance(net, int) else net == "1" for net in nets]
        return table[sum(bit << place for place, bit in enumerate(bits))]

    return function


def _support(function: Function, nets: Sequence[Net]) -> list[Net]:
    """Return the nets that a function depends on."""
    free = sorted({net for net in nets if isinstance(net, int)})
    rows: list[dict[Net, bool]] = [
        dict(zip(free, bits, strict=True)) for bits in product((False, True), repeat=len(free))
    ]
    return [
        net
        for net in free
        if any(function({**r, net: False}) != function({**r, net: True}) for r in rows)
    ]


def _init(function: Function, nets: Sequence[Net]) -> int:
    """Return the entries of a table that computes `function` on its pins' nets."""
    init = 0
    for index, bits in enumerate(product((False, True), repeat=len(nets))):
        values = dict(zip(nets, reversed(bits), strict=True))
        init |= function(values) << index
    return init
