"""``hwsim simulate``: run one layer on an array."""

import json
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from hwsim.cli.array import array_options
from hwsim.cli.gates import SAMPLES, describe_gates, print_gates, write_gates
from hwsim.cli.layer import (
    SHIPPED,
    Activations,
    ActivationsOption,
    OperandKind,
    OperandsOption,
    Seed,
    Tokens,
    layer_files,
    read_layer,
)
from hwsim.cli.output import (
    JsonFile,
    check_outputs,
    check_results,
    distinct_files,
    print_cycles,
    print_extrapolated,
    print_table,
    progress_bar,
    write_json,
)
from hwsim.config import MULTIPLIER_LANES, ArrayConfig
from hwsim.errors import InputError

EXAMPLE = "Example: hwsim simulate --layer model.safetensors:blocks.0.ffn.up --rows 8 --check"


class Pricing(StrEnum):
    """What energies come from."""

    table = "table"
    gates = "gates"


@array_options
def simulate(
    array: ArrayConfig,
    layer: Annotated[
        str | None,
        typer.Option(metavar="FILE[:NAME]", help="a layer of a trace [default: a shipped one]"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="all linear layers of a model, a config.json or a trace, instead of one layer",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="pysim, rtl, fast or gates")] = "rtl",
    tokens: Tokens = None,
    activations: ActivationsOption = Activations.trace,
    seed: Seed = 0,
    stall_rate: Annotated[
        float, typer.Option(help="how often sources and sinks wait: 0 <= rate < 1")
    ] = 0.0,
    stall_seed: Annotated[
        int | None, typer.Option(help="of the stalls [default: 0]", min=0, show_default=False)
    ] = None,
    operands: OperandsOption = OperandKind.trace,
    check: Annotated[
        bool, typer.Option("--check", help="compare the outputs with numpy; exit 1 if they differ")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            help="write the outputs as .npy: int32 sums before scales; of fp16 the real values",
            show_default=False,
        ),
    ] = None,
    vcd: Annotated[
        Path | None, typer.Option(help="write waveforms (pysim only)", show_default=False)
    ] = None,
    toggles: Annotated[
        bool, typer.Option("--toggles", help="count the bits that change, by part (fast only)")
    ] = False,
    profile: Annotated[
        Path | None,
        typer.Option(
            help="write the timeline, for ui.perfetto.dev or chrome://tracing", show_default=False
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="with --model: layers side by side [default: 1]; with --split: parts [default: "
            "all processors]",
            min=1,
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="run N parts of the layer's row blocks side by side, each by itself: cycles are "
            "their sum",
            min=1,
            show_default=False,
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(
            help="with --model: run so many row blocks a layer", min=1, show_default=False
        ),
    ] = None,
    zero_fraction: Annotated[
        float | None,
        typer.Option(
            help="with --model NAME: share of zero trits [default: 0.42]",
            min=0,
            max=1,
            show_default=False,
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="with --model: keep results here, resume", show_default=False
        ),
    ] = None,
    energy: Annotated[
        Pricing, typer.Option(help="price counts with the tables, or toggles of gates, too")
    ] = Pricing.table,
    saif: Annotated[
        Path | None,
        typer.Option(help="write the lanes' activity as SAIF (gates only)", show_default=False),
    ] = None,
    netlist: Annotated[
        Path | None,
        typer.Option(help="write the lane's cells as Verilog (gates only)", show_default=False),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Run a layer on the array, cycle by cycle, and price what happened."""
    if stall_seed is not None and not stall_rate:
        raise InputError("--stall-seed is for --stall-rate")
    if model is not None:
        check_outputs(json_file)
        for name, given in (
            ("--layer", layer),
            ("--output", output),
            ("--vcd", vcd),
            ("--energy gates", True if energy is Pricing.gates else None),
            ("--saif", saif),
            ("--netlist", netlist),
            ("--profile", profile),
            ("--split", split),
            ("--activations", None if activations is Activations.trace else activations),
        ):
            if given is not None:
                raise InputError(f"{name} and --model cannot both be given")
        if sample is not None and stall_rate:
            raise InputError("--stall-rate and --sample cannot both be given")
        _check_toggles(toggles, engine)
        from hwsim.cli.model import simulate_model
        from hwsim.engines.stalls import Stalls
        from hwsim.whole_model import RESULT_FILES, Plan

        check_results(results, RESULT_FILES, json_file, [model])

        simulate_model(
            model,
            Plan(
                config=array,
                engine=engine,
                kind=operands.value,
                stalls=Stalls(stall_rate, stall_seed or 0),
                check=check,
                toggles=toggles,
                sample=sample,
                seed=seed,
            ),
            tokens=tokens,
            zero_fraction=zero_fraction,
            jobs=jobs or 1,
            folder=results,
            json_file=json_file,
        )
        return
    if jobs is not None and split is None:
        raise InputError("--jobs is for --model or --split")
    for name, value in (
        ("--sample", sample),
        ("--zero-fraction", zero_fraction),
        ("--results", results),
    ):
        if value is not None:
            raise InputError(f"{name} is for --model")
    if split is not None:
        for name, other in (
            ("--vcd", vcd),
            ("--profile", profile),
            ("--energy gates", True if energy is Pricing.gates else None),
        ):
            if other is not None:
                raise InputError(f"{name} is of one run; --split makes several")
    outputs = [p for p in (output, vcd, saif, netlist, profile, json_file) if p not in (None, "-")]
    distinct_files([*map(str, outputs)], layer_files(layer))
    check_outputs(*outputs)
    started = time.perf_counter()
    import numpy as np

    from hwsim import engines
    from hwsim.engines.ports import Stimulus
    from hwsim.engines.stalls import Stalls
    from hwsim.operands import matches, operands_of
    from hwsim.results import describe

    data = read_layer(SHIPPED if layer is None else layer, tokens, activations, seed)
    fed = operands_of(data, array, kind=operands.value, seed=seed)
    stalls = Stalls(stall_rate, stall_seed or 0)
    options: dict[str, Any] = {}
    if vcd is not None:
        if engine != "pysim":
            raise InputError(f"--vcd needs --engine pysim, not {engine}")
        options["vcd"] = vcd
    for option, path in (("--saif", saif), ("--netlist", netlist)):
        if path is not None and engine != "gates":
            raise InputError(f"{option} needs --engine gates, not {engine}")
    gate_options: dict[str, Any] = {
        "samples": SAMPLES if energy is Pricing.gates else 0,
        "high": saif is not None,
    }
    if engine == "gates":
        options |= gate_options
    _check_toggles(toggles, engine)
    if toggles:
        options["toggles"] = True
    split_up: dict[str, Any] = {}
    with progress_bar(f"{engine}: {data.name}", engines.schedule_of(data, array).steps) as report:
        options |= {"engine": engine, "operands": fed, "stalls": stalls, "progress": report}
        if split is None:
            run = engines.run(data, array, **options)
        else:
            from hwsim.parallel import processors
            from hwsim.split import describe_split, executor_for, joined, run_split

            with executor_for(engine, jobs or min(split, processors())) as executor:
                parts = run_split(data, array, parts=split, executor=executor, **options)
            run = joined(parts)
            split_up = describe_split(parts, stalled=stalls.rate > 0)
    checked = matches(run.outputs, fed, array) if check else None
    if output is not None:
        from hwsim.files import replacing

        with replacing(output) as temporary, open(temporary, "wb") as file:
            np.save(file, run.outputs)
    if profile is not None:
        from hwsim.files import write_atomically
        from hwsim.profile import timeline

        schedule = engines.schedule_of(data, array)
        events = timeline(Stimulus(schedule=schedule, operands=fed, stalls=stalls))
        write_atomically(profile, json.dumps(events, allow_nan=False))
    result = describe(data, array, engine, run, stalled=stalls.rate > 0)
    if split_up:
        split_up["split"]["predicted_cycles_of_one_run"] = result["predicted_cycles"]
    result |= {"operands": fed.source, "checked": checked} | split_up
    gates = run.gates
    if gates is None and energy is Pricing.gates:
        # Cycles and outputs are those of the engine asked for; toggles are counted besides.
        gates = engines.run(data, array, engine="gates", operands=fed, **gate_options).gates
    if gates is not None:
        about = describe_gates(gates, priced=energy is Pricing.gates)
        result["energy_pj"] |= about.pop("energies", {})
        result |= about
        write_gates(gates, saif, netlist)
    result["wall_s"] = time.perf_counter() - started
    if json_file != "-":
        _print(result)
    if json_file is not None:
        write_json(json_file, result)
    if checked is False:
        print("hwsim: the outputs differ from numpy", file=sys.stderr)
        raise typer.Exit(1)


def _check_toggles(toggles: bool, engine: str) -> None:
    if toggles and engine != "fast":
        raise InputError(f"--toggles needs --engine fast, not {engine}")


def _print(result: dict[str, Any]) -> None:
    layer, array, cycles = result["layer"], result["array"], result["cycles"]
    print(
        f"{layer['name']}: {layer['out_features']} x {layer['in_features']}, "
        f"{layer['tokens']} tokens, {layer['zero_fraction']:.1%} zero trits, on "
        f"{array['rows']} x {array['columns']} {array['lane']} lanes, batch {array['batch']}, "
        f"engine {result['engine']}"
    )
    split = result.get("split")
    if split:
        print(f"{len(split['parts'])} parts: {split['about']}")
    print_cycles("Cycles, measured", cycles)
    if result["predicted_cycles"] is not None:
        print(f"predicted from the shape: {result['predicted_cycles']:,} cycles")
        if split:
            alone = split["predicted_cycles_of_one_run"]
            print(f"predicted for the layer in one run: {alone:,} cycles")
    if result["predicted_cycles"] != result["stall_free_cycles"]:
        # The array's own buses make it wait all the same.
        print(f"if ports never had to wait: {result['stall_free_cycles']:,} cycles")
    macs = result["activity"]["macs"]
    columns = ("pJ a MAC", array["lane"], *(f"{lane}, predicted" for lane in MULTIPLIER_LANES))
    energies = [
        result["energy_pj"],
        *(result["baseline"][x]["energy_pj"] for x in MULTIPLIER_LANES),
    ]
    prices = [
        (scope, *(f"{energy[scope]['total'] / macs:.4g}" for energy in energies))
        for scope in result["baseline"][MULTIPLIER_LANES[0]]["energy_pj"]
    ]
    print_table("Energy at 7 nm; without wires, clock tree and leakage", columns, prices)
    print_extrapolated(result)
    if "toggles" in result:
        print_gates(result)
    if "word_toggles" in result:
        counts = result["word_toggles"] | {"tree": sum(result["word_toggles"]["tree"])}
        rows = [(part, f"{n:,}", f"{n / macs:.4g}") for part, n in counts.items()]
        print_table("Bits that change", ("part", "toggles", "a MAC"), rows)
    if result["checked"] is not None:
        print("outputs equal numpy" if result["checked"] else "OUTPUTS DIFFER FROM NUMPY")
