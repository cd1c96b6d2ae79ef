"""Engine `rtl`: the elaborated design, compiled by way of Yosys's CXXRTL.

The loop that drives the ports is compiled with it (``driver.cc``). A build is kept in the user's
cache folder, under a key of everything that went into it.
"""

import ctypes
import functools
import json
import threading
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

import numpy as np

from hwsim import native, yosys
from hwsim.activity import Cycles
from hwsim.cache import cached
from hwsim.config import ArrayConfig
from hwsim.engines.lanes import Lanes
from hwsim.engines.ports import HardwareHang, Observed, Stimulus
from hwsim.engines.stalls import PORTS
from hwsim.rtl.emit import Design, emit
from hwsim.rtl.lanes import LANE_MODULE, RECODER_MODULE
from hwsim.rtl.top import TOP_MODULE
from hwsim.streams import Results, Words
from hwsim.supply import FRACTION, Supply

_CHUNK_CYCLES = 20_000
"""Between two looks at whether the user wants to stop."""

_LANES = "hwsim_all_lanes"
_WRITE = "write_cxxrtl -g0 -noflatten -noproc"

# `proc` without its clean-up (which CXXRTL's own would do): that turns a mask over a wide word
# into a concatenation of its bits, which no C++ compiler likes. All lanes become one module, which
# is left to `hwsim.engines.lanes`; the rest is flat, so that it settles in one evaluation. So does
# a recoder, a class of its own: in all rows together they would be more than half of the code.
_SCRIPT = f"""\
read_rtlil design.il
read_verilog design.v
hierarchy -check -top {TOP_MODULE}
proc -noopt
submod -name {_LANES} t:{LANE_MODULE}
setattr -mod -set keep_hierarchy 1 {_LANES} {LANE_MODULE} {RECODER_MODULE}
flatten
opt -full {LANE_MODULE}
write_json lanes.json
select {RECODER_MODULE}
{_WRITE} -namespace recoder recoder.cc
select -clear
setattr -mod -set cxxrtl_blackbox 1 {_LANES} {RECODER_MODULE}
setattr -set cxxrtl_edge "p" {_LANES}/w:clk
setattr -set cxxrtl_comb 1 {_LANES}/o:* {RECODER_MODULE}/o:*
blackbox {_LANES} {RECODER_MODULE}
delete {LANE_MODULE}
{_WRITE} design.cc
"""
_COMPILE = (
    "-c",
    "-std=c++17",
    "-fPIC",
    "-fno-rtti",
    "-fno-exceptions",
    "-fno-sanitize=undefined",
    "-g0",
    "-O2",
    "-march=native",
    f"-DFRACTION={FRACTION}",
)


class _Supply(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int64) for name in Supply._fields)


class _Port(ctypes.Structure):
    _fields_ = (
        ("supply", _Supply),
        ("words", ctypes.c_void_p),
        ("start", ctypes.c_int64),
        ("end", ctypes.c_int64),
        ("ended", ctypes.c_int64),
        ("draws", ctypes.c_uint64),
        ("taken", ctypes.c_int64),
        ("offering", ctypes.c_int64),
        ("free", ctypes.c_int64),
    )


class _Job(ctypes.Structure):
    _fields_ = (
        ("command", ctypes.c_uint32 * 5),
        ("threshold", ctypes.c_uint32),
        ("weights", _Port),
        ("activations", _Port),
        ("results", _Port),
        ("patience", ctypes.c_int64),
        ("cycle", ctypes.c_int64),
        ("moved", ctypes.c_int64),
        ("error", ctypes.c_uint32),
        ("compute", ctypes.c_uint32),
        ("weight_stall", ctypes.c_uint32),
        ("activation_stall", ctypes.c_uint32),
        ("result_stall", ctypes.c_uint32),
        ("fill_drain", ctypes.c_uint32),
    )


class _Stream:
    """What a port moves, a piece at a time: words of a source, or room for those of a sink."""

    def __init__(self, port: _Port, pieces: Iterator[Words]):
        self._port = port
        self._pieces = pieces
        self._piece: Words | None = None

    def go_on(self) -> None:
        """Give the port the next piece, if it has used up what it had."""
        port = self._port
        while port.taken == port.end and not port.ended:
            self._piece = next(self._pieces, None)
            if self._piece is None:
                port.ended = 1
            else:
                # The driver reads and writes rows one right after the other.
                self._piece = np.require(self._piece, requirements="C")
                port.words = self._piece.ctypes.data
                port.start, port.end = port.end, port.end + len(self._piece)


def build(config: ArrayConfig) -> Path:
    """Return the compiled simulator of `config`, built now unless the cache has it."""
    design = emit(config)
    folder = resources.files("hwsim.engines")
    sources = [folder.joinpath(name).read_text() for name in ("driver.cc", "lanes.cc", "lanes.py")]
    texts = (design.rtlil, design.verilog)
    parts = (_SCRIPT, *_COMPILE, native.machine(), *sources, *texts)
    return cached("rtl", ".so", parts, lambda folder: _compile(design, sources[0], folder))


def _compile(design: Design, driver: str, folder: Path) -> Path:
    (folder / "design.il").write_text(design.rtlil)
    (folder / "design.v").write_text(design.verilog)
    (folder / "driver.cc").write_text(driver)
    yosys.run(_SCRIPT, folder=folder)
    modules = json.loads((folder / "lanes.json").read_text())["modules"]
    lanes = Lanes(modules, together=_LANES, lane=LANE_MODULE)
    (folder / "lanes.cc").write_text(lanes.text())
    runtime = resources.files("pyosys") / "share/include/backends/cxxrtl/runtime"
    native.zig(folder, "c++", *_COMPILE, f"-I{runtime}", "driver.cc", "-o", "driver.o")
    # Linked by itself: letting the compiler link C++ would first build its library.
    native.zig(folder, "ld.lld", "-shared", "driver.o", "-o", "driver.so")
    return folder / "driver.so"


_loading = threading.Lock()
"""Threads that need the same design wait for one of them to build it."""


@functools.cache
def _load(config: ArrayConfig) -> ctypes.CDLL:
    library = native.load(lambda: build(config))
    library.hwsim_create.restype = ctypes.c_void_p
    library.hwsim_destroy.argtypes = [ctypes.c_void_p]
    library.hwsim_run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    return library


def run(stimulus: Stimulus, *, progress: Callable[[int], None] = lambda steps: None) -> Observed:
    """Run one layer in the compiled design.

    Parameters
    ----------
    stimulus
        What the ports are fed.
    progress
        Told the steps so far, now and then.
    """
    schedule, stalls = stimulus.schedule, stimulus.stalls
    with _loading:
        library = _load(schedule.config.unlimited)

    def at(port: str) -> _Port:
        supply = _Supply(*stimulus.supply(port))
        return _Port(supply=supply, draws=stalls.start(PORTS.index(port)))

    job = _Job(
        command=(ctypes.c_uint32 * 5)(*schedule.command),
        threshold=stalls.threshold,
        weights=at("weight"),
        activations=at("activation"),
        results=at("result"),
        patience=stimulus.patience,
    )
    results = Results(schedule)
    sink = _Stream(job.results, iter(results))
    streams = (
        _Stream(job.weights, stimulus.weights()),
        _Stream(job.activations, stimulus.activations()),
        sink,
    )
    engine_s, status = 0.0, 0
    core = library.hwsim_create()
    try:
        while status == 0:
            progress(job.compute)
            for stream in streams:
                stream.go_on()
            started = time.perf_counter()
            status = library.hwsim_run(core, ctypes.byref(job), _CHUNK_CYCLES)
            engine_s += time.perf_counter() - started
    finally:
        library.hwsim_destroy(core)
    sink.go_on()
    if status == 2:
        raise HardwareHang(f"no transfer since cycle {job.moved}")
    if status == 3:
        raise HardwareHang(f"more than the {schedule.result_words} result words of the layer")
    if status == 4:
        raise RuntimeError("the compiled design does not settle in one evaluation")
    return Observed(
        outputs=results.sums,
        result_words=job.results.taken,
        cycles=Cycles(
            compute=job.compute,
            weight_stall=job.weight_stall,
            activation_stall=job.activation_stall,
            result_stall=job.result_stall,
            fill_drain=job.fill_drain,
        ),
        weight_words=job.weights.taken,
        activation_words=job.activations.taken,
        error=bool(job.error),
        engine_s=engine_s,
    )
