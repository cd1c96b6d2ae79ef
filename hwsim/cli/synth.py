"""``hwsim synth``: what an array takes of an FPGA."""

import sys
import time
from typing import Annotated, Any

import typer

from hwsim.cli.array import array_options
from hwsim.cli.layer import layer_files, read_layer
from hwsim.cli.output import (
    JsonFile,
    check_outputs,
    check_results,
    print_table,
    refuse_changed,
    status,
    write_json,
)
from hwsim.config import ArrayConfig

EXAMPLE = "Example: hwsim synth --target ecp5 --rows 4 --columns 16 --lane carry-fold --pnr"


_SEEDS = "1,2,3"


@array_options
def synth(
    array: ArrayConfig,
    target: Annotated[str, typer.Option(help="ecp5, xcup (UltraScale+) or generic")],
    pnr: Annotated[
        bool,
        typer.Option(
            "--pnr",
            help="place and route, for the clock (ecp5 only); says before about how long it takes",
        ),
    ] = False,
    seeds: Annotated[
        str, typer.Option(metavar="S,...", help="seeds of place and route; the best counts")
    ] = _SEEDS,
    check: Annotated[
        str | None,
        typer.Option(
            metavar="FILE[:NAME]",
            help="run the netlist on two row blocks of a layer in Icarus, or of the one that is "
            "'shipped'; exit 1 if it is wrong",
            show_default=False,
        ),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Map the array to an FPGA: look-up tables, registers, block RAMs, clock."""
    started = time.perf_counter()
    if not pnr:
        refuse_changed("--pnr", seeds=(seeds, _SEEDS))
    check_results(None, (), json_file, layer_files(check))
    check_outputs(json_file)
    from hwsim.pnr import expected_minutes
    from hwsim.synth import check as check_netlist
    from hwsim.synth import check_simulator, checked_part, synthesize

    layer = None
    if check is not None:
        layer = read_layer(check)
        check_simulator()
        array = array.for_in_features(layer.in_features)
        layer = checked_part(layer, array)
    chosen = _seeds(seeds) if pnr else ()
    if chosen and sys.stderr.isatty():
        minutes = len(chosen) * expected_minutes(array.rows * array.columns)
        print(f"about {minutes:.0f} minutes, unless it was done before", file=sys.stderr)
    with status("synth") as progress:
        report = synthesize(array, target, seeds=chosen, progress=progress)
        checked, checked_layer = None, None
        if layer is not None:
            size = f"{layer.out_features} x {layer.in_features}, {layer.tokens} tokens"
            progress(f"running {layer.name} ({size}) on the netlist")
            checked = check_netlist(report, layer)
            checked_layer = {
                "name": layer.name,
                "out_features": layer.out_features,
                "in_features": layer.in_features,
                "tokens": layer.tokens,
            }
    result = report.as_dict() | {"checked": checked, "checked_layer": checked_layer}
    result["wall_s"] = time.perf_counter() - started
    if json_file != "-":
        _print(result)
    if json_file is not None:
        write_json(json_file, result)
    if checked is False:
        print("hwsim: the netlist's sums or cycles are wrong", file=sys.stderr)
        raise typer.Exit(1)


def _seeds(text: str) -> tuple[int, ...]:
    from hwsim.errors import InputError

    try:
        seeds = tuple(dict.fromkeys(int(seed) for seed in text.split(",")))
    except ValueError:
        raise InputError(f"--seeds: numbers with commas between them, not {text!r}") from None
    if not all(0 <= seed < 1 << 31 for seed in seeds):
        raise InputError(f"--seeds: must be from 0 to {(1 << 31) - 1}, not {text!r}")
    return seeds


def _print(result: dict[str, Any]) -> None:
    array, lanes = result["array"], result["lanes_only"]
    print(
        f"{array['rows']} x {array['columns']} {array['lane']} lanes on {result['target']}: "
        f"{result['trit_macs']} multiply-accumulates a cycle"
    )
    names = {
        "lut": "look-up tables",
        "lut4_equivalents": "LUT4-equivalents",
        "lutram": "look-up tables as memory",
        "ff": "registers",
        "carry": "carry cells",
        "bram": "block RAMs",
        "dsp": "DSP blocks",
    }
    rows = [
        (
            text,
            *(f"{cells[name]:,}" for cells in (result, lanes)),
            *(f"{cells[name] / result['trit_macs']:.2f}" for cells in (result, lanes)),
        )
        for name, text in names.items()
        if name in result
    ]
    print_table("Cells", ("", "core", "lanes", "core, a trit-MAC", "lanes, a trit-MAC"), rows)
    if result["seeds"]:
        clocks = ", ".join(f"{mhz:.1f} (seed {seed})" for seed, mhz in result["seeds"].items())
        print(f"highest clock after routing: {result['fmax_mhz']:.1f} MHz; of {clocks}")
        sites = [
            (site, f"{counts['used']:,}", f"{counts['used'] / counts['available']:.1%}")
            for site, counts in result["utilization"].items()
        ]
        print_table("Used sites, test harness included", ("site", "used", "share"), sites)
        print(f"for ecppack: {result['textcfg']}")
    print(f"netlist: {result['netlist']}")
    if layer := result["checked_layer"]:
        verdict = "right" if result["checked"] else "WRONG"
        print(
            f"the netlist's sums are {verdict}: "
            f"{layer['out_features']} outputs of {layer['name']}, {layer['tokens']} tokens"
        )
