"""The page: one HTML file that needs nothing else, with and without scripts."""

import base64
import json
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from hwsim.compare import FORMATS
from hwsim.energy import SCOPES, parts_of
from hwsim.energy_tables import EnergyTable, Row
from hwsim.published import FIGURES, WORKLOAD
from hwsim.reports.content import Report, exact
from hwsim.reports.inputs import Inputs
from hwsim.reports.points import sources
from hwsim.reports.sizes import all_points
from hwsim.reports.style import FORMAT_COLOURS, GROUPS, ORANGE
from hwsim.reports.text import cell, rows
from hwsim.workload import PHASES

LIBRARY = "plotly-basic.min.js"
"""Draws the charts; see ``vendor/README.md``."""


def _file(*path: str) -> str:
    return resources.files("hwsim.reports").joinpath(*path).read_text(encoding="utf-8")


def anchor(row: str) -> str:
    """Return the id of a table row on the page."""
    return "row-" + "-".join(row.split())


def script_json(content: Any) -> Markup:
    """Write JSON that can stand inside a script element, whatever its strings hold."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"), sort_keys=True)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def as_html(
    reports: Iterable[Report],
    inputs: Inputs,
    svgs: Mapping[str, bytes],
    *,
    title: str,
    command: str,
    versions: Mapping[str, str],
) -> str:
    """Write reports as a page.

    Parameters
    ----------
    reports, inputs
        What to write, and what it is made from.
    svgs
        Pictures by name.
    title, command, versions
        Of the page, what makes it again, and with what.
    """
    priced = sources(inputs)
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    known = {str(key) for key in inputs.energies.rows}

    def link(value: Any) -> str | None:
        """Return where a cell's provenance stands on the page, if it names a row."""
        return anchor(value) if isinstance(value, str) and value in known else None

    environment.globals |= {"rows": rows, "cell": cell, "exact": exact, "link": link}
    environment.tests["a_number"] = lambda value: isinstance(value, int | float)
    template = environment.from_string(_file("templates", "report.html.j2"))
    return template.render(
        title=title,
        command=command,
        versions=versions,
        reports=list(reports),
        pictures={
            name: "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
            for name, svg in svgs.items()
        },
        style=Markup(_file("templates", "style.css")),
        explore=Markup(_file("templates", "explore.js")),
        library=Markup(_file("vendor", LIBRARY)),
        licence=_file("vendor", "plotly-LICENSE.txt"),
        data=script_json(_data(inputs, priced)),
        energy_rows=[_row(row) for row in inputs.energies.rows.values()],
        parts=_parts(priced, inputs),
        anchor=anchor,
        part_names=frozenset(parts_of("system")),
    )


def _row(row: Row) -> dict[str, Any]:
    same = row.low == row.high
    return {
        "name": str(row.key),
        "value": row.value,
        "range": "" if same else f"{row.low:g} to {row.high:g}",
        "unit": row.unit,
        "kind": row.kind,
        "source": f"{row.source}, {row.locator}" if row.locator else row.source,
        "note": row.note,
        "file": f"{row.file.rpartition('/')[2]}:{row.line}",
    }


def _parts(
    priced: Mapping[str, Mapping[str, Mapping[str, Any]]], inputs: Inputs
) -> list[dict[str, Any]]:
    """Return each part with the rows that price it at the node of the report, in any format."""
    found = []
    for scope, parts in SCOPES.items():
        for part in parts:
            names: dict[str, None] = {}
            kinds = {}
            for format in FORMATS:
                use = priced.get(f"{inputs.node} {format}", {}).get(part)
                if use:
                    names |= dict.fromkeys(use["rows"])
                    kinds[format] = use["kind"]
            found.append({"name": part, "scope": scope, "rows": list(names), "kinds": kinds})
    return found


def _data(inputs: Inputs, priced: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the charts choose from."""
    frame = all_points(inputs)
    return {
        "columns": list(frame.columns),
        "rows": [[_plain(value) for value in row] for row in rows(frame)],
        "sources": priced,
        "anchors": _anchors(inputs.energies),
        "parts": parts_of("system"),
        "scopes": list(SCOPES),
        "parts_of": {scope: parts_of(scope) for scope in SCOPES},
        "nodes": sorted(set(frame.node)),
        "phases": list(PHASES),
        "formats": list(FORMATS),
        "models": [model.name for model in inputs.shapes],
        "colours": FORMAT_COLOURS,
        "groups": [
            {"name": name, "colour": colour, "parts": parts}
            for name, (colour, _, parts) in GROUPS.items()
        ],
        "published": [
            {"model": f.model, "printed": f.printed, "source": f"{f.source}, {f.locator}"}
            for f in FIGURES
            if f.quantity == "fp16 / ternary"
        ],
        "published_for": {
            "node": "7nm",
            "scope": "arithmetic",
            "phase": WORKLOAD.phase,
            "format": "fp16",
            "quantity": "over_ternary",
        },
        "published_tokens": WORKLOAD.tokens,
        "published_colour": ORANGE,
        "chosen": {
            "node": inputs.node if inputs.node in set(frame.node) else frame.node.iloc[0],
            "scope": inputs.scope,
            "phase": inputs.phase,
            "model": inputs.subject.name,
        },
    }


def _anchors(table: EnergyTable) -> dict[str, str]:
    return {str(key): anchor(str(key)) for key in table.rows}


def _plain(value: Any) -> Any:
    """Return a cell as JSON has it: the number that the CSV has, or null."""
    if not isinstance(value, float):
        return value
    return None if value != value else float(exact(value))
