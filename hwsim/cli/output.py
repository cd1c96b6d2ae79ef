"""Printing: tables for people, JSON for machines, progress on a terminal."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from hwsim.errors import InputError
from hwsim.files import check_writable, write_atomically

JsonFile = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="write JSON to a file, or - for stdout")
]


def distinct_files(outputs: Sequence[str], inputs: Sequence[str]) -> None:
    """Refuse to write over what is read, or to write one file twice.

    Raises
    ------
    InputError
        Naming the file.
    """
    seen = [os.path.realpath(name) for name in inputs if os.path.exists(name)]
    for name in outputs:
        path = os.path.realpath(name)
        if path in seen and (os.path.isfile(path) or not os.path.exists(path)):
            raise InputError(f"{name}: is read or written already; outputs need files of their own")
        seen.append(path)


def refuse_changed(needed: str, **options: tuple[object, object]) -> None:
    """Refuse options that would do nothing without another one.

    Parameters
    ----------
    needed
        The option without which they do nothing; it was not given.
    options
        Their values and defaults, by name.

    Raises
    ------
    InputError
        Naming the first that was given.
    """
    for name, (value, default) in options.items():
        if value != default:
            raise InputError(f"--{name.replace('_', '-')} is for {needed}")


def check_outputs(*files: str | Path | None) -> None:
    """Refuse files that cannot be written before a long run, not after it.

    What is None or ``-`` is left out.

    Raises
    ------
    InputError
        Naming the file.
    """
    for file in files:
        if file is not None and str(file) != "-":
            check_writable(file)


def check_results(
    folder: str | Path | None, names: Sequence[str], json_file: str | None, inputs: Sequence[str]
) -> None:
    """Refuse results that would take the place of an input, of a folder or of each other.

    Parameters
    ----------
    folder, names
        Where they go, if anywhere, and their files there; the folder need not exist.
    json_file
        Of `--json`.
    inputs
        What is read.

    Raises
    ------
    InputError
        Naming the file.
    """
    written = [] if folder is None else [os.path.join(folder, name) for name in names]
    if json_file not in (None, "-"):
        written.append(json_file)
    distinct_files(written, inputs)
    check_outputs(*filter(os.path.exists, written))


def write_json(file: str, content: dict[str, Any]) -> None:
    """Write JSON to a file, or to stdout for ``-``."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    if file == "-":
        sys.stdout.write(text)
    else:
        write_atomically(file, text)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; the first column is text, the others are numbers."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    # Where nobody looks at a screen, nothing is cut to its width.
    Console(width=None if sys.stdout.isatty() else 240).print(table)


def print_cycles(title: str, cycles: Mapping[str, int]) -> None:
    """Print cycles by cause, `total` among them, with their shares of it."""
    total = cycles["total"]
    rows = [(name, f"{count:,}", f"{count / total:.1%}") for name, count in cycles.items()]
    print_table(title, ("cause", "cycles", "share"), rows)


def print_extrapolated(result: Mapping[str, Any]) -> None:
    """Say why energies of a result are extrapolated, if some are."""
    if reason := result["extrapolated"]:
        print(f"extrapolated: {reason.partition(';')[0]}")


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show progress on stderr, if that is a terminal; give the function that is told how far."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=total)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def status(description: str) -> Iterator[Callable[[str], None]]:
    """Show what is being done, and for how long, on a terminal; give the function that is told."""
    if not sys.stderr.isatty():
        yield lambda what: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=None)
        yield lambda what: progress.update(task, description=f"{description}: {what}")


@contextmanager
def step_bar(description: str, steps: int) -> Iterator[Callable[[str], None]]:
    """Show steps done and the time left, on a terminal; give the function that is told of each."""
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=steps)
        yield lambda step: progress.update(task, advance=1, description=f"{description}: {step}")
