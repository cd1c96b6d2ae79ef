"""``hwsim report``: pictures, tables and a page, each number with its source."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwsim.cli import energy
from hwsim.cli.array import array_options
from hwsim.cli.output import check_outputs, progress_bar, refuse_changed
from hwsim.config import ArrayConfig
from hwsim.errors import InputError

if TYPE_CHECKING:
    from hwsim.reports import Inputs

EXAMPLE = "Example: hwsim report -o report --model bitnet-b1.58-7b --context 512"

Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="NAME|FILE",
        help="look closely at a model, the first in pictures; all known ones are there besides",
        show_default=False,
    ),
]


@array_options(default="default-64x64")
def report(
    array: ArrayConfig,
    folder: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="write there", show_default=False),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="model, published, sizes, layer or trace; repeat it for several"),
    ] = None,
    model: Models = None,
    node: energy.Node = "7nm",
    scope: energy.Scope = "system",
    phase: energy.Phase = None,
    tokens: energy.Tokens = None,
    context: energy.Context = 0,
    batch_size: energy.BatchSize = 1,
    baseline: energy.Baseline = "equal-peak",
    table: energy.Table = None,
    clock_gating: energy.ClockGating = "enables",
    trace: Annotated[
        Path | None, typer.Option(metavar="FILE", help="a trace [default: the shipped one]")
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(metavar="FILE[:NAME]", help="run this layer [default: as simulate does]"),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="a run that there is: JSON of hwsim simulate"),
    ] = None,
    engine: Annotated[str, typer.Option(help="that runs the layer")] = "rtl",
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="draw, and make the page")
    ] = True,
    check: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="say whether a report still follows from today's tables; exit 1 if not",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a report: a page that opens offline, Markdown, figures, tables and their sources."""
    if (folder is None) == (check is None):
        raise InputError("report: one of -o DIR and --check DIR must be given")
    if check is not None:
        _check(check)
        return
    assert folder is not None
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is not a folder")
    from hwsim.reports import Inputs
    from hwsim.reports.folder import make, names, write

    if layer is not None and run is not None:
        raise InputError("report: --layer and --run cannot both be given")
    if only and "layer" not in only:
        refuse_changed("--only layer", layer=(layer, None), run=(run, None), engine=(engine, "rtl"))
    if only and "trace" not in only:
        refuse_changed("--only trace", trace=(trace, None))
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    check_outputs(there / "report.md")
    given: dict[str, Any] = {"models": tuple(model)} if model else {}
    inputs = Inputs(
        **given,
        array=array,
        node=node,
        scope=scope,
        phase=phase or ("prefill" if scope == "arithmetic" else "decode"),
        tokens=tokens,
        context=context,
        batch_size=batch_size,
        baseline=baseline,
        table=None if table is None else str(table),
        clock_gating=clock_gating,
        trace=None if trace is None else str(trace),
    )
    names(only or (), inputs)  # refuses a name that is not known before anything is run
    if not only or "layer" in only:
        inputs = _with_run(inputs, layer, run, engine)
    files = make(inputs, only=only or (), pictures=pictures)
    write(folder, files)
    print(f"{folder}: {len(files)} files, {sum(map(len, files.values())) / 1e6:.1f} MB")


def _with_run(inputs: "Inputs", layer: str | None, run: Path | None, engine: str) -> "Inputs":
    """Return the inputs with what a layer's run showed."""
    from hwsim import engines
    from hwsim.cli.layer import SHIPPED, read_layer
    from hwsim.config import PRESETS, preset
    from hwsim.reports.inputs import inputs_with
    from hwsim.reports.layer import LayerRun
    from hwsim.results import describe

    if run is not None:
        result = _read_run(run)
    else:
        data = read_layer(SHIPPED if layer is None else layer)
        # Without a layer, the run of `hwsim simulate` without options.
        array = inputs.array if layer is not None else preset(next(iter(PRESETS)))
        steps = engines.schedule_of(data, array).steps
        with progress_bar(f"{engine}: {data.name}", steps) as report:
            found = engines.run(data, array, engine=engine, progress=report)
        result = describe(data, array, engine, found, stalled=False)
        if found.gates is not None:
            result["toggles"] = found.gates.toggles()
    LayerRun.of(result)
    return inputs_with(inputs, run=result, layer=layer)


def _read_run(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file: {error}") from error
    if not isinstance(content, dict) or "layer" not in content:
        raise InputError(f"{path}: must be what `hwsim simulate --json` writes for one layer")
    return content


def _check(folder: Path) -> None:
    from hwsim.reports.folder import check

    differing = check(folder)
    for line in differing:
        print(f"{folder}/{line}")
    if differing:
        raise typer.Exit(1)
    print(f"{folder}: follows from today's tables")
