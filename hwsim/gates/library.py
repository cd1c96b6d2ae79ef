"""Standard cells: what they compute, and what a toggle of them costs."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import product

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

    Parameters
    ----------
    truth
        As in `Cell`.
    names
        Its variables.
    """
    return _expression(truth, len(names)).format(*names)


@cache
def _expression(truth: int, count: int) -> str:
    names = tuple(f"{{{place}}}" for place in range(count))
    everything = (1 << (1 << len(names))) - 1
    parity = sum((k.bit_count() & 1) << k for k in range(1 << len(names)))
    if len(names) > 1 and truth in (parity, everything ^ parity):
        text = " ^ ".join(names)
        return text if truth == parity else f"~({text})"
    straight = _sum_of_products(truth, names)
    inverted = f"~({_sum_of_products(everything ^ truth, names)})"
    return min(straight, inverted, key=len)


def _sum_of_products(truth: int, names: tuple[str, ...]) -> str:
    """Return the sum of all prime implicants; monotonic functions have no shorter one."""
    count = len(names)
    cubes: dict[tuple[int, ...], int] = {}  # for each cube, where it is true
    for cube in product((0, 1, -1), repeat=count):
        where = sum(
            1 << k
            for k in range(1 << count)
            if all(value < 0 or k >> place & 1 == value for place, value in enumerate(cube))
        )
        if where & ~truth == 0:
            cubes[cube] = where
    primes = [
        cube
        for cube, where in cubes.items()
        if not any(where & ~other == 0 and where != other for other in cubes.values())
    ]
    return " | ".join(_product(cube, names) for cube in primes)


def _product(cube: tuple[int, ...], names: tuple[str, ...]) -> str:
    positive = [name for name, value in zip(names, cube, strict=True) if value == 1]
    negative = [name for name, value in zip(names, cube, strict=True) if value == 0]
    if not negative:
        return f"({' & '.join(positive)})"
    none_of = f"~({' | '.join(negative)})"
    return f"({' & '.join([*positive, none_of])})"
