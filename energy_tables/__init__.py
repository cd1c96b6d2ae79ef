"""Energies and areas of operations, every row with its source: the only place with picojoules.

The CSV files beside this module have one row per (node, operation, format, size):

========= ==========================================================================================
column    meaning
========= ==========================================================================================
node      process of the logic, such as ``7nm``; ``any`` for memory chips, which have their own
operation one of `OPERATIONS`
format    number format, encoding, state or kind of memory, by operation
size      capacity in KB (1024 bytes) of an ``sram`` row; empty for all others
value     the figure
unit      one of `UNITS`
low, high the range, where the source gives one; both or neither
source    who says so
locator   where: table, page, cell
kind      one of `KINDS`
note      what else one should know
========= ==========================================================================================
"""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from hwsim.errors import InputError

UNITS = {
    "pJ": ("pJ", 1.0),
    "fJ": ("pJ", 1e-3),
    "pJ/bit": ("pJ/bit", 1.0),
    "fJ/bit": ("pJ/bit", 1e-3),
    "pJ/64bit": ("pJ/bit", 1 / 64),
    "um2": ("um2", 1.0),
    "nW": ("pJ/s", 1e3),
    "GB/s": ("GB/s", 1.0),
}
"""Units that a row may have; for each, the unit that it is converted to, and the factor."""

OPERATIONS = {
    "add": "pJ",
    "mul": "pJ",
    "decode": "pJ",
    "flip_flop": "pJ/bit",
    "sram": "pJ/bit",
    "dram": "pJ/bit",
    "area": "um2",
    "leakage": "pJ/s",
    "bandwidth": "GB/s",
}
"""Operations that there are rows for, and what their unit converts to.

`decode` is of a trit, `flip_flop` of a bit and clock cycle, `area` and `leakage` of a MAC with its
share of the lane.
"""

KINDS = ("measured", "published", "derived", "assumed")
"""Where a figure can come from, the firmest first."""

ANY_NODE = "any"
"""Node of the rows that hold whatever the process of the logic is."""

Bound = Literal["value", "low", "high"]
"""Which figure of a row."""


class Key(NamedTuple):
    """Address of a row."""

    node: str
    operation: str
    format: str
    size_kb: float | None = None

    def __str__(self) -> str:
        size = "" if self.size_kb is None else f" of {self.size_kb:g} KB"
        return f"{self.operation} {self.format}{size} at {self.node}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure as its file gives it.

    Attributes
    ----------
    key
        What the figure is of.
    value, low, high
        The figure and its range, in `unit`; without a range all three are equal.
    unit, source, locator, kind, note
        As in the file.
    file, line
        Where the row stands.
    from_user
        Whether that file is the user's own.
    """

    key: Key
    value: float
    low: float
    high: float
    unit: str
    source: str
    locator: str
    kind: str
    note: str
    file: str
    line: int
    from_user: bool

    def converted(self, bound: Bound = "value") -> float:
        """Return a figure in the unit that `OPERATIONS` gives."""
        figures = {"value": self.value, "low": self.low, "high": self.high}
        return figures[bound] * UNITS[self.unit][1]


_COLUMNS = (
    "node operation format size value unit low high source locator kind note".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class EnergyTable:
    """Rows by address. Immutable; `load` reads them.

    Attributes
    ----------
    rows
        In the order of the files.
    overridden
        Rows of the package whose place a row of the user's file has taken.
    """

    rows: Mapping[Key, Row]
    overridden: tuple[Row, ...] = ()

    @property
    def user_rows(self) -> tuple[Row, ...]:
        """Rows that come from the user's file, whether new or in place of others."""
        return tuple(row for row in self.rows.values() if row.from_user)

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """Nodes that there are rows for, `ANY_NODE` aside."""
        return tuple(dict.fromkeys(key.node for key in self.rows if key.node != ANY_NODE))

    def find(self, node: str, operation: str, format: str) -> Row | None:
        """Return the row of an operation without a size, or None if there is none."""
        for at in (node, ANY_NODE):
            if row := self.rows.get(Key(at, operation, format)):
                return row
        return None

    def row(self, node: str, operation: str, format: str) -> Row:
        """Return the row of an operation without a size.

        Raises
        ------
        InputError
            If there is none, naming it and listing what there is.
        """
        self.check_node(node)
        if row := self.find(node, operation, format):
            return row
        known = sorted(
            key.format
            for key in self.rows
            if key.node in (node, ANY_NODE) and key.operation == operation
        )
        raise InputError(
            f"energy tables: no row for {Key(node, operation, format)}; "
            f"known there: {', '.join(known) or 'none'}"
        )

    def sram(
        self, node: str, capacity_bytes: Any, *, extrapolate: bool = False
    ) -> tuple[tuple[Row, Any], ...]:
        """Return the rows, with weights, whose weighted sum is the energy of a memory, a bit.

        Interpolated linearly in the logarithm of the capacity. Below the smallest row its energy is
        taken as an upper bound. Beyond the largest, if asked for, the energy grows with the side of
        the array, since its wires do: with the square root of the capacity. No weight is negative,
        so that no memory gets cheaper when a row rises.

        Parameters
        ----------
        node
            Process.
        capacity_bytes
            Capacity; of several memories, an array, and so are the weights.
        extrapolate
            Go on beyond the largest row.

        Raises
        ------
        InputError
            If there is no row for the node, or a memory is larger than the largest one.
        """
        self.check_node(node)
        rows = sorted(
            (row for key, row in self.rows.items() if key[:2] == (node, "sram")),
            key=lambda row: _capacity_kb(row.key),
        )
        if not rows:
            raise InputError(f"energy tables: no row for sram at {node}")
        largest = _capacity_kb(rows[-1].key)
        if np.any(capacity_bytes > 1024 * largest) and not extrapolate:
            raise InputError(
                f"energy tables: sram of {np.max(capacity_bytes) / 1024:g} KB at {node} is beyond "
                f"the largest row, {largest:g} KB; ask for extrapolation to go on"
            )
        places = np.log([1024 * _capacity_kb(row.key) for row in rows])
        place = np.log(capacity_bytes)
        weights = [np.interp(place, places, unit) for unit in np.eye(len(rows))]
        weights[-1] = weights[-1] * np.exp(np.maximum(0, place - places[-1]) / 2)
        return tuple(pair for pair in zip(rows, weights, strict=True) if np.any(pair[1]))

    def check_node(self, node: str) -> None:
        """Refuse a node that there are no rows for.

        Raises
        ------
        InputError
            Listing those there are.
        """
        if node not in self.nodes:
            raise InputError(f"node {node!r}: no such node; known: {', '.join(self.nodes)}")

    @classmethod
    def load(cls, user_file: str | Path | None = None) -> Self:
        """Read the tables of the package and, if given, one of the user's own.

        A row of the user's file takes the place of the package's row of that address, or is new.

        Raises
        ------
        InputError
            Naming file and line, if a row is not as the columns say.
        """
        rows: dict[Key, Row] = {}
        for file in sorted(resources.files(__name__).iterdir(), key=lambda file: file.name):
            if file.name.endswith(".csv"):
                _add(rows, _read(file.name, file.read_text(encoding="utf-8"), from_user=False))
        overridden: tuple[Row, ...] = ()
        if user_file is not None:
            try:
                text = Path(user_file).read_text(encoding="utf-8")
            except OSError as error:
                raise InputError(f"{user_file}: {error.strerror}") from error
            except UnicodeDecodeError as error:
                raise InputError(f"{user_file}: not a text file in UTF-8") from error
            own: dict[Key, Row] = {}
            _add(own, _read(str(user_file), text, from_user=True))
            overridden = tuple(rows[key] for key in own if key in rows)
            rows |= own
        return cls(MappingProxyType(rows), overridden)


def _capacity_kb(key: Key) -> float:
    assert key.size_kb is not None  # every sram row has one
    return key.size_kb


def _add(rows: dict[Key, Row], new: Iterable[Row]) -> None:
    for row in new:
        if row.key in rows:
            first = rows[row.key]
            raise InputError(
                f"{row.file}:{row.line}: {row.key} is there already ({first.file}:{first.line})"
            )
        rows[row.key] = row


def _read(file: str, text: str, *, from_user: bool) -> Iterator[Row]:
    """Read the rows of one file; `file` is its name in messages."""
    reader = csv.DictReader(StringIO(text, newline=""), strict=True)
    try:
        if reader.fieldnames is None or sorted(reader.fieldnames) != sorted(_COLUMNS):
            found = ", ".join(reader.fieldnames or ()) or "nothing"
            raise InputError(f"{file}:1: columns must be {', '.join(_COLUMNS)}, not {found}")
        for cells in reader:
            yield _parse(cells, file, reader.line_num, from_user)
    except csv.Error as error:
        raise InputError(f"{file}:{reader.line_num}: not a CSV file: {error}") from error


def _parse(cells: dict[str, str], file: str, line: int, from_user: bool) -> Row:
    where = f"{file}:{line}"
    if None in cells or None in cells.values():
        raise InputError(f"{where}: must have {len(_COLUMNS)} cells")
    cells = {column: cell.strip() for column, cell in cells.items()}
    for column in ("node", "operation", "format", "value", "unit", "source", "kind"):
        if not cells[column]:
            raise InputError(f"{where}: has no {column}")
    for column, known in (("operation", OPERATIONS), ("unit", UNITS), ("kind", KINDS)):
        if cells[column] not in known:
            raise InputError(
                f"{where}: unknown {column} {cells[column]!r}; known: {', '.join(known)}"
            )
    operation, unit = cells["operation"], cells["unit"]
    if UNITS[unit][0] != OPERATIONS[operation]:
        units = [name for name, (base, _) in UNITS.items() if base == OPERATIONS[operation]]
        raise InputError(f"{where}: {operation} must be in {' or '.join(units)}, not in {unit}")
    if bool(cells["size"]) != (operation == "sram"):
        raise InputError(f"{where}: size must be given for sram, and for sram only")
    if bool(cells["low"]) != bool(cells["high"]):
        raise InputError(f"{where}: low and high must both be given, or neither")
    value = _number(cells, "value", where)
    low, high = (_number(cells, b, where) if cells[b] else value for b in ("low", "high"))
    if not low <= value <= high:
        raise InputError(f"{where}: value {value:g} must be from low {low:g} to high {high:g}")
    if operation in ("area", "bandwidth") and not low:
        raise InputError(f"{where}: {operation} must be above 0")
    size_kb = _number(cells, "size", where) if cells["size"] else None
    if size_kb == 0:
        raise InputError(f"{where}: size must be above 0")
    return Row(
        key=Key(cells["node"], operation, cells["format"], size_kb),
        value=value,
        low=low,
        high=high,
        unit=unit,
        source=cells["source"],
        locator=cells["locator"],
        kind=cells["kind"],
        note=cells["note"],
        file=file,
        line=line,
        from_user=from_user,
    )


def _number(cells: Mapping[str, str], column: str, where: str) -> float:
    try:
        number = float(cells[column])
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise InputError(
            f"{where}: {column} must be a finite number of at least 0, not {cells[column]!r}"
        )
    return number
