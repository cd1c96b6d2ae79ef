"""Standard cells: what they compute, and what a toggle of them costs."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import combinations

FLIP_FLOP = "DFFHQNx1"
"""The register of all netlists: rising edge, inverting."""

_MAPPED = ("inv", "buf", "comb")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell with one output, as `energy_tables/asap7/cells.csv` describes it.

    Energies are in fJ, capacitances in fF, times in ps.

    Attributes
    ----------
    name
        In the library.
    inputs
        Its pins; of a flip-flop the data pin alone.
    output
        The pin.
    truth
        Bit k is the output for input number k, whose bit 0 is the first pin. A flip-flop has what
        its output becomes: the inverse of its data.
    function
        The same as an expression in Liberty's form.
    area_um2
        Area.
    leakage_nw
        Leakage, mean over states.
    input_cap_ff
        Of each pin.
    internal_fj
        Of an output transition, without its load; of a flip-flop with the clock edge that made it.
    hidden_fj
        Of a transition of the data pin of a flip-flop; 0 elsewhere, where it is negligible.
    idle_clock_fj
        Of a clock cycle that moves nothing, clock pin included; 0 but for flip-flops.
    idle_rise_fj
        The part of it that a moving output replaces.
    delay_ps, delay_slope
        Delay at the corner's reference load, and its increase in ps/fF.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    truth: int
    function: str
    area_um2: float
    leakage_nw: float
    input_cap_ff: tuple[float, ...]
    internal_fj: float
    hidden_fj: float
    idle_clock_fj: float
    idle_rise_fj: float
    delay_ps: float
    delay_slope: float

    @property
    def is_register(self) -> bool:
        """Whether it is the flip-flop."""
        return self.name == FLIP_FLOP

    @property
    def is_inverter(self) -> bool:
        """Whether its output moves exactly when its only input does: inverter, buffer, register."""
        return len(self.inputs) == 1

    def output_for(self, bits: int) -> int:
        """Return the output for inputs of that number."""
        return self.truth >> bits & 1


@dataclass(frozen=True, kw_only=True)
class Library:
    """The cells that netlists are made of, and the corner that their figures hold at.

    Attributes
    ----------
    cells
        By name.
    voltage
        In V.
    reference_load_ff
        Load of the delays.
    wire_ff
        Wire that each driven pin adds to a net: an assumption.
    """

    cells: Mapping[str, Cell]
    voltage: float
    reference_load_ff: float
    wire_ff: float

    def swing_fj(self, cap_ff: float) -> float:
        """Return the energy of one transition of a capacitance: half of C V^2."""
        return 0.5 * cap_ff * self.voltage**2

    @property
    def liberty(self) -> str:
        """The library as Yosys and abc read it: functions and areas."""
        return "".join(self._liberty())

    def _liberty(self) -> Iterator[str]:
        yield "library(asap7) {\n"
        for cell in self.cells.values():
            yield f"cell({cell.name}) {{ area: {cell.area_um2};\n"
            function = cell.function
            if cell.is_register:
                yield 'ff(IQ, IQN) { clocked_on: "CLK"; next_state: "!D"; }\n'
                yield "pin(CLK) { direction: input; clock: true; }\n"
                function = "IQ"
            for pin in cell.inputs:
                yield f"pin({pin}) {{ direction: input; }}\n"
            yield f'pin({cell.output}) {{ direction: output; function: "{function}"; }}\n}}\n'
        yield "}\n"


@cache
def load() -> Library:
    """Read the library that comes with the package."""
    folder = resources.files("hwsim.energy_tables") / "asap7"
    corner = {
        row["quantity"]: float(row["value"])
        for row in csv.DictReader((folder / "corner.csv").read_text().splitlines())
    }
    cells = {}
    for row in csv.DictReader((folder / "cells.csv").read_text().splitlines()):
        if row["cell"] == FLIP_FLOP:
            cells[row["cell"]] = _flip_flop(row, corner["voltage"])
        elif row["kind"] in _MAPPED:
            cells[row["cell"]] = _combinational(row)
    return Library(
        cells=cells,
        voltage=corner["voltage"],
        reference_load_ff=corner["reference_load"],
        wire_ff=corner["wire"],
    )


def _combinational(row: Mapping[str, str]) -> Cell:
    inputs = tuple(row["inputs"].split())
    output, function = row["function"].split("=")
    caps = _by_pin(row["input_cap_fF"])
    return Cell(
        name=row["cell"],
        inputs=inputs,
        output=output,
        truth=int(row["truth_table"].split("=")[1], 16),
        function=function,
        area_um2=float(row["area_um2"]),
        leakage_nw=float(row["leakage_nW"]),
        input_cap_ff=tuple(caps[pin] for pin in inputs),
        internal_fj=_by_pin(row["int_energy_fJ"])[output],
        hidden_fj=0.0,
        idle_clock_fj=0.0,
        idle_rise_fj=0.0,
        delay_ps=_by_pin(row["delay_ps"])[output],
        delay_slope=_by_pin(row["delay_slope_ps_per_fF"])[output],
    )


def _flip_flop(row: Mapping[str, str], voltage: float) -> Cell:
    caps = _by_pin(row["input_cap_fF"])
    rise, fall = float(row["clk_rise_fJ"]), float(row["clk_fall_fJ"])
    return Cell(
        name=row["cell"],
        inputs=("D",),
        output="QN",
        truth=0b01,
        function="!D",
        area_um2=float(row["area_um2"]),
        leakage_nw=float(row["leakage_nW"]),
        input_cap_ff=(caps["D"],),
        internal_fj=_by_pin(row["int_energy_fJ"])["QN"],
        hidden_fj=_by_pin(row["hidden_energy_fJ"])["D"],
        idle_clock_fj=caps["CLK"] * voltage**2 + rise + fall,
        idle_rise_fj=rise,
        delay_ps=_by_pin(row["delay_ps"])["QN"],
        delay_slope=_by_pin(row["delay_slope_ps_per_fF"])["QN"],
    )


def _by_pin(text: str) -> dict[str, float]:
    return {pin: float(value) for pin, value in (p.split("=") for p in text.split(";") if p)}


def expression(truth: int, names: tuple[str, ...]) -> str:
    """Return a function of up to six variables in C, for all bits of its operands at once.

    Only a function that is 1 where all its variables are 0 costs a negation of its own; all others
    are part of an AND, for which processors have one instruction.

    Parameters
    ----------
    truth
        As in `Cell`.
    names
        Its variables.
    """
    return _expression(truth, len(names)).format(*names)


_PAIRS: dict[tuple[int, ...], str] = {
    (0, 0, 0): "{i}",
    (1, 0, 1): "{i}",
    (0, 1, 1): "{j}",
    (1, 1, 0): "({i} ^ {j})",
    (0, 0, 1): "({i} & {j})",
    (1, 1, 1): "({i} | {j})",
    (1, 0, 0): "({i} & ~{j})",
    (0, 1, 0): "({j} & ~{i})",
}
"""Functions of two variables, by whether i alone, j alone, and both differ from neither."""


@cache
def _expression(truth: int, count: int) -> str:
    """Return the function, with {0}, {1}... for its variables.

    Two variables that matter through one function of the two alone are taken for one variable, as
    long as there are any: for all cells but majorities, until there is one.
    """
    if count == 1:
        return ("({0} & ~{0})", "~{0}", "{0}", "({0} | ~{0})")[truth]
    names = [f"{{{variable}}}" for variable in range(count)]
    for i, j in combinations(range(count), 2):
        neither, *cases = (
            _cofactor(_cofactor(truth, count, j, bits >> 1), count - 1, i, bits & 1)
            for bits in range(4)
        )
        others = {case for case in cases if case != neither} or {neither}
        if len(others) == 1:
            pair = _PAIRS[tuple(int(case != neither) for case in cases)]
            joined = neither | others.pop() << (1 << count - 2)
            rest = [name for place, name in enumerate(names) if place not in (i, j)]
            joined_name = pair.format(i=names[i], j=names[j])
            return _expression(joined, count - 1).format(*rest, joined_name)
    first, *rest = names
    without, with_ = (_cofactor(truth, count, 0, bit) for bit in (0, 1))
    zero, one = (_expression(part, count - 1).format(*rest) for part in (without, with_))
    unless = "" if without & ~with_ == 0 else f" & ~{first}"
    return f"(({first} & {one}) | ({zero}{unless}))"


def _cofactor(truth: int, count: int, place: int, bit: int) -> int:
    """Return a function with the variable of one place fixed; those above it move down."""
    low = (1 << place) - 1
    numbers = (k & low | bit << place | (k & ~low) << 1 for k in range(1 << count - 1))
    return sum((truth >> number & 1) << k for k, number in enumerate(numbers))
