"""From netlists to machine code: every gate one operation for many steps at once."""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from hwsim import native
from hwsim.gates.library import expression
from hwsim.gates.netlist import ONE, ZERO, Gate, Netlist

UNROLL = 4
"""Vectors of a block: how often a chunk of code is used before the next one."""

BLOCK_STEPS = UNROLL * 4 * 63
"""Steps of a block: each word of a vector has one step of the word before, too."""

_CHUNK_GATES = 64
"""Gates whose values are counted together, and are near in memory meanwhile."""

_BARRIER_GATES = 16
"""Gates after which the compiler reads values again: from where they are, not from a copy."""

_FLAGS = ("-O2", "-march=native", "-fno-sanitize=undefined")


class Job(ctypes.Structure):
    """`job` of kernel.c."""

    _fields_ = (
        ("activations", ctypes.c_void_p),
        ("activation_index", ctypes.c_void_p),
        ("activation_stride", ctypes.c_int64),
        ("weights", ctypes.c_void_p),
        ("weight_index", ctypes.c_void_p),
        ("weight_stride", ctypes.c_int64),
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
        ("columns", ctypes.c_int64),
        ("row_blocks", ctypes.c_int64),
        ("column_blocks", ctypes.c_int64),
        ("tokens", ctypes.c_int64),
        ("batch", ctypes.c_int64),
        ("half", ctypes.c_int64),
    )


@dataclass(frozen=True)
class Code:
    """One netlist in C.

    Attributes
    ----------
    netlist
        What it is made of.
    prefix
        Of its names.
    skipped
        Port whose toggles are not counted, since they are known from where it is driven.
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
        skipped = self.netlist.inputs.get(self.skipped, ())
        return gate.cell.is_inverter and gate.inputs[0] not in skipped

    def by_net(self, counters: NDArray[np.uint64], steps: int | None = None) -> NDArray[np.int64]:
        """Return the count of each net, from counters in the last axis.

        Parameters
        ----------
        counters
            Shape (..., `counter_count`).
        steps
            Of the run, if steps at 1 were counted: an inverter has the others.
        """
        counts = np.zeros((*counters.shape[:-1], len(self.netlist.names)), np.int64)
        counts[..., list(self.counters)] = counters[..., list(self.counters.values())]
        if steps is not None:
            counts[..., ONE] = steps
            for gate in self.netlist.gates:
                if self._moves_with_another(gate):
                    driver = counts[..., gate.inputs[0]]
                    counts[..., gate.output] = steps - driver if gate.cell.truth == 1 else driver
        return counts

    @property
    def counter_count(self) -> int:
        """How many counters there are."""
        return max(self.counters.values(), default=-1) + 1

    @cached_property
    def _chunk_of(self) -> dict[int, int]:
        return {g.output: i // _CHUNK_GATES for i, g in enumerate(self.netlist.gates)}

    @cached_property
    def _slots(self) -> dict[int, int]:
        """Place in memory of the nets that more than one chunk knows."""
        crossing = set(self.netlist.output_nets)
        for gate in self.netlist.gates:
            chunk = self._chunk_of[gate.output]
            crossing |= {net for net in gate.inputs if self._chunk_of.get(net) != chunk}
            if self._moves_with_another(gate):
                crossing.add(gate.output)
        order = (ZERO, ONE, *self.netlist.input_nets, *(g.output for g in self.netlist.gates))
        inputs = {ZERO, ONE, *self.netlist.input_nets}
        kept = [net for net in order if net in inputs or net in crossing]
        return {net: slot for slot, net in enumerate(kept)}

    def text(self) -> Iterator[str]:
        """Give the lines of its C code."""
        upper = self.prefix.upper()
        yield f"enum {{ {upper}_SLOTS = {len(self._slots)} }};"
        yield f"enum {{ {upper}_COUNTERS = {self.counter_count} }};"
        outputs = ", ".join(str(self._slots[net]) for net in self.netlist.output_nets)
        yield f"static const int {self.prefix}_outputs[] = {{ {outputs} }};"
        parameters = "(V *restrict b, const V *restrict counted, uint64_t *restrict counters)"
        gates = self.netlist.gates
        starts = range(0, len(gates), _CHUNK_GATES)
        tallies = []
        for chunk, start in enumerate(starts):
            yield f"NOINLINE static void {self.prefix}_{chunk}(V *restrict b, V *restrict made) {{"
            yield '_Pragma("clang loop unroll(disable)") for (int u = 0; u < U; u++) {'
            places: dict[int, str] = {}  # where in memory the nets of this chunk are
            counted: list[int] = []
            for at, gate in enumerate(gates[start : start + _CHUNK_GATES]):
                if at % _BARRIER_GATES == 0:
                    near: set[int] = set()
                    yield "BARRIER;"
                for net in gate.inputs:
                    if net not in near:
                        near.add(net)
                        place = places.get(net) or f"b[{self._slots[net]} * U + u]"
                        yield f"V n{net}_{at // _BARRIER_GATES} = {place};"
                near.add(gate.output)
                part = at // _BARRIER_GATES
                names = tuple(f"n{net}_{part}" for net in gate.inputs)
                result = f"n{gate.output}_{part}"
                yield f"V {result} = {expression(gate.cell.truth, names)};"
                if not self._moves_with_another(gate):
                    places[gate.output] = f"made[{len(counted)} * U + u]"
                    yield f"{places[gate.output]} = {result};"
                    counted.append(self.counters[gate.output])
                if gate.output in self._slots:
                    yield f"b[{self._slots[gate.output]} * U + u] = {result};"
            yield "} }"
            tallies.append((min(counted, default=0), len(counted)))
        yield f"static void {self.prefix}_gates{parameters} {{"
        yield f"V made[{_CHUNK_GATES} * U];"
        for chunk, (first, count) in enumerate(tallies):
            yield f"{self.prefix}_{chunk}(b, made);"
            yield f"tally(made, {count}, counted, counters + {first}, {upper}_COUNTERS);"
        yield "}"


def build(shared: Code, lane: Code, *, high: bool) -> ctypes.CDLL:
    """Compile the gates of a lane, and of what all lanes share; load them.

    Parameters
    ----------
    shared, lane
        The netlists.
    high
        Whether to count for how many steps each net is 1, too.
    """
    widths = {
        "ACTIVATION_BITS": len(shared.netlist.input_nets),
        "OPERAND_BITS": len(lane.netlist.inputs["operands"]),
        "WEIGHT_BITS": len(lane.netlist.inputs["weights"]),
        "ACCUMULATOR_BITS": len(lane.netlist.inputs["accumulator"]),
        "U": UNROLL,
    }
    folder = resources.files("hwsim.gates")
    lines = [
        *(["#define HIGH"] if high else []),
        *(f"enum {{ {name} = {value} }};" for name, value in widths.items()),
        folder.joinpath("prelude.c").read_text(),
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
    library.hwsim_replace.argtypes = [
        *(pointer, count, count, count, pointer, count, count, pointer, count, count)
    ]
    library.hwsim_replace.restype = None
    library.hwsim_pairs.argtypes = [pointer, count, count, count, count, pointer]
    library.hwsim_pairs.restype = None
    return library
