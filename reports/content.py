"""What a report consists of: an answer, tables and pictures, apart from how they are written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Caption:
    """What one must know to read a table or a picture.

    Attributes
    ----------
    shows, made, without
        What it shows, how it was made, and what is not in it; a sentence each.
    """

    shows: str
    made: str
    without: str

    def __str__(self) -> str:
        return f"{self.shows} {self.made} {self.without}"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of figures.

    Attributes
    ----------
    name
        Of its files.
    caption
        See `Caption`.
    frame
        The rows; units are in the names of the columns.
    on_page
        Whether it is shown, or is in a file only since it is long.
    """

    name: str
    caption: Caption
    frame: pd.DataFrame
    on_page: bool = True


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure, not yet drawn.

    Attributes
    ----------
    name
        Of its files.
    caption
        See `Caption`.
    draw
        Makes the figure.
    """

    name: str
    caption: Caption
    draw: "Callable[[], Figure]"


@dataclass(frozen=True, kw_only=True)
class Report:
    """One question and what answers it.

    Attributes
    ----------
    name, question
        What is asked.
    answer
        Three sentences.
    assumptions
        Those that matter most to it, the weightiest first.
    pictures, tables
        What shows it.
    left_out
        Pictures that are not there, each with the reason.
    """

    name: str
    question: str
    answer: Sequence[str]
    assumptions: Sequence[str]
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    left_out: Sequence[str] = field(default=())


def number(value: float) -> str:
    """Write a number for reading: four digits, integers whole."""
    if isinstance(value, bool) or value != value:
        return str(value) if isinstance(value, bool) else ""
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 1e4:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def exact(value: object) -> str:
    """Write a cell of a file: ten digits, so that files do not depend on the last bit."""
    if isinstance(value, float):
        return "" if value != value else f"{value:.10g}"
    return str(value)


def series(words: Sequence[str]) -> str:
    """Write an enumeration."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
