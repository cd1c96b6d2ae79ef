"""Tables and reports as text: CSV, LaTeX and Markdown."""

import csv
import re
from collections.abc import Iterable, Iterator
from html import escape
from io import StringIO
from typing import Any

import pandas as pd  # type: ignore[import-untyped]

from hwsim.reports.content import Report, Table, exact, number


def cell(value: Any) -> str:
    """Write a cell for reading."""
    return number(value) if isinstance(value, int | float) else str(value)


def rows(frame: pd.DataFrame) -> list[list[Any]]:
    """Return the cells of a table as Python's own objects, row by row."""
    columns = [frame[name].tolist() for name in frame.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def as_csv(table: Table) -> str:
    """Write a table as CSV, a row of names first."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.frame.columns)
    writer.writerows([exact(value) for value in row] for row in rows(table.frame))
    return out.getvalue()


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def latex(text: str) -> str:
    """Escape a text for LaTeX."""
    return "".join(_LATEX.get(character, character) for character in text)


def as_latex(table: Table) -> str:
    r"""Write a table for ``\\input``: a `longtable` with `booktabs` lines, and its caption."""
    lines = rows(table.frame)
    first = lines[0] if lines else []
    columns = "".join("r" if isinstance(value, int | float) else "l" for value in first)
    head = " & ".join(latex(str(name)) for name in table.frame.columns)
    return "\n".join(
        [
            "% \\usepackage{booktabs,longtable}",
            rf"\begin{{longtable}}{{{columns}}}",
            rf"\caption{{{latex(str(table.caption))}}}\label{{tab:{table.name}}}\\",
            r"\toprule",
            rf"{head} \\",
            r"\midrule\endhead",
            *(" & ".join(latex(cell(value)) for value in row) + r" \\" for row in lines),
            r"\bottomrule",
            r"\end{longtable}",
            "",
        ]
    )


def markdown(text: str) -> str:
    """Escape a text for Markdown, so that it shows as it is."""
    line = " ".join(text.split())
    return re.sub(r"([\\`*|\[\]])", r"\\\1", escape(line, quote=False))


def _markdown_table(table: Table) -> Iterator[str]:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cells)} |"

    lines = rows(table.frame)
    first = lines[0] if lines else []
    yield line(markdown(str(name)) for name in table.frame.columns)
    yield line("--:" if isinstance(value, int | float) else "---" for value in first)
    for row in lines:
        yield line(markdown(cell(value)) for value in row)


def as_markdown(
    reports: Iterable[Report], *, title: str, command: str, pictures: bool
) -> Iterator[str]:
    """Write reports as Markdown, line by line.

    Parameters
    ----------
    reports
        What to write.
    title, command
        Of the page, and what makes it again.
    pictures
        Whether pictures stand in ``figures`` beside it.
    """
    yield f"# {markdown(title)}"
    yield ""
    yield f"Made by <code>{markdown(command)}</code>."
    yield "Sources of all figures: [provenance.json](provenance.json)."
    for report in reports:
        yield from ("", f"## {markdown(report.question)}", "")
        yield markdown(" ".join(report.answer))
        yield from ("", "What matters most:", "")
        yield from (f"* {markdown(words)}" for words in report.assumptions)
        for picture in report.pictures if pictures else ():
            path = f"figures/{picture.name}.svg"
            caption = markdown(str(picture.caption))
            yield from ("", f"![{markdown(picture.caption.shows)}]({path})", "", f"*{caption}*")
        for table in report.tables:
            file = f"[tables/{table.name}.csv](tables/{table.name}.csv)"
            yield from ("", f"**{markdown(table.caption.shows)}** {file}", "")
            if table.on_page:
                yield from _markdown_table(table)
                yield ""
            yield markdown(f"{table.caption.made} {table.caption.without}")
        if report.left_out:
            yield from ("", f"Left out: {markdown('; '.join(report.left_out))}.")
    yield ""
