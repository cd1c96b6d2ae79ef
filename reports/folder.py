"""A report as a folder of files: made, written, and compared with what is there."""

import hashlib
import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from hwsim.errors import InputError
from hwsim.files import write_atomically
from hwsim.reports import REPORTS, style
from hwsim.reports.content import Report
from hwsim.reports.inputs import Inputs
from hwsim.reports.page import LIBRARY, as_html
from hwsim.reports.text import as_csv, as_latex, as_markdown

PROVENANCE = "provenance.json"


def names(only: Sequence[str], inputs: Inputs) -> tuple[str, ...]:
    """Return the reports to make, in the order of a page: those asked for, or all there can be.

    Raises
    ------
    InputError
        If one is not known.
    """
    for name in only:
        if name not in REPORTS:
            raise InputError(f"report {name!r}: no such report; known: {', '.join(REPORTS)}")
    possible = [name for name in REPORTS if name != "layer" or inputs.run is not None]
    return tuple(name for name in (REPORTS if only else possible) if not only or name in only)


def make(inputs: Inputs, *, only: Sequence[str] = (), pictures: bool = True) -> dict[str, bytes]:
    """Make all files of a report; the same inputs give the same bytes.

    Parameters
    ----------
    inputs
        What is asked.
    only
        Names of `hwsim.reports.REPORTS`; all that the inputs allow, if empty.
    pictures
        Whether to draw figures and to make the page.

    Returns
    -------
    dict
        Contents by path in the folder.

    Raises
    ------
    InputError
        If an input is wrong.
    """
    return _make(inputs, only, pictures=pictures, draw=pictures)


def _make(inputs: Inputs, only: Sequence[str], *, pictures: bool, draw: bool) -> dict[str, bytes]:
    """Make a report with `pictures`, but leave them and the page out unless `draw`."""
    chosen = names(only, inputs)
    reports = [REPORTS[name](inputs) for name in chosen]
    title = _title(inputs, chosen)
    command = command_line(inputs, only, pictures)
    versions = _versions()
    files: dict[str, bytes] = {}
    for report in reports:
        for table in report.tables:
            files[f"tables/{table.name}.csv"] = as_csv(table).encode()
            files[f"tables/{table.name}.tex"] = as_latex(table).encode()
    lines = as_markdown(reports, title=title, command=command, pictures=pictures)
    files["report.md"] = "\n".join(lines).encode()
    if draw:
        drawn = _draw(reports)
        for name, suffixes in drawn.items():
            files |= {f"figures/{name}.{suffix}": data for suffix, data in suffixes.items()}
        svgs = {name: suffixes["svg"] for name, suffixes in drawn.items()}
        page = as_html(reports, inputs, svgs, title=title, command=command, versions=versions)
        files["report.html"] = page.encode()
    provenance = {
        "made_by": command,
        "look_further": _look_further(inputs),
        "inputs": inputs.words,
        "only": list(only),
        "pictures": pictures,
        "versions": versions,
        "inputs_sha256": _input_files(inputs),
        "table_rows": [
            {
                "row": str(row.key),
                **{k: v for k, v in vars(row).items() if k not in ("key", "from_user")},
            }
            for row in inputs.energies.rows.values()
        ],
        "table_rows_overridden": [str(row.key) for row in inputs.energies.overridden],
        "left_out": [words for report in reports for words in report.left_out],
        "files": {path: hashlib.sha256(files[path]).hexdigest() for path in sorted(files)},
    }
    files[PROVENANCE] = _json(provenance)
    return files


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _title(inputs: Inputs, chosen: Sequence[str]) -> str:
    if set(chosen) <= {"layer", "trace"}:
        return f"Layers of {inputs.data.model} on the hardware"
    if set(chosen) == {"published"}:
        return "The published figures, and what is left of them"
    return f"Energy of {inputs.subject.name} and others"


def _draw(reports: Sequence[Report]) -> dict[str, dict[str, bytes]]:
    drawn = {}
    for report in reports:
        for picture in report.pictures:
            with style.house_style(picture.name):
                figure = picture.draw()
            drawn[picture.name] = style.files(figure, picture.name, str(picture.caption))
    return drawn


def _versions() -> dict[str, str]:
    packages = ("hwsim", "numpy", "pandas", "matplotlib", "jinja2")
    return {
        "python": platform.python_version(),
        "page library": LIBRARY,
        **{name: metadata.version(name) for name in packages},
    }


def _input_files(inputs: Inputs) -> dict[str, str]:
    """Return checksums of the files that the inputs name."""
    paths = [inputs.table, inputs.trace, *inputs.models]
    return {
        path: hashlib.sha256(Path(path).read_bytes()).hexdigest()
        for path in paths
        if path is not None and Path(path).is_file()
    }


def command_line(inputs: Inputs, only: Sequence[str], pictures: bool) -> str:
    """Return the command that makes a report from these inputs."""
    now, usual = inputs.words, Inputs().words
    words = ["hwsim", "report", "-o", "DIR"]
    for name in only:
        words += ["--only", name]
    if now["models"] != usual["models"]:
        words += [word for name in now["models"] for word in ("--model", name)]
    own = ("models", "array", "run", "layer")
    changed = {k: v for k, v in now.items() if k not in own and v != usual[k]}
    changed |= {k: v for k, v in now["array"].items() if v != usual["array"][k]}
    for name, value in changed.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    if inputs.layer is not None:
        words += ["--layer", inputs.layer]
    if not pictures:
        words.append("--no-pictures")
    return shlex.join(words)


def _look_further(inputs: Inputs) -> list[str]:
    """Return commands that show what is behind the figures."""
    model = shlex.quote(inputs.models[0])
    setting = f"--model {model} --scope {inputs.scope} --node {inputs.node} --phase {inputs.phase}"
    return [
        "hwsim tables show",
        f"hwsim energy {setting}",
        f"hwsim tables explain {setting} --format ternary",
        "hwsim energy --published",
    ]


def write(folder: str | Path, files: Mapping[str, bytes]) -> None:
    """Write a report; files of an earlier one that are no part of it any more are removed.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    folder = Path(folder)
    stale = set(_recorded(folder)) - set(files) if (folder / PROVENANCE).exists() else set()
    try:
        for path in {(folder / name).parent for name in files}:
            path.mkdir(parents=True, exist_ok=True)
        # The provenance is written last: a folder without one is not a report.
        (folder / PROVENANCE).unlink(missing_ok=True)
        for name in stale:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from error
    for name in sorted(files, key=lambda name: name == PROVENANCE):
        write_atomically(folder / name, files[name])


def _provenance(folder: Path) -> dict[str, Any]:
    path = folder / PROVENANCE
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{folder}: not a report: no {PROVENANCE} can be read") from error
    except ValueError as error:
        raise InputError(f"{path}: not a JSON file: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("inputs"), dict):
        raise InputError(f"{path}: not the provenance of a report")
    return content


def _recorded(folder: Path) -> list[str]:
    """Return the files that a report says it has; none that is outside of its folders."""
    try:
        recorded = _provenance(folder).get("files")
    except InputError:
        return []
    if not isinstance(recorded, dict):
        return []
    return [
        name
        for name in recorded
        if (parts := Path(name).parts) and ".." not in parts and not Path(name).is_absolute()
    ]


def check(folder: str | Path) -> list[str]:
    """Make a report again from its recorded inputs and today's tables, and compare.

    What the versions of plotting libraries change, pictures and the page, is compared only if they
    are the same as then.

    Returns
    -------
    list of str
        Files that differ or are missing, with the reason.

    Raises
    ------
    InputError
        If the folder is not a report, or an input is not there any more.
    """
    folder = Path(folder)
    before = _provenance(folder)
    try:
        only = tuple(map(str, before.get("only") or ()))
        inputs = Inputs.of(before["inputs"])
        same_versions = before.get("versions") == _versions()
        pictures = bool(before.get("pictures", True))
        now = _make(inputs, only, pictures=pictures, draw=pictures and same_versions)
        changed = _rows_that_changed(before, json.loads(now[PROVENANCE]))
    except InputError as error:
        raise InputError(f"{folder / PROVENANCE}: {error!s:.300}") from error
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        # Whoever wrote the record, hwsim did not: its own can be made again.
        raise InputError(
            f"{folder / PROVENANCE}: not the provenance of a report: "
            f"{type(error).__name__}: {error!s:.200}"
        ) from error
    differing = []
    for name, content in sorted(now.items()):
        if name == PROVENANCE:
            continue
        try:
            there = (folder / name).read_bytes()
        except OSError:
            differing.append(f"{name}: is missing")
            continue
        if there != content:
            differing.append(f"{name}: does not follow from today's tables and code")
    return differing + changed


def _rows_that_changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say which rows and inputs are not what they were."""
    changed = []
    then = {row["row"]: row for row in before.get("table_rows", ())}
    today = {row["row"]: row for row in now["table_rows"]}
    keys = ("value", "low", "high", "unit", "kind", "source")
    for name in sorted(then.keys() | today.keys()):
        a, b = then.get(name), today.get(name)
        if a is None or b is None or any(a[key] != b[key] for key in keys):
            what = "is new" if a is None else "is gone" if b is None else "has changed"
            changed.append(f"{PROVENANCE}: row {name} {what}")
    for path, checksum in (before.get("inputs_sha256") or {}).items():
        if now["inputs_sha256"].get(path) != checksum:
            changed.append(f"{PROVENANCE}: {path} has changed")
    return changed
