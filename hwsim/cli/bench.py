"""``hwsim bench``: the engines beside other simulators, on the same layer."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwsim.cli.array import array_options
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
from hwsim.errors import InputError
from hwsim.files import make_folder

if TYPE_CHECKING:
    from hwsim.bench import Comparison, Contender

OUT_FEATURES, IN_FEATURES = 6912, 2560
LayerSide = Annotated[int, typer.Option(help="of the layer", min=1, max=1 << 24)]

EXAMPLE = "Example: hwsim bench --only hwsim-rtl --only verilator"


@array_options(default="default-64x64")
def bench(
    array: ArrayConfig,
    out_features: Annotated[
        int, typer.Option(help="of the layer", min=1, max=1 << 24)
    ] = OUT_FEATURES,
    in_features: Annotated[
        int, typer.Option(help="of the layer", min=1, max=1 << 24)
    ] = IN_FEATURES,
    tokens: Annotated[int, typer.Option(help="of the layer", min=1)] = 8,
    model: Annotated[
        str | None,
        typer.Option(
            help="all linear layers of a model, a name or config.json, in place of one layer"
        ),
    ] = None,
    repeat: Annotated[int, typer.Option(help="runs of each", min=1)] = 3,
    only: Annotated[
        list[str] | None, typer.Option(help="a contender; may be given more than once")
    ] = None,
    json_file: JsonFile = None,
    page: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="write bench.md and pictures, with a layer that grows 16 times and a whole model",
        ),
    ] = None,
) -> None:
    """Measure speeds as ratios in one run, with those simulators that are installed.

    Nothing is installed by this command. Slow simulators run fewer row blocks of a layer.
    """
    check_outputs(json_file)
    from hwsim import bench
    from hwsim.models import find_model

    check_results(page, bench.PAGE_FILES, json_file, [] if model is None else [model])

    if model is not None:
        refuse_changed(
            "a layer, without --model",
            out_features=(out_features, OUT_FEATURES),
            in_features=(in_features, IN_FEATURES),
            page=(page, None),
        )
    known = bench.contenders()
    for name in only or ():
        if name not in known:
            raise InputError(f"--only {name}: no such contender; known: {', '.join(known)}")
    reasons = {name: known[name].missing() for name in only or known}
    absent = {name: reason for name, reason in reasons.items() if reason is not None}
    names = [name for name in reasons if name not in absent]

    def check_any() -> None:
        if not names:
            raise InputError("; ".join(f"{name}: {reason}" for name, reason in absent.items()))

    check_any()
    if model is not None:
        shape = find_model(model)
        array.check_in_features(shape.longest_in_features, where=f"model {model}")
        jobs, rounds = bench.model_jobs(shape, array, tokens), shape.layers
        what = f"{model}, {rounds * len(jobs)} linear layers"
    else:
        array.check_in_features(in_features, where="bench")
        array = array.for_in_features(in_features)
        jobs, rounds = [bench.Job(array, out_features, in_features, tokens)], 1
        what = f"{out_features} x {in_features}"
    if page is not None:
        make_folder(Path(page) / "images")  # before the long run
    sizes: list[bench.Comparison] = []
    whole: bench.Comparison | None = None
    with status("bench") as tell:

        def compared(
            what: str, contenders: Sequence[str], jobs: list[bench.Job], rounds: int = 1
        ) -> bench.Comparison:
            found = []
            chosen = [name for name in names if name in contenders]
            for event in bench.measure(chosen, jobs, repeat=repeat, rounds=rounds):
                if isinstance(event, str):
                    tell(event)
                elif isinstance(event, bench.Failure):
                    absent[event.contender] = f"it failed: {event.reason}"
                    names.remove(event.contender)
                else:
                    found.append(event)
            return bench.Comparison(what, tuple(jobs), tuple(found))

        found = compared(what, names, jobs, rounds)
        check_any()
        if page is not None:
            sizes = [compared("", bench.GROWING, [size]) for size in jobs[0].sizes()]
            if any(name in bench.WHOLE for name in names):
                shape = find_model(bench.MODEL)
                blocks = bench.model_jobs(shape, array, tokens=1)
                what = f"{bench.MODEL}, {shape.layers * len(blocks)} linear layers"
                whole = compared(what, bench.WHOLE, blocks, shape.layers)
    if page is not None:
        from hwsim.bench.page import write_page

        command = " ".join(["hwsim", *sys.argv[1:]])
        about = {m.contender: known[m.contender].what for m in found.measurements}
        write_page(page, command, found, sizes, whole, about, absent)
    if json_file != "-":
        _print(found, known, absent)
    if json_file is not None:
        layer = {"out_features": out_features, "in_features": in_features}
        content: dict[str, Any] = {
            "array": jobs[0].config.model_dump(),
            **({"layer": layer} if model is None else {"model": model}),
            "tokens": tokens,
            "zero_fraction": jobs[0].zero_fraction,
            "contenders": [
                {
                    **asdict(m),
                    "what": known[m.contender].what,
                    "cycles_per_s": m.cycles_per_s,
                    "macs_per_s": m.macs_per_s,
                    "median_s": m.median_s,
                    "spread": m.spread,
                }
                for m in found.measurements
            ],
            "absent": absent,
        }
        write_json(json_file, content)


def _print(
    found: "Comparison", known: "Mapping[str, Contender]", absent: Mapping[str, str]
) -> None:
    from hwsim.bench.page import COLUMNS, SPREAD, table_rows, title

    print_table(title(found), COLUMNS, table_rows(found))
    print(SPREAD)
    for m in found.measurements:
        print(f"{m.contender}: {known[m.contender].what}")
    for name, reason in absent.items():
        print(f"{name}: left out, {reason}")
