"""`synthesize`: what an array takes of an FPGA, and how fast it is there.

Yosys maps the core and, by themselves, its lanes; nextpnr places and routes. All that takes longer
than a moment is kept in the user's cache folder, under a key of everything that went into it.
"""

import inspect
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from hwsim import ccu2c, dp16kd, pnr, yosys
from hwsim.cache import cached
from hwsim.config import ArrayConfig
from hwsim.errors import InputError
from hwsim.layer import Layer
from hwsim.rtl.emit import Design, emit, emit_lanes
from hwsim.rtl.lanes import MAPPED_ONCE
from hwsim.rtl.ram import RAM_MODULE
from hwsim.testbench import make_testbench

Progress = Callable[[str], None]
"""Told what is being done now."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """An FPGA family, in the words of Yosys.

    Attributes
    ----------
    command
        Yosys command that maps a design to it, after others if need be.
    lut, lutram, ff, carry, bram, dsp
        Patterns of its cells' types. Look-up tables that serve as memory or as a shift register
        count as `lutram`.
    models, model_options
        Verilog of its cells, for simulation, in the folder that comes with Yosys; and what Icarus
        has to be told for it.
    """

    command: str
    lut: tuple[str, ...]
    lutram: tuple[str, ...] = ()
    ff: tuple[str, ...]
    carry: tuple[str, ...] = ()
    bram: tuple[str, ...]
    dsp: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    model_options: tuple[str, ...] = ()


TARGETS = {
    "ecp5": Target(
        command="synth_ecp5",
        lut=("LUT4",),
        lutram=("TRELLIS_DPR16X4",),
        ff=("TRELLIS_FF",),
        carry=("CCU2C",),
        bram=("DP16KD", "PDPW16KD"),
        dsp=("MULT18X18D", "ALU54B"),
        models=(
            "lattice/cells_sim_ecp5.v",
            "lattice/common_sim.vh",
            "lattice/ccu2c_sim.vh",
        ),
        model_options=("-DNO_INCLUDES",),
    ),
    "xcup": Target(
        command="synth_xilinx -family xcup -noiopad -noclkbuf",
        lut=("LUT[1-6]",),
        lutram=("RAM*M*", "RAM*X1*", "SRL*"),
        ff=("FD?E",),
        carry=("CARRY[48]",),
        bram=("RAMB*", "URAM*"),
        dsp=("DSP*",),
        models=("xilinx/cells_sim.v",),
    ),
    # What no chip is known of has no values at power-up either.
    "generic": Target(
        command="attrmap -remove init\nsynth -flatten -lut 6",
        lut=("$lut",),
        ff=("$_*DFF*_",),
        bram=(RAM_MODULE,),
    ),
}
"""What there is to choose from, by the name on the command line."""


@dataclass(frozen=True)
class Resources:
    """What a netlist is made of.

    Attributes
    ----------
    target
        Name of the target.
    trit_macs
        Multiply-accumulates a cycle: rows x columns.
    cells
        Cells by type, those of all copies of a module.
    """

    target: str
    trit_macs: int
    cells: dict[str, int]

    def count(self, kind: str) -> int:
        """Return the number of cells of a kind: an attribute of `Target`."""
        patterns = getattr(TARGETS[self.target], kind)
        return sum(n for cell, n in self.cells.items() if any(fnmatch(cell, p) for p in patterns))

    @property
    def lut4_equivalents(self) -> int:
        """Look-up tables of an ECP5, and the two inside every carry cell."""
        return self.count("lut") + 2 * self.count("carry")

    def as_dict(self) -> dict[str, Any]:
        """Return the counts under their names in JSON."""
        counts = {
            kind: self.count(kind) for kind in ("lut", "lutram", "ff", "carry", "bram", "dsp")
        }
        result: dict[str, Any] = {**counts, "trit_macs": self.trit_macs}
        result["lut_per_trit_mac"] = counts["lut"] / self.trit_macs
        if self.target == "ecp5":
            result["lut4_equivalents"] = self.lut4_equivalents
            result["lut4_equivalents_per_trit_mac"] = self.lut4_equivalents / self.trit_macs
        return result


@dataclass(frozen=True)
class SynthReport:
    """What synthesis made of an array.

    Attributes
    ----------
    config
        The array.
    core
        The whole core.
    lanes_only
        The lanes by themselves: see `hwsim.rtl.lane_array.LaneArray`.
    netlist
        The core as Verilog, made of cells of the target.
    routes
        One a seed, if the core was placed and routed.
    """

    config: ArrayConfig
    core: Resources
    lanes_only: Resources
    netlist: Path
    routes: tuple[pnr.Route, ...] = ()

    @property
    def best(self) -> pnr.Route | None:
        """The fastest of the routes."""
        return max(self.routes, key=lambda route: route.fmax_mhz, default=None)

    def as_dict(self) -> dict[str, Any]:
        """Return the report under its names in JSON."""
        best = self.best
        return {
            "target": self.core.target,
            "array": self.config.model_dump(),
            **self.core.as_dict(),
            "fmax_mhz": best.fmax_mhz if best else None,
            "lanes_only": {**self.lanes_only.as_dict(), "fmax_mhz": None},
            "seeds": {str(route.seed): route.fmax_mhz for route in self.routes},
            "utilization": best.utilization if best else None,
            "netlist": str(self.netlist),
            "textcfg": str(best.textcfg) if best else None,
        }


def synthesize(
    config: ArrayConfig,
    target: str,
    *,
    seeds: tuple[int, ...] = (),
    progress: Progress = lambda what: None,
) -> SynthReport:
    """Map an array to a target; place and route it once for every seed.

    Parameters
    ----------
    config
        The array. Lanes with multipliers are mapped without DSP blocks, so that their size compares
        with that of the others.
    target
        One of `TARGETS`.
    seeds
        Seeds of nextpnr; only for `ecp5`.
    progress
        Told what is being done.

    Raises
    ------
    InputError
        If there is no such target, or it cannot be routed.
    """
    if target not in TARGETS:
        raise InputError(f"target {target!r}: no such target; known: {', '.join(TARGETS)}")
    if seeds and target != "ecp5":
        raise InputError(f"--pnr needs --target ecp5, not {target}")
    if seeds:
        pnr.check_installed()
    progress("mapping the lanes")
    lanes = _map(emit_lanes(config), config, target)
    progress("mapping the core")
    core = _map(emit(config), config, target)
    routes = []
    for seed in seeds:
        progress(f"placing and routing, seed {seed}")
        routes.append(_route(core, seed))
    return SynthReport(
        config=config,
        core=_resources(core, config, target),
        lanes_only=_resources(lanes, config, target),
        netlist=core / "netlist.v",
        routes=tuple(routes),
    )


def checked_part(layer: Layer, config: ArrayConfig) -> Layer:
    """Return as much of a layer as a netlist runs in minutes: two row blocks, two token blocks.

    All inputs remain, so that the sums are the layer's own.
    """
    part = layer.take(min(layer.tokens, config.batch + 1))
    return replace(part, weight=part.weight[: 2 * config.rows], weight_latent=None)


def check(report: SynthReport, layer: Layer) -> bool:
    """Run the netlist of the core on a layer, in Icarus; return whether its testbench passes.

    The buffer's memory is simulated as the Verilog that its block RAMs are made from.

    Raises
    ------
    InputError
        If Icarus is not there, or the array cannot run the layer.
    """
    check_simulator()
    config = report.config
    config.check_in_features(layer.in_features, where=f"layer {layer.name}")
    target = TARGETS[report.core.target]
    sources = [report.netlist, report.netlist.with_name("design.v")]
    with tempfile.TemporaryDirectory(prefix="hwsim-") as name:
        folder = Path(name)
        for file, text in make_testbench(layer, config, source="core.v").items():
            (folder / file).write_text(text)
        for model in (yosys.share() / file for file in target.models):
            # Icarus has no $error outside of processes.
            lines = [line for line in model.read_text().splitlines() if "$error(" not in line]
            (folder / model.name).write_text("\n".join(lines))
            sources += [folder / model.name] if model.suffix == ".v" else []
        options = ("-g2012", *target.model_options, "-o", "tb", "core_tb.v")
        _call("iverilog", *options, *sources, folder=folder)
        return "PASS" in _call("vvp", "-n", "tb", folder=folder)


def check_simulator() -> None:
    """Refuse to go on without Icarus.

    Raises
    ------
    InputError
        Saying what is missing.
    """
    if shutil.which("iverilog") is None or shutil.which("vvp") is None:
        raise InputError("--check needs Icarus Verilog: iverilog and vvp on the PATH")


def _call(command: str, *arguments: str | Path, folder: Path) -> str:
    done = subprocess.run([command, *arguments], cwd=folder, capture_output=True, text=True)
    # A testbench that fails exits with 1 and says why on stdout.
    if done.returncode and not done.stdout.strip():
        raise RuntimeError(f"{command}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def _script(design: Design, config: ArrayConfig, target: Target) -> str:
    """Return the Yosys script that maps a design; what there are many of is mapped once.

    So the buffer's memory stays a module, too, for which there are no models to simulate. Without
    block RAMs it is a black box. Equal registers are merged, unless they themselves are to be kept:
    that their wires are, does not help the copies that the wires need.
    """
    no_dsp = " -nodsp" if not config.is_ternary and target.dsp else ""
    ram = f"setattr -mod -set keep_hierarchy 1 {RAM_MODULE}\n" if design.verilog else ""
    if RAM_MODULE in target.bram:
        ram = ram and f"blackbox {RAM_MODULE}\n"
    return f"""\
read_rtlil design.il
read_verilog design.v
{ram}setattr -mod -set keep_hierarchy 1 {" ".join(MAPPED_ONCE)}
proc
opt_clean
opt_dff
setattr -set keep 1 a:keep %ci1 t:$*dff* %i
{target.command}{no_dsp} -top {design.top}
write_json mapped.json
"""


def _finish(design: Design) -> str:
    # For simulation, registers start at zero, as those of FPGAs do. Where an input is x, a table as
    # multiplexers tells whether it matters. Icarus puts a vector together anew for every bit that
    # changes, so that bits are nets of their own.
    memory = f"delete ={RAM_MODULE}\n" if design.verilog else ""
    return f"""\
read_json packed.json
hierarchy -top {design.top}
opt_clean
tee -q -o stat.json stat -json -top {design.top}
write_json netlist.json
{memory}setundef -init -zero
lut2mux
splitnets
write_verilog -noattr netlist.v
"""


def _map(design: Design, config: ArrayConfig, name: str) -> Path:
    """Return the folder with netlist and statistics of a design, made now unless it is there."""
    target = TARGETS[name]
    first, last = _script(design, config, target), _finish(design)
    passes = (ccu2c, dp16kd) if name == "ecp5" else ()
    sources = [inspect.getsource(module) for module in passes]

    def build(folder: Path) -> Path:
        (folder / "design.il").write_text(design.rtlil)
        (folder / "design.v").write_text(design.verilog)
        yosys.run(first, folder=folder)
        mapped = json.loads((folder / "mapped.json").read_text())
        for module in passes:
            module.pack(mapped)
        (folder / "packed.json").write_text(json.dumps(mapped))
        yosys.run(last, folder=folder)
        for file in ("mapped.json", "packed.json"):
            (folder / file).unlink()
        return folder

    return cached("synth", "", (first, last, *sources, design.rtlil, design.verilog), build)


def _route(core: Path, seed: int) -> pnr.Route:
    harness = pnr.harness(core / "netlist.json")

    def build(folder: Path) -> Path:
        pnr.run(harness, core / "netlist.json", folder, seed=seed)
        return folder

    parts = (core.name, harness, str(seed), *pnr.fingerprint())
    return pnr.Route.read(cached("route", "", parts, build), seed)


def _resources(folder: Path, config: ArrayConfig, target: str) -> Resources:
    cells = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    return Resources(target, config.rows * config.columns, cells)
