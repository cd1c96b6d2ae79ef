from pathlib import Path

import pytest

from hwsim.energy_tables import EnergyTable
from hwsim.validation import COMPARISONS, Comparison, markdown

TABLE = EnergyTable.load()
PAGE = Path(__file__).parents[1] / "docs" / "validation.md"


def test_a_board_reads_what_its_array_says_to_the_byte() -> None:
    """MerlijnW70/bitnet-kv260, docs/measurements.md, "Bandwidth": 417,546,240 B a token."""
    (found,) = (c for c in COMPARISONS if c.unit == "bytes")
    assert found.predict(TABLE) == found.low == 417_546_240


@pytest.mark.parametrize(
    "comparison",
    [c for c in COMPARISONS if c.unit == "GB"],
    ids=lambda comparison: comparison.system,
)
def test_memory_is_what_the_report_says(comparison: Comparison) -> None:
    """BitNet b1.58 2B4T Technical Report, arXiv 2504.12285, Table 1, one printed decimal."""
    assert comparison.predict(TABLE) == pytest.approx(comparison.low, abs=0.1)


def test_bounds_are_on_the_right_side() -> None:
    """What is not modelled costs time and energy, so the model promises too much, never less."""
    for c in COMPARISONS:
        predicted = c.predict(TABLE)
        if c.unit in ("ms", "J", "pJ"):
            assert predicted <= c.high
        if c.unit in ("tokens/s", "sequences", "x"):
            assert predicted >= c.low


def test_the_page_is_what_the_command_writes() -> None:
    assert PAGE.read_text() == markdown(TABLE)
