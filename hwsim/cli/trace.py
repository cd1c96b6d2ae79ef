"""``hwsim trace``: look into trace files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwsim.cli.output import JsonFile, check_results, print_table, write_json

if TYPE_CHECKING:
    from hwsim.layer import Layer

app = typer.Typer(help="Traces: files with the quantized data of layers.", no_args_is_help=True)


@app.command("show", epilog="Example: hwsim trace show model.safetensors")
def show(file: Annotated[Path, typer.Argument(help="a trace")], json_file: JsonFile = None) -> None:
    """List the layers of a trace; every value is checked."""
    from hwsim import trace

    check_results(None, (), json_file, [str(file)])
    opened = trace.read(file)
    layers = [_summary(layer) for layer in opened]
    total = sum(layer["weights"] for layer in layers)
    zeros = sum(layer["zeros"] for layer in layers)
    if json_file != "-":
        columns = ("layer", "out", "in", "tokens", "weights", "zeros")
        rows = [
            (
                layer["name"],
                str(layer["out_features"]),
                str(layer["in_features"]),
                str(layer["tokens"]),
                f"{layer['weights']:,}",
                f"{layer['zero_fraction']:.1%}",
            )
            for layer in layers
        ]
        rows.append(("all", "", "", "", f"{total:,}", f"{zeros / total:.1%}"))
        print_table(f"{opened.model} ({opened.source})", columns, rows)
    if json_file is not None:
        content = {"model": opened.model, "source": opened.source, "layers": layers}
        write_json(json_file, {**content, "weights": total, "zeros": zeros})


def _summary(layer: "Layer") -> dict[str, Any]:
    return {
        "name": layer.name,
        "out_features": layer.out_features,
        "in_features": layer.in_features,
        "tokens": layer.tokens,
        "weights": layer.weight.size,
        "zeros": int((layer.weight == 0).sum()),
        "zero_fraction": layer.zero_fraction,
        "weight_scale": layer.weight_scale,
    }
