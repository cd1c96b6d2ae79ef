"""``hwsim energy``: what a whole model costs on an array, in all number formats."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hwsim.cli.array import array_options
from hwsim.cli.output import (
    JsonFile,
    check_outputs,
    print_table,
    refuse_changed,
    write_json,
)
from hwsim.config import ArrayConfig
from hwsim.errors import InputError

if TYPE_CHECKING:
    from hwsim.compare import Result

EXAMPLE = "Example: hwsim energy --model bitnet-b1.58-2b-4t --scope system --context 512"

Model = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE", help="a model by name, or a config.json", show_default=False),
]
Node = Annotated[str, typer.Option(help="process of the array")]
Scope = Annotated[str, typer.Option(help="arithmetic, core or system")]
Phase = Annotated[
    str | None,
    typer.Option(help="prefill or decode [default: prefill for arithmetic]", show_default=False),
]
Tokens = Annotated[
    int | None,
    typer.Option(help="new tokens [default: 512 in prefill, 1 in decode]", show_default=False),
]
Context = Annotated[int, typer.Option(help="tokens of each sequence that are cached before")]
BatchSize = Annotated[int, typer.Option(help="sequences that share the weights")]
Causal = Annotated[bool, typer.Option("--causal", help="no attention to later tokens")]
KvBits = Annotated[int, typer.Option(help="bits of a value in the KV cache")]
HeadBits = Annotated[int, typer.Option(help="bits of a weight of the LM head: 8 or 16")]
LmHead = Annotated[bool, typer.Option("--lm-head/--no-lm-head", help="count the LM head")]
Baseline = Annotated[str, typer.Option(help="arrays of the others: equal-peak or equal-area")]
Table = Annotated[
    Path | None,
    typer.Option("--table", help="CSV that extends or overrides the tables", show_default=False),
]
ClockGating = Annotated[
    str, typer.Option(help="registers that have no clock while they hold: none, enables or all")
]
Extrapolate = Annotated[bool, typer.Option("--extrapolate", help="price larger SRAM than listed")]


def evaluate(
    *,
    model: str | None,
    array: ArrayConfig,
    node: str,
    scope: str,
    phase: str | None,
    tokens: int | None,
    baseline: str,
    table: Path | None,
    clock_gating: str,
    extrapolate: bool,
    **work: Any,
) -> "dict[str, Result]":
    """Compare all formats, with the defaults of the command line."""
    from hwsim.compare import compare
    from hwsim.energy import Rates
    from hwsim.energy_tables import EnergyTable
    from hwsim.models import find_model
    from hwsim.workload import Workload

    if model is None:
        raise InputError("--model is missing; --list prints the names that are known")
    phase = phase or ("prefill" if scope == "arithmetic" else "decode")
    tokens = (512 if phase == "prefill" else 1) if tokens is None else tokens
    rates = Rates(
        table=EnergyTable.load(table),
        node=node,
        memory=array.memory,
        clock_gating=clock_gating,
        extrapolate=extrapolate,
    )
    workload = Workload(phase=phase, tokens=tokens, **work)
    return compare(find_model(model), array, workload, rates, scope=scope, baseline=baseline)


@array_options(default="default-64x64")
def energy(
    array: ArrayConfig,
    model: Model = None,
    node: Node = "7nm",
    scope: Scope = "arithmetic",
    phase: Phase = None,
    tokens: Tokens = None,
    context: Context = 0,
    batch_size: BatchSize = 1,
    causal: Causal = False,
    kv_bits: KvBits = 16,
    head_bits: HeadBits = 16,
    lm_head: LmHead = True,
    baseline: Baseline = "equal-peak",
    table: Table = None,
    clock_gating: ClockGating = "enables",
    extrapolate: Extrapolate = False,
    memory_size_gb: Annotated[
        float | None,
        typer.Option(
            help="10^9 bytes of memory: how many sequences fit, with the model", show_default=False
        ),
    ] = None,
    bandwidth_gb_s: Annotated[
        list[float] | None,
        typer.Option(
            help="tokens/s with a memory of so many GB/s; repeat it for several. Besides those of "
            "the tables",
            show_default=False,
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option(help="Monte Carlo samples of totals and ratio", min=0, max=1_000_000)
    ] = 0,
    seed: Annotated[int, typer.Option(help="of the samples", min=0)] = 0,
    list_models: Annotated[bool, typer.Option("--list", help="print the known models")] = False,
    published: Annotated[
        bool, typer.Option("--published", help="print what papers print, and our residuals")
    ] = False,
    validation: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="write how it agrees with hardware that exists"),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Price a model in FP16, INT8, W4A16 and ternary, on arrays of the same shape."""
    if not samples:
        refuse_changed("--samples", seed=(seed, 0))
    check_outputs(json_file, validation)
    if validation is not None:
        _validate(validation, table)
        return
    if list_models or published:
        content = _models() if list_models else _published(table)
        if json_file is not None:
            write_json(json_file, content)
        return
    from hwsim.compare import summary

    results = evaluate(
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
    content = {**summary(results), "baseline": baseline}
    _add_memories(content["formats"], results, memory_size_gb, bandwidth_gb_s or [])
    content["sensitivities"] = _sensitivities(results)
    if samples:
        content["samples"] = _samples(results, samples, seed)
    if json_file != "-":
        _print(content)
    if json_file is not None:
        write_json(json_file, content)


def _add_memories(
    formats: dict[str, dict[str, Any]],
    results: "Mapping[str, Result]",
    size_gb: float | None,
    bandwidths_gb_s: list[float],
) -> None:
    """Add the largest batch and the speeds that were asked for."""
    for name, number in (
        ("memory-size-gb", size_gb),
        *(("bandwidth-gb-s", b) for b in bandwidths_gb_s),
    ):
        if number is not None and not 0 < number < 1e9:
            raise InputError(f"--{name} must be above 0 and below 10^9, not {number:g}")
    for name, result in results.items():
        for bandwidth in bandwidths_gb_s:
            speed = result.tokens_per_s_at(bandwidth)
            formats[name]["tokens_per_s_at"][f"{bandwidth:g} GB/s"] = speed
        if size_gb is not None:
            formats[name]["largest_batch"] = result.largest_batch(int(size_gb * 1e9))


def _sensitivities(results: "Mapping[str, Result]") -> list[dict[str, Any]]:
    from hwsim.uncertainty import Quotient, sensitivities

    fp16, ternary = results["fp16"], results["ternary"]
    table = fp16.rates.table
    return [
        {
            "row": str(found.key),
            "elasticity": found.elasticity,
            "ratio_interval": [found.interval.low, found.interval.high],
            "source": table.rows[found.key].source,
            "kind": table.rows[found.key].kind,
        }
        for found in sensitivities(Quotient.of(fp16.bill, ternary.bill), table)
    ]


def _samples(results: "Mapping[str, Result]", samples: int, seed: int) -> dict[str, Any]:
    import numpy as np

    from hwsim.energy import PICOJOULES
    from hwsim.uncertainty import Quotient, sample

    def quantiles(quotient: Quotient, unit: float = 1.0) -> dict[str, float]:
        drawn = sample(quotient, table, samples=samples, seed=seed) / unit
        marks = {"p05": 0.05, "p50": 0.5, "p95": 0.95}
        return {name: float(np.quantile(drawn, mark)) for name, mark in marks.items()}

    fp16, ternary = results["fp16"], results["ternary"]
    table = fp16.rates.table
    return {
        "count": samples,
        "seed": seed,
        "total_j": {n: quantiles(Quotient.of(r.bill), PICOJOULES) for n, r in results.items()},
        "ratio_fp16_over_ternary": quantiles(Quotient.of(fp16.bill, ternary.bill)),
    }


def _validate(file: Path, table: Path | None) -> None:
    from hwsim.energy_tables import EnergyTable
    from hwsim.files import write_atomically
    from hwsim.validation import markdown

    write_atomically(file, markdown(EnergyTable.load(table)))


def _models() -> dict[str, Any]:
    from hwsim.models import ZOO

    rows = [
        (
            model.name,
            f"{model.linear_weights / 1e9:.3f}",
            str(model.hidden),
            str(model.ffn),
            str(model.layers),
            f"{model.heads}/{model.kv_heads} x {model.head_dim}",
            model.source,
        )
        for model in ZOO.values()
    ]
    columns = ("model", "10^9 linear weights", "hidden", "ffn", "layers", "heads", "source")
    print_table("Models", columns, rows)
    return {"models": [model.name for model in ZOO.values()]}


def _published(table: Path | None) -> dict[str, Any]:
    from hwsim.energy_tables import EnergyTable
    from hwsim.published import residuals

    found = residuals(EnergyTable.load(table))
    rows = [
        (
            f"{r.figure.source}, {r.figure.locator}",
            r.figure.model,
            f"{r.figure.quantity}, {r.figure.node}",
            f"{r.figure.printed:g}{'' if r.figure.re_read else ' *'}",
            f"{r.computed:.4g}",
            f"{r.relative:+.2%}",
        )
        for r in found
    ]
    columns = ("source", "model", "figure", "printed", "computed", "residual")
    print_table("Published figures; * quoted, not read again", columns, rows)
    return {
        "figures": [
            {**vars(r.figure), "computed": r.computed, "relative": r.relative} for r in found
        ]
    }


def _print(content: dict[str, Any]) -> None:
    formats: dict[str, dict[str, Any]] = content["formats"]
    array = content["array"]
    print(
        f"{content['model']}{' as if it were ternary' if content['as_if'] else ''}: "
        f"{content['phase']} of {content['tokens']} tokens after {content['context']}, "
        f"batch size {content['batch_size']}; scope {content['scope']} at {content['node']}, "
        f"{array['rows']} x {array['columns']} {array['lane']} lanes, batch {array['batch']}, "
        f"{array['clock_mhz']:g} MHz, {array['weight_bus_bits']}-bit weight bus, "
        f"memory {content['memory']}, {content['baseline']}"
    )
    ternary = formats["ternary"]["total_j"]
    tokens = {name: result["total_j"] / result["per_token_j"] for name, result in formats.items()}

    def millijoules(joules: float, name: str) -> str:
        return f"{joules / tokens[name] * 1e3:.4g}"

    rows = [
        [
            name,
            millijoules(result["total_j"], name),
            " - ".join(millijoules(joules, name) for joules in result["total_j_interval"]),
            f"{result['total_j'] / ternary:.2f}",
            f"{result['weight_bytes'] / 1e6:,.1f}",
            f"{sum(result['footprint_bytes'].values()) / 1e6:,.0f}",
            f"{result['cycles']:,}",
            f"{result['tokens_per_s']:,.1f}",
            f"{result['utilisation']:.1%}",
            *([f"{result['largest_batch']:,}"] if "largest_batch" in result else []),
        ]
        for name, result in formats.items()
    ]
    columns = (
        "format",
        "mJ a token",
        "range",
        "x ternary",
        "weights read, MB",
        "footprint, MB",
        "cycles",
        "tokens/s",
        "utilisation",
        *(["largest batch"] if "largest_batch" in formats["ternary"] else []),
    )
    print_table("Formats", columns, rows)
    kinds = formats["ternary"]["parts_kind"]
    rows = [
        [
            part,
            *(millijoules(result["parts_j"][part], name) for name, result in formats.items()),
            kinds.get(part, ""),
        ]
        for part in formats["ternary"]["parts_j"]
    ]
    print_table("Parts, mJ a token", ("part", *formats, "kind (ternary)"), rows)
    rows = [[step["part"], f"{step['ratio']:.2f}", step["cause"]] for step in content["waterfall"]]
    print_table("FP16 over ternary, counting part after part", ("and", "ratio", "because"), rows)
    memories = formats["ternary"]["tokens_per_s_at"]
    rows = [
        [memory, *(f"{result['tokens_per_s_at'][memory]:,.4g}" for result in formats.values())]
        for memory in memories
    ]
    print_table("Tokens/s at most, by memory at its peak", ("memory", *formats), rows)
    low, high = content["ratio_fp16_over_ternary_interval"]
    print(
        f"FP16 over ternary: {content['ratio_fp16_over_ternary']:.2f}, from {low:.2f} to {high:.2f}"
    )
    if content["scope"] != "arithmetic":
        gating = content["ratio_by_clock_gating"].items()
        print(
            f"by clock gating ({content['clock_gating']} is what was priced): "
            + ", ".join(f"{name} {ratio:.2f}" for name, ratio in gating)
        )
    if changed := content["table_rows_changed"]:
        print(f"rows from your own table: {', '.join(changed)}")
    print(f"not modelled: {'; '.join(content['not_modelled'])}")
