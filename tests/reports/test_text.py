import csv
from io import StringIO

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim.reports.content import Caption, Table, exact, number, series
from hwsim.reports.text import as_csv, as_latex, latex, markdown, rows

CAPTION = Caption(shows="Shows.", made="Made.", without="Without.")
HOSTILE = '<script>alert(1)</script> | "it\'s" & 50 % of $x_1$ {#1} *a* `b` \\c'


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12))
def test_numbers_for_reading_have_four_digits(value: float) -> None:
    read = float(number(value).replace(",", ""))
    assert read == pytest.approx(value, rel=5.1e-4)


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (1234567, "1,234,567"), (12345.6, "12,346"), (71.42857, "71.43"), (2e-7, "2e-07")],
)
def test_numbers_one_can_check(value: float, words: str) -> None:
    assert number(value) == words


def test_what_is_not_a_number_is_empty() -> None:
    assert number(float("nan")) == exact(float("nan")) == ""


@given(st.lists(st.floats(-1e300, 1e300), min_size=1))
def test_csv_has_ten_digits(values: list[float]) -> None:
    table = Table(name="t", caption=CAPTION, frame=pd.DataFrame({"x": values}))
    head, *read = csv.reader(StringIO(as_csv(table)))
    assert head == ["x"]
    assert [float(cells[0]) for cells in read] == pytest.approx(values, rel=1e-9)


def test_rows_are_python_s_own_objects() -> None:
    frame = pd.DataFrame({"n": [1, 2], "x": [0.5, 1.5], "s": ["a", "b"]})
    assert rows(frame) == [[1, 0.5, "a"], [2, 1.5, "b"]]
    assert [type(value) for value in rows(frame)[0]] == [int, float, str]


def test_hostile_text_is_text() -> None:
    assert "<" not in markdown(HOSTILE)
    assert r"\|" in markdown(HOSTILE)
    assert markdown("two\nlines") == "two lines"
    escaped = latex(HOSTILE)
    assert escaped.count(r"\textless{}") == 2
    assert r"50 \% of \$x\_1\$ \{\#1\}" in escaped


def test_latex_rows() -> None:
    frame = pd.DataFrame({"a_b (%)": ["x & y"], "value": [1.5]})
    text = as_latex(Table(name="t", caption=CAPTION, frame=frame))
    assert r"a\_b (\%) & value \\" in text
    assert r"x \& y & 1.5 \\" in text
    assert r"\begin{longtable}{lr}" in text
    assert r"\caption{Shows. Made. Without.}" in text


def test_series() -> None:
    assert [series(list(words)) for words in ("", "a", "ab", "abc")] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
