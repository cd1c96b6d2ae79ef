"""From netlists to machine code: every gate one operation for many steps at once."""

import ctypes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from hwsim import native
from hwsim.gates.library import expression
from hwsim.gates.netlist import ONE, ZERO, Gate, Netlist

GROUP = 4
"""Lanes that are evaluated side by side, as in prelude.c."""

BLOCK_STEPS = 64 * 15
"""Steps of a block, as in kernel.c."""

_FLAGS = ("-O2", "-march=native", "-fno-sanitize=undefined")


class Job(ctypes.Structure):
    """`job` of kernel.c."""

    _fields_ = (
        ("activations", ctypes.c_void_p),
        ("activation_index", ctypes.c_void_p),
        ("activation_stride", ctypes.c_int64),
        ("weights", ctypes.c_void_p),
        ("weight_index", ctypes.c_void_p),
        ("sums", ctypes.c_void_p),
        ("first", ctypes.c_void_p),
        ("steps", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("shared_counters", ctypes.c_void_p),
        ("lane_counters", ctypes.c_void_p),
    )


class ExactJob(ctypes.Structure):
    """`exact_job` of kernel.c."""

    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("activations", ctypes.c_void_p),
        ("given", ctypes.c_void_p),
        ("sums", ctypes.c_void_p),
        ("bank", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("row_blocks", ctypes.c_int64),
        ("column_blocks", ctypes.c_int64),
        ("tokens", ctypes.c_int64),
        ("batch", ctypes.c_int64),
        ("half", ctypes.c_int64),
    )


class ReplaceJob(ctypes.Structure):
    """`replace_job` of kernel.c."""

    _fields_ = (
        ("from_", ctypes.c_void_p),
        ("from_stride", ctypes.c_int64),
        ("from_bits", ctypes.c_int64),
        ("fields", ctypes.c_int64),
        ("table", ctypes.c_void_p),
        ("to", ctypes.c_void_p),
        ("to_bits", ctypes.c_int64),
        ("used", ctypes.c_int64),
        ("words", ctypes.c_int64),
        ("lanes", ctypes.c_int64),
    )


Cell = tuple[int, tuple[bool, ...]]
"""What a cell computes: a truth table with 0 for all inputs 0; which inputs all lanes share."""


@dataclass(frozen=True)
class Code:
    """One netlist in C.

    A net is held as what it is, or as its inverse: as the one that is 0 where the inputs of its
    gate are held as 0. So inverters and registers need no code, and a NAND is an AND.

    Attributes
    ----------
    netlist
        What it is made of.
    prefix
        Of its names.
    skipped
        Port that all lanes share. Its toggles are not counted, since they are known from where it
        is driven.
    """

    netlist: Netlist
    prefix: str
    skipped: str = ""

    @cached_property
    def counters(self) -> dict[int, int]:
        """The counter of each net; those that move together share one."""
        counters: dict[int, int] = {}
        for port, nets in self.netlist.inputs.items():
            if port != self.skipped:
                for net in nets:
                    counters[net] = len(counters)
        fresh = len(counters)
        for gate in self.netlist.gates:
            if self._moves_with_another(gate):
                counters[gate.output] = counters[gate.inputs[0]]
            else:
                counters[gate.output] = fresh
                fresh += 1
        return counters

    def _moves_with_another(self, gate: Gate) -> bool:
        return gate.cell.is_inverter and gate.inputs[0] not in self._skipped_nets

    @property
    def _skipped_nets(self) -> tuple[int, ...]:
        return self.netlist.inputs.get(self.skipped, ())

    def by_net(self, counters: NDArray[np.uint64], steps: int | None = None) -> NDArray[np.int64]:
        """Return the count of each net, from counters in the last axis.

        Parameters
        ----------
        counters
            Shape (..., `counter_count`).
        steps
            Of the run, if steps at 1 were counted: what is held as its inverse has the others.
        """
        counts = np.zeros((*counters.shape[:-1], len(self.netlist.names)), np.int64)
        nets, places = self._counted
        counts[..., nets] = counters[..., places]
        if steps is not None:
            counts[..., ONE] = steps
            inverse = [net for net in self.counters if self._held[net][1]]
            counts[..., inverse] = steps - counts[..., inverse]
        return counts

    @cached_property
    def _counted(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The nets that are counted, and where."""
        nets, places = zip(*self.counters.items(), strict=True) if self.counters else ((), ())
        return np.array(nets, np.intp), np.array(places, np.intp)

    @property
    def counter_count(self) -> int:
        """How many counters there are."""
        return max(self.counters.values(), default=-1) + 1

    @cached_property
    def _held(self) -> dict[int, tuple[int, bool]]:
        """For each net the one that is evaluated for it, and whether that is its inverse."""
        held = {ZERO: (ZERO, False), ONE: (ZERO, True)}
        held |= {net: (net, False) for net in self.netlist.input_nets}
        for gate in self.netlist.gates:
            inverse = bool(_truth(gate, held) & 1)
            if self._moves_with_another(gate):
                held[gate.output] = held[gate.inputs[0]][0], inverse
            else:
                held[gate.output] = gate.output, inverse
        return held

    @cached_property
    def _calls(self) -> list[tuple[Cell, tuple[int, ...], int]]:
        """The gates that are evaluated: what they compute, inputs, output."""
        calls = []
        for gate in self.netlist.gates:
            net, inverse = self._held[gate.output]
            if net == gate.output:
                truth = _truth(gate, self._held) ^ (_everything(gate) if inverse else 0)
                inputs = tuple(self._held[driver][0] for driver in gate.inputs)
                shared = tuple(driver in self._skipped_nets for driver in inputs)
                calls.append(((truth, shared), inputs, net))
        return calls

    @property
    def cells(self) -> set[Cell]:
        """What the gates compute."""
        return {cell for cell, _, _ in self._calls}

    def _slots(self) -> tuple[dict[int, int], int]:
        """Return a place in memory for each net, and how many there are.

        A net whose loads are all evaluated leaves its place, so that few places are in use at a
        time, and near.
        """
        inputs = (net for net in self.netlist.input_nets if net not in self._skipped_nets)
        slots = {net: slot for slot, net in enumerate((ZERO, *inputs))}
        count = len(slots)
        kept = {*slots, *self._skipped_nets}
        kept |= {self._held[net][0] for net in self.netlist.output_nets}
        last: dict[int, int] = {}
        for at, (_, drivers, output) in enumerate(self._calls):
            last |= dict.fromkeys((*drivers, output), at)
        free: list[int] = []
        for at, (_, drivers, output) in enumerate(self._calls):
            if not free:
                free.append(count)
                count += 1
            slots[output] = free.pop()
            over = {net for net in (*drivers, output) if last[net] == at} - kept
            free += sorted(slots[net] for net in over)
        return slots, count

    def text(self) -> Iterator[str]:
        """Give the lines of its C code."""
        upper = self.prefix.upper()
        slots, count = self._slots()
        yield f"enum {{ {upper}_SLOTS = {count}, {upper}_COUNTERS = {self.counter_count} }};"
        outputs = (self._held[net] for net in self.netlist.output_nets)
        places = ", ".join(f"{{{slots[net]}, {-inverse}}}" for net, inverse in outputs)
        yield f"static const output {self.prefix}_outputs[] = {{ {places} }};"
        yield f"static void {self.prefix}_gates"
        yield "(const uint64_t *restrict s, V *restrict b, const V *restrict counted,"
        yield "Unaligned *restrict counters) {"
        place = {net: f"b + {slot} * U" for net, slot in slots.items()}
        place |= {net: f"s + {slot} * U" for slot, net in enumerate(self._skipped_nets)}
        for cell, inputs, net in self._calls:
            arguments = ", ".join(place[driver] for driver in (*inputs, net))
            counter = f"counters + {self.counters[net]} * KINDS"
            yield f"{_name(cell)}({arguments}, counted, {counter});"
        yield "}"


def _truth(gate: Gate, held: Mapping[int, tuple[int, bool]]) -> int:
    """Return the truth table of a gate for what is held of its inputs."""
    flipped = sum(held[net][1] << place for place, net in enumerate(gate.inputs))
    numbers = range(1 << len(gate.inputs))
    return sum((gate.cell.truth >> (number ^ flipped) & 1) << number for number in numbers)


def _everything(gate: Gate) -> int:
    return (1 << (1 << len(gate.inputs))) - 1


def _name(cell: Cell) -> str:
    truth, shared = cell
    return f"cell_{truth:x}_{''.join('vs'[is_shared] for is_shared in shared)}"


def _definition(cell: Cell) -> Iterator[str]:
    """Give the function that evaluates a cell and counts its toggles."""
    truth, shared = cell
    parameters, values = [], []
    for place, is_shared in enumerate(shared):
        parameters.append(f"const {'uint64_t' if is_shared else 'V'} *restrict i{place}")
        values.append(f"ALL(i{place}[u])" if is_shared else f"i{place}[u]")
    yield f"NOINLINE static void {_name(cell)}({', '.join(parameters)}, V *restrict out,"
    yield "const V *restrict counted, Unaligned *restrict counter) {"
    yield "V net[U];"
    yield f"EACH(u, 0) out[u] = net[u] = {expression(truth, tuple(values))};"
    yield "tally(net, counted, counter);"
    yield "}"


def build(shared: Code, lane: Code, *, columns: int, high: bool) -> ctypes.CDLL:
    """Compile the gates of a lane, and of what all lanes share; load them.

    Parameters
    ----------
    shared, lane
        The netlists.
    columns
        Of the lane.
    high
        Whether to count for how many steps each net is 1, too.
    """
    widths = {
        "ACTIVATION_BITS": len(shared.netlist.input_nets),
        "OPERAND_BITS": len(lane.netlist.inputs["operands"]),
        "COLUMNS": columns,
        "WEIGHT_BITS": len(lane.netlist.inputs["weights"]),
        "ACCUMULATOR_BITS": len(lane.netlist.inputs["accumulator"]),
    }
    folder = resources.files("hwsim.gates")
    lines = [
        *(["#define HIGH"] if high else []),
        *(f"enum {{ {name} = {value} }};" for name, value in widths.items()),
        folder.joinpath("prelude.c").read_text(),
        *(line for cell in sorted(shared.cells | lane.cells) for line in _definition(cell)),
        *shared.text(),
        *lane.text(),
        folder.joinpath("kernel.c").read_text(),
    ]
    library = native.load_c("gates", "\n".join(lines), _FLAGS)
    pointer, count = ctypes.c_void_p, ctypes.c_int64
    library.hwsim_run.argtypes = [pointer, count, count]
    library.hwsim_run.restype = count
    library.hwsim_exact.argtypes = [pointer, count, count]
    library.hwsim_exact.restype = None
    library.hwsim_replace.argtypes = [pointer, count, count]
    library.hwsim_replace.restype = None
    library.hwsim_pairs.argtypes = [pointer, *[count] * 6, pointer]
    library.hwsim_pairs.restype = None
    return library
