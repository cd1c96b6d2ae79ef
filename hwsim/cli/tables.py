"""``hwsim tables``: the energies, where they are from, and what they are used for."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwsim.cli import energy
from hwsim.cli.array import array_options
from hwsim.cli.output import JsonFile, print_table, write_json
from hwsim.config import ArrayConfig
from hwsim.errors import InputError

if TYPE_CHECKING:
    from hwsim.energy_tables import Row

app = typer.Typer(help="Energy tables: every row has its source.", no_args_is_help=True)


@app.command("show", epilog="Example: hwsim tables show --node 7nm")
def show(
    node: Annotated[str | None, typer.Option(help="only this node", show_default=False)] = None,
    table: energy.Table = None,
    json_file: JsonFile = None,
) -> None:
    """List all rows."""
    from hwsim.energy_tables import ANY_NODE, EnergyTable

    loaded = EnergyTable.load(table)
    if node is not None:
        loaded.check_node(node)
    rows = [row for row in loaded.rows.values() if node is None or row.key.node in (node, ANY_NODE)]
    if json_file != "-":
        columns = ("row", "value", "range", "unit", "kind", "source", "note")
        cells = [
            (
                str(row.key),
                f"{row.value:g}",
                "" if row.low == row.high else f"{row.low:g} - {row.high:g}",
                row.unit,
                row.kind,
                _source(row),
                row.note,
            )
            for row in rows
        ]
        print_table("Energy tables", columns, cells)
    if json_file is not None:
        write_json(json_file, {"rows": [_as_dict(row) for row in rows]})


@app.command("check", epilog="Example: hwsim tables check my.csv")
def check(file: Annotated[Path, typer.Argument(help="a CSV of your own")]) -> None:
    """Check a table that is to extend or override the package's."""
    from hwsim.energy_tables import EnergyTable

    loaded = EnergyTable.load(file)
    print(
        f"{file}: {len(loaded.user_rows)} rows, of which {len(loaded.overridden)} override the "
        "package's"
    )
    for old in loaded.overridden:
        new = loaded.rows[old.key]
        print(f"  {old.key}: {old.value:g} {old.unit} becomes {new.value:g} {new.unit}")


@app.command("explain", epilog="Example: hwsim tables explain --model llama-3.2-1b --format fp16")
@array_options(default="default-64x64")
def explain(
    array: ArrayConfig,
    model: energy.Model = None,
    format: Annotated[str, typer.Option(help="number format")] = "ternary",
    part: Annotated[str | None, typer.Option(help="only this part", show_default=False)] = None,
    node: energy.Node = "7nm",
    scope: energy.Scope = "arithmetic",
    phase: energy.Phase = None,
    tokens: energy.Tokens = None,
    context: energy.Context = 0,
    batch_size: energy.BatchSize = 1,
    causal: energy.Causal = False,
    kv_bits: energy.KvBits = 16,
    head_bits: energy.HeadBits = 16,
    lm_head: energy.LmHead = True,
    baseline: energy.Baseline = "equal-peak",
    table: energy.Table = None,
    clock_gating: energy.ClockGating = "enables",
    extrapolate: energy.Extrapolate = False,
    json_file: JsonFile = None,
) -> None:
    """Say which rows priced a total, how often each was used, and where it is from."""
    from hwsim.compare import bandwidth_row
    from hwsim.energy import PICOJOULES

    results = energy.evaluate(
        model=model,
        array=array,
        node=node,
        scope=scope,
        phase=phase,
        tokens=tokens,
        baseline=baseline,
        table=table,
        clock_gating=clock_gating,
        extrapolate=extrapolate,
        context=context,
        batch_size=batch_size,
        causal=causal,
        kv_bits=kv_bits,
        head_bits=head_bits,
        lm_head=lm_head,
    )
    if format not in results:
        raise InputError(f"format {format!r}: not known; known: {', '.join(results)}")
    result = results[format]
    if part is not None and part not in result.energy.parts:
        raise InputError(
            f"part {part!r}: not in scope {scope}; known: {', '.join(result.energy.parts)}"
        )
    rows = result.rates.table.rows
    uses = [
        {
            "part": name,
            "times": times,
            "energy_j": times * rows[key].converted() / PICOJOULES,
            **_as_dict(rows[key]),
        }
        for (name, key), times in result.bill.counts.items()
        if part in (None, name)
    ]
    areas = result.format.area_rows(result.rates) if baseline == "equal-area" else ()
    bandwidth = bandwidth_row(result.rates)
    beside = [
        *({"for": "rows", **_as_dict(row)} for row in areas),
        *([{"for": "attention_s, bounds_s", **_as_dict(bandwidth)}] if bandwidth else []),
    ]
    if json_file != "-":
        columns = ("part", "row", "times", "mJ", "kind", "source")
        cells = [
            (
                use["part"],
                use["row"],
                f"{use['times']:.6g}",
                f"{use['energy_j'] * 1e3:.4g}",
                use["kind"],
                _place(use),
            )
            for use in uses
        ]
        title = f"{result.model.name}, {format}: {result.energy.total_pj / PICOJOULES:.4g} J"
        print_table(title, columns, cells)
        columns = ("for", "row", "value", "unit", "kind", "source")
        cells = [
            (row["for"], row["row"], f"{row['value']:g}", row["unit"], row["kind"], _place(row))
            for row in beside
        ]
        print_table("Rows that decide sizes and times", columns, cells)
    if json_file is not None:
        write_json(json_file, {"format": format, "rows": uses, "rows_beside": beside})


def _place(row: Mapping[str, Any]) -> str:
    return f"{row['source']}, {row['locator']} ({row['file']}:{row['line']})"


def _source(row: "Row") -> str:
    return f"{row.source}, {row.locator}" if row.locator else row.source


def _as_dict(row: "Row") -> dict[str, Any]:
    figures = {name: value for name, value in vars(row).items() if name != "key"}
    return {"row": str(row.key), **row.key._asdict(), **figures}
