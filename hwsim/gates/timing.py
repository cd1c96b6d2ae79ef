"""Glitches: what zero-delay toggles leave out, from a timed simulation of a sample of steps."""

import ctypes
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim import native
from hwsim.gates.library import FLIP_FLOP, Library
from hwsim.gates.netlist import ONE, Netlist, NetlistError

_UNITS_PER_PS = 16
_FLAGS = ("-O2", "-fno-sanitize=undefined")
_MOST_INPUTS = 6
_EVENTS_PER_NET = 16


class _Gate(ctypes.Structure):
    _fields_ = (
        ("inputs", ctypes.c_int32 * _MOST_INPUTS),
        ("input_count", ctypes.c_int32),
        ("output", ctypes.c_int32),
        ("delay", ctypes.c_int32),
        ("is_source", ctypes.c_int32),
        ("truth", ctypes.c_uint64),
    )


class _Event(ctypes.Structure):
    _fields_ = (("time", ctypes.c_int64), ("net", ctypes.c_int32))


class _Circuit(ctypes.Structure):
    _fields_ = (
        ("nets", ctypes.c_int64),
        ("gates", ctypes.c_int64),
        ("input_count", ctypes.c_int64),
        ("gate", ctypes.c_void_p),
        ("input", ctypes.c_void_p),
        ("input_delay", ctypes.c_int32),
        ("load_start", ctypes.c_void_p),
        ("load", ctypes.c_void_p),
        ("value", ctypes.c_void_p),
        ("settled", ctypes.c_void_p),
        ("due", ctypes.c_void_p),
        ("heap", ctypes.c_void_p),
        ("capacity", ctypes.c_int64),
    )


def timed_toggles(
    netlist: Netlist, library: Library, before: NDArray[np.uint8], after: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count what each net does between pairs of steps, with delays and without.

    Every gate has the delay of its cell at the load of its net, the same for rising and falling,
    and swallows pulses that are shorter. Registers and inputs change once, with the clock.

    Parameters
    ----------
    netlist, library
        What is simulated.
    before, after
        Bits of `netlist.input_nets`, shape (pairs, inputs).

    Returns
    -------
    tuple
        Toggles with delays and without, each of shape (nets,).

    Raises
    ------
    NetlistError
        If delays change where the netlist settles.
    """
    gates = (_Gate * len(netlist.gates))()
    loads: list[list[int]] = [[] for _ in netlist.names]
    for index, gate in enumerate(netlist.gates):
        load = netlist.load_ff(gate.output, library) - library.reference_load_ff
        delay_ps = gate.cell.delay_ps + gate.cell.delay_slope * load
        gates[index] = _Gate(
            inputs=(ctypes.c_int32 * _MOST_INPUTS)(*gate.inputs),
            input_count=len(gate.inputs),
            output=gate.output,
            delay=max(1, round(delay_ps * _UNITS_PER_PS)),
            is_source=gate.cell.is_register,
            truth=gate.cell.truth,
        )
        for net in gate.inputs:
            loads[net].append(index)
    nets = len(netlist.names)
    inputs = np.array(netlist.input_nets, np.int32)
    starts = np.cumsum([0, *map(len, loads)]).astype(np.int32)
    flat = np.array([index for driven in loads for index in driven], np.int32)
    value, settled = np.zeros(nets, np.uint8), np.zeros(nets, np.uint8)
    value[ONE] = settled[ONE] = 1
    due = np.empty(nets, np.int64)
    heap = (_Event * (_EVENTS_PER_NET * nets))()
    circuit = _Circuit(
        nets=nets,
        gates=len(gates),
        input_count=len(inputs),
        gate=ctypes.addressof(gates),
        input=inputs.ctypes.data,
        input_delay=round(library.cells[FLIP_FLOP].delay_ps * _UNITS_PER_PS),
        load_start=starts.ctypes.data,
        load=flat.ctypes.data,
        value=value.ctypes.data,
        settled=settled.ctypes.data,
        due=due.ctypes.data,
        heap=ctypes.addressof(heap),
        capacity=len(heap),
    )
    timed, zero_delay = np.zeros(nets, np.int64), np.zeros(nets, np.int64)
    before, after = (np.ascontiguousarray(bits, np.uint8) for bits in (before, after))
    status = _load().hwsim_timed(
        ctypes.byref(circuit),
        len(before),
        before.ctypes.data,
        after.ctypes.data,
        timed.ctypes.data,
        zero_delay.ctypes.data,
    )
    if status:
        reason = "has too many events" if status == 1 else "settles elsewhere when it is timed"
        raise NetlistError(f"{netlist.top}: {reason}")
    return timed, zero_delay


@cache
def _load() -> Any:
    source = (resources.files("hwsim.gates") / "timed.c").read_text()
    library = native.load_c("timed", source, _FLAGS)
    pointer = ctypes.c_void_p
    library.hwsim_timed.argtypes = [pointer, ctypes.c_int64, pointer, pointer, pointer, pointer]
    library.hwsim_timed.restype = ctypes.c_int64
    return library
