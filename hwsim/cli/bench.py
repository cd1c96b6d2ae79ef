"""``hwsim bench``: the engines beside other simulators, on the same layer."""

import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer

from hwsim.cli.array import array_options
from hwsim.cli.output import JsonFile, check_outputs, print_table, status, write_json
from hwsim.config import ArrayConfig
from hwsim.errors import InputError

EXAMPLE = "Example: hwsim bench --only hwsim-rtl --only verilator"


@array_options(default="default-64x64")
def bench(
    array: ArrayConfig,
    out_features: Annotated[int, typer.Option(help="of the layer", min=1)] = 6912,
    in_features: Annotated[int, typer.Option(help="of the layer", min=1)] = 2560,
    tokens: Annotated[int, typer.Option(help="of the layer", min=1)] = 8,
    repeat: Annotated[int, typer.Option(help="runs of each", min=1)] = 3,
    only: Annotated[
        list[str] | None, typer.Option(help="a contender; may be given more than once")
    ] = None,
    json_file: JsonFile = None,
    page: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", help="write bench.md and pictures, with a layer that grows 16 times"
        ),
    ] = None,
) -> None:
    """Measure speeds as ratios in one run, with those simulators that are installed.

    Nothing is installed by this command. Slow simulators run fewer row blocks of the layer.
    """
    check_outputs(json_file)
    from hwsim import bench

    known = bench.contenders()
    for name in only or ():
        if name not in known:
            raise InputError(f"--only {name}: no such contender; known: {', '.join(known)}")
    reasons = {name: known[name].missing() for name in only or known}
    absent = {name: reason for name, reason in reasons.items() if reason is not None}
    names = [name for name in reasons if name not in absent]
    if not names:
        raise InputError("; ".join(f"{name}: {reason}" for name, reason in absent.items()))
    array.check_in_features(in_features, where="bench")
    job = bench.Job(array.for_in_features(in_features), out_features, in_features, tokens)
    sizes: list[tuple[bench.Job, list[bench.Measurement]]] = []
    with status("bench") as tell:

        def measured(names: list[str], job: bench.Job) -> list[bench.Measurement]:
            found = []
            for event in bench.measure(names, job, repeat=repeat):
                if isinstance(event, str):
                    tell(event)
                elif isinstance(event, bench.Failure):
                    absent[event.contender] = f"it failed: {event.reason}"
                else:
                    found.append(event)
            return found

        measurements = measured(names, job)
        names = [m.contender for m in measurements]
        if not measurements:
            raise InputError("; ".join(f"{name}: {reason}" for name, reason in absent.items()))
        if page is not None:
            sizes = [
                (size, measured([name for name in names if name in bench.GROWING], size))
                for size in job.sizes()
            ]
    if page is not None:
        from hwsim.bench.page import write_page

        command = " ".join(["hwsim", *sys.argv[1:]])
        about = {m.contender: known[m.contender].what for m in measurements}
        write_page(page, command, job, measurements, about, absent, sizes)
    if json_file != "-":
        _print(job, measurements, known, absent)
    if json_file is not None:
        content: dict[str, Any] = {
            "array": array.model_dump(),
            "layer": {
                "out_features": out_features,
                "in_features": in_features,
                "tokens": tokens,
                "zero_fraction": job.zero_fraction,
            },
            "contenders": [
                {
                    **asdict(m),
                    "what": known[m.contender].what,
                    "cycles_per_s": m.cycles_per_s,
                    "macs_per_s": m.macs_per_s,
                    "spread": m.spread,
                }
                for m in measurements
            ],
            "absent": absent,
        }
        write_json(json_file, content)


def _print(
    job: Any, measurements: list[Any], known: dict[str, Any], absent: dict[str, str]
) -> None:
    from hwsim.bench.page import COLUMNS, SPREAD, table_rows, title

    print_table(title(job, measurements), COLUMNS, table_rows(measurements))
    print(SPREAD)
    for m in measurements:
        print(f"{m.contender}: {known[m.contender].what}")
    for name, reason in absent.items():
        print(f"{name}: left out, {reason}")
