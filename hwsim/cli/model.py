"""``hwsim simulate --model``: all linear layers of a model."""

import sys
import time
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hwsim.cli.layer import check_size
from hwsim.cli.output import (
    print_cycles,
    print_extrapolated,
    print_table,
    step_bar,
    write_json,
)
from hwsim.errors import InputError
from hwsim.parallel import Processes

if TYPE_CHECKING:
    from hwsim.whole_model import Plan, Source


def simulate_model(
    model: str,
    plan: "Plan",
    *,
    tokens: int | None,
    zero_fraction: float | None,
    jobs: int,
    folder: Path | None,
    json_file: str | None,
) -> None:
    """Run the layers, print sums, write what was asked for; exit 1 if a check failed."""
    from hwsim import whole_model

    started = time.perf_counter()
    sources, data = _sources(model, tokens=tokens, zero_fraction=zero_fraction, seed=plan.seed)
    with ExitStack() as stack:
        executor: Executor | None = None
        if jobs > 1:
            executor = stack.enter_context(Processes(min(jobs, len(sources))))
        advance = stack.enter_context(step_bar(model, len(sources)))
        layers = whole_model.run_model(
            sources, plan, executor=executor, folder=folder, progress=advance
        )
    content = whole_model.summary(model, layers)
    content |= {"data": data, "wall_s": time.perf_counter() - started}
    if folder is not None:
        whole_model.write_results(folder, content)
    if json_file != "-":
        _print(content)
    if json_file is not None:
        write_json(json_file, content)
    if content["checked"] is False:
        wrong = [r["layer"]["name"] for r in layers if not r["checked"]]
        print(f"hwsim: outputs differ from numpy in {', '.join(wrong)}", file=sys.stderr)
        raise typer.Exit(1)


def _sources(
    model: str, *, tokens: int | None, zero_fraction: float | None, seed: int
) -> "tuple[list[Source], str]":
    """Return the layers, and in words what their data are."""
    from hwsim import whole_model
    from hwsim.models import find_model

    if model.endswith(".safetensors"):
        if zero_fraction is not None:
            raise InputError(
                "--zero-fraction is for the shape of a model; a trace has its own zeros"
            )
        return whole_model.sources_of_trace(model, tokens=tokens), "the trace's own"
    shape = find_model(model)
    check_size(tokens, shape.longest_in_features)
    zero_fraction = whole_model.ZERO_FRACTION if zero_fraction is None else zero_fraction
    sources = whole_model.sources_of_shape(
        shape, tokens=1 if tokens is None else tokens, zero_fraction=zero_fraction, seed=seed
    )
    return sources, f"seeded ({seed}), {zero_fraction:.0%} zero trits"


def _print(content: dict[str, Any]) -> None:
    layers, array = content["layers"], content["array"]
    print(
        f"{content['model']}: {len(layers)} layers, data {content['data']}, on {array['rows']} x "
        f"{array['columns']} {array['lane']} lanes, batch {array['batch']}, engine "
        f"{content['engine']}"
    )
    print_cycles("Cycles", content["cycles"])
    macs = content["activity"]["macs"]
    if content["predicted_cycles"] is None:
        print(f"without stalls it would take {content['stall_free_cycles']:,} cycles")
    else:
        print(f"predicted from the shapes: {content['predicted_cycles']:,} cycles")
    print(f"{macs:,} MACs, {content['activity']['nonzero_macs'] / macs:.1%} not with zero")
    for key, title in (("word_toggles", "Bits that change"), ("toggles", "Toggles of gates")):
        if key in content:
            _print_toggles(title, key, content)
    for scope, energy in content["energy_pj"].items():
        pj = energy["total"]
        print(f"energy, {scope}: {pj / 1e9:.4g} mJ, {pj / macs:.4g} pJ a MAC")
    print_extrapolated(content)
    print(f"{content['engine_s']:.2f} s in the engine, {content['wall_s']:.2f} s in all")
    if content["checked"]:
        print("outputs equal numpy")


def _print_toggles(title: str, key: str, content: dict[str, Any]) -> None:
    """Print counts by part; of samples with their intervals."""
    sampled = content.get("sampled")
    macs = content["activity"]["macs"]
    rows = []
    for part, count in _by_level(content[key]).items():
        row = [part, f"{count:,}", f"{count / macs:.4g}"]
        if sampled:
            found = _by_level(sampled[key])[part]
            high = found["high"]
            row.append("unknown" if high is None else f"{high - found['value']:,.0f}")
        rows.append(row)
    columns = ["part", "toggles", "a MAC"]
    if sampled:
        columns.append("+- at 95 %")
        title += f": from {sampled['row_blocks']} of {sampled['of_row_blocks']} row blocks"
    print_table(title, columns, rows)


def _by_level(counts: dict[str, Any]) -> dict[str, Any]:
    """Give each level of a tree a name of its own."""
    named: dict[str, Any] = {}
    for part, count in counts.items():
        if isinstance(count, list):
            named |= {f"{part}, level {level}": each for level, each in enumerate(count)}
        else:
            named[part] = count
    return named
