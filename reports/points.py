"""Every model, node, scope, phase and format: what the page lets one choose from."""

from dataclasses import replace
from itertools import product
from typing import Any

import pandas as pd  # type: ignore[import-untyped]

from hwsim.compare import FORMATS, Result
from hwsim.energy import PICOJOULES, SCOPES, Bill, Charge, parts_of
from hwsim.energy_tables import Bound
from hwsim.errors import InputError
from hwsim.reports.inputs import Inputs
from hwsim.reports.model import kind_of_total, per_token, ratio
from hwsim.workload import PHASES


def points(inputs: Inputs) -> tuple[pd.DataFrame, list[str]]:
    """Evaluate every combination.

    Returns
    -------
    pandas.DataFrame
        A row for each; energies are of a token, parts that are not in a scope are NaN. Ends of a
        part's range are there if any row that prices it has one.
    list of str
        Combinations that are left out, each with the reason.

    Raises
    ------
    InputError
        If there is none left.
    """
    rows: list[dict[str, Any]] = []
    left_out: dict[str, None] = {}
    for node, phase, model in product(inputs.energies.nodes, PHASES, inputs.shapes):
        try:
            whole = inputs.results(
                model, node=node, scope="system", workload=inputs.workload(phase)
            )
        except InputError as error:
            left_out[f"{node}: {error}"] = None
            continue
        for scope in SCOPES:
            results = {name: _within(result, scope) for name, result in whole.items()}
            for name, result in results.items():
                rows.append(_row(name, result, results["ternary"]))
    if not rows:
        raise InputError("; ".join(left_out))
    frame = pd.DataFrame(rows)
    certain = [
        column
        for part in parts_of("system")
        for column in (f"{part}_low_j", f"{part}_high_j")
        if frame[column].equals(frame[f"{part}_j"])
    ]
    return frame.drop(columns=certain), list(left_out)


def _within(result: Result, scope: str) -> Result:
    """Return the same run with less of it counted."""
    charges = (Charge(part, key, times) for (part, key), times in result.bill.counts.items())
    return replace(result, scope=scope, bill=Bill.of(scope, charges))


def _row(name: str, result: Result, ternary: Result) -> dict[str, Any]:
    energy, over = per_token(result), ratio(result, ternary)
    return {
        "model": result.model.name,
        "linear_weights": result.model.linear_weights,
        "as_if": not result.model.ternary,
        "node": result.rates.node,
        "scope": result.scope,
        "phase": result.workload.phase,
        "tokens": result.workload.tokens,
        "format": name,
        "energy_j": energy.value,
        "energy_low_j": energy.low,
        "energy_high_j": energy.high,
        "over_ternary": over.value,
        "over_ternary_low": over.low,
        "over_ternary_high": over.high,
        "kind": kind_of_total(result),
        "cycles": result.cycles,
        "latency_s": result.latency_s + result.attention_s,
        "tokens_per_s": result.tokens_per_s,
        "utilisation": result.utilisation,
        "weight_bytes": result.weight_bytes,
        "footprint_bytes": sum(result.footprint_bytes.values()),
        **_parts(result),
    }


_SUFFIXES: dict[str, Bound] = {"j": "value", "low_j": "low", "high_j": "high"}


def _parts(result: Result) -> dict[str, float]:
    """Return the energy of each part with its range, in joules a token; NaN out of scope."""
    table, inside = result.rates.table, parts_of(result.scope)
    tokens = result.workload.new_tokens * PICOJOULES
    pj = {
        f"{part}_{suffix}": 0.0 if part in inside else float("nan")
        for part in parts_of("system")
        for suffix in _SUFFIXES
    }
    for (part, key), times in result.bill.counts.items():
        row = table.rows[key]
        figures = {suffix: times * row.converted(bound) for suffix, bound in _SUFFIXES.items()}
        if times < 0:  # a factor below 0 turns a range round
            figures["low_j"], figures["high_j"] = figures["high_j"], figures["low_j"]
        for suffix, figure in figures.items():
            pj[f"{part}_{suffix}"] += figure
    return {name: value / tokens for name, value in pj.items()}


def sources(inputs: Inputs) -> dict[str, dict[str, dict[str, Any]]]:
    """Return for each ``node format`` and part its kind and the rows that price it.

    Over both phases of the first model; a part's rows depend on node and format alone, but for
    rows between which a memory's size is interpolated.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for node, phase, name in product(inputs.energies.nodes, PHASES, FORMATS):
        try:
            result = inputs.results(node=node, scope="system", workload=inputs.workload(phase))
        except InputError:
            continue
        parts = found.setdefault(f"{node} {name}", {})
        bill = result[name].bill
        for part, kind in bill.kinds(inputs.energies).items():
            parts.setdefault(part, {"kind": kind, "rows": []})
        for part, key in bill.counts:
            rows = parts[part]["rows"]
            if str(key) not in rows:
                rows.append(str(key))
    return found
