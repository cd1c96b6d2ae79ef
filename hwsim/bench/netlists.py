"""Simulators of netlists as contenders: one lane, the one whose gates `hwsim-gates` evaluates.

They are given that lane's inputs of consecutive steps, again and again, and compare its output in
every cycle. They count no toggles, which spares them more work than any other way to run them.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwsim import engines
from hwsim.bench import Contender, Job, Work
from hwsim.bench.peers import call, verilator, without_command, without_verilator
from hwsim.gates import export
from hwsim.gates.library import load
from hwsim.gates.netlist import Netlist

_STEPS = 4_000
"""Different ones, about."""

_ICARUS_CYCLES = 10_000
_VERILATOR_CYCLES = 500_000

_BENCH = """
module hwsim_bench (input clk);
  reg [{width}-1:0] vectors [0:{steps}-1];
  reg [{width}-1:0] now;
  integer cycle = 0, wrong = 0;
  wire [{outputs}-1:0] found;
  wire [{outputs}-1:0] expected;
  {wires}
  {top} lane (.clk(clk), {pins});
  assign {{{order}}} = now;
  initial $readmemh("vectors.hex", vectors);
  always @(posedge clk) begin
    now <= vectors[cycle % {steps}];
    cycle <= cycle + 1;
    if (cycle > {settled} && found !== expected) wrong <= wrong + 1;
    if (cycle == {cycles}) begin
      $display("%0d of %0d cycles wrong", wrong, cycle - {settled});
      $finish;
    end
  end
endmodule
"""
_CLOCK = """
module hwsim_clock;
  reg clk = 0;
  hwsim_bench bench (clk);
  always #1 clk = ~clk;
endmodule
"""


def _vectors(lane: Netlist, latency: int, inputs: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what a lane gets and must give in each cycle, shape (steps, inputs and outputs).

    What belongs to the accumulator comes `latency` cycles later, and the last step comes before the
    first one.
    """
    late = []
    for port, nets in lane.inputs.items():
        late += [port in ("accumulator", "first")] * len(nets)
    sums = lane.settle(inputs)[:, lane.output_nets]
    both = np.hstack([inputs, sums])
    shifted = np.roll(both, latency, axis=0)
    return np.where([*late, *[True] * sums.shape[1]], shifted, both)


def _write(job: Job, folder: Path, cycles: int) -> int:
    """Write the netlist, its bench and the vectors; return the columns of the lane."""
    columns = job.config.columns
    rows = max(1, _STEPS * columns // (job.in_features * job.tokens))
    job = replace(job, config=job.config.replace(rows=1), out_features=rows)
    steps = engines.schedule_of(job.layer, job.config).steps
    activity = engines.run(job.layer, job.config, engine="gates", samples=steps).gates
    assert activity is not None
    assert activity.samples is not None
    lane, latency = activity.netlists.lane, job.config.lane_latency
    vectors = _vectors(lane, latency, activity.samples["lane"][1])
    width = vectors.shape[1]
    (output,) = lane.outputs
    text = _BENCH.format(
        top=lane.top,
        width=width,
        outputs=len(lane.output_nets),
        steps=steps,
        settled=2 * latency + 2,
        cycles=cycles,
        wires=" ".join(f"wire [{len(nets)}-1:0] {port};" for port, nets in lane.inputs.items()),
        pins=", ".join(f".{port}({port})" for port in lane.inputs) + f", .{output}(found)",
        # The first net is the lowest bit of a vector.
        order=", ".join(["expected", *reversed([*lane.inputs])]),
    )
    models = export.cell_models(load())
    (folder / "bench.v").write_text(export.verilog(lane) + models + text)
    (folder / "clock.v").write_text(_CLOCK)
    filled = np.pad(vectors[:, ::-1], [(0, 0), (-width % 8, 0)])
    digits = -(-width // 4)
    lines = (row.tobytes().hex()[-digits:] for row in np.packbits(filled, axis=1))
    (folder / "vectors.hex").write_text("\n".join(lines) + "\n")
    return columns


def _timed(command: list[str], folder: Path, macs: int) -> Callable[[], Work]:
    def run() -> Work:
        started = time.perf_counter()
        line = call(command, folder).splitlines()[0]
        seconds = time.perf_counter() - started
        if not line.startswith("0 of "):
            raise RuntimeError(f"netlist: {line}")
        return Work(seconds, None, macs)

    return run


def _icarus(job: Job, folder: Path) -> Callable[[], Work]:
    columns = _write(job, folder, _ICARUS_CYCLES)
    call(["iverilog", "-g2012", "-o", "bench", "-s", "hwsim_clock", "bench.v", "clock.v"], folder)
    return _timed(["vvp", "bench"], folder, columns * _ICARUS_CYCLES)


def _verilator(job: Job, folder: Path) -> Callable[[], Work]:
    columns = _write(job, folder, _VERILATOR_CYCLES)
    main = resources.files("hwsim.bench").joinpath("netlist_main.cc").read_text()
    (folder / "main.cc").write_text(main)
    program = verilator()
    assert program is not None
    call(
        [program, "--cc", "--exe", "--build", "-O3", "--x-assign", "fast", "--x-initial", "fast",
         "--output-split", "0", "-CFLAGS", "-O3 -march=native", "-Wno-fatal",
         "--top-module", "hwsim_bench", "bench.v", "main.cc"],
        folder,
    )  # fmt: skip
    return _timed([str(folder / "obj_dir" / "Vhwsim_bench")], folder, columns * _VERILATOR_CYCLES)


CONTENDERS = [
    Contender(
        "icarus-netlist",
        "the netlist of one lane, that of hwsim-gates, interpreted; counts no toggles",
        without_command("iverilog"),
        _icarus,
    ),
    Contender(
        "verilator-netlist",
        "the same netlist, compiled; counts no toggles",
        without_verilator,
        _verilator,
    ),
]
