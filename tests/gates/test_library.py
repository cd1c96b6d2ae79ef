import numpy as np
import pytest

from hwsim.gates.library import FLIP_FLOP, Cell, expression, load


@pytest.mark.parametrize("cell", load().cells.values(), ids=lambda cell: cell.name)
def test_expressions_are_the_truth_tables_of_the_cells(cell: Cell) -> None:
    names = tuple("abcdef"[: len(cell.inputs)])
    numbers = np.arange(1 << len(names))
    # One column of the table in each bit, as the engine has one step in each.
    columns = {
        name: sum(int(number >> place & 1) << int(number) for number in numbers)
        for place, name in enumerate(names)
    }
    mask = (1 << len(numbers)) - 1
    assert eval(expression(cell.truth, names), {}, columns) & mask == cell.truth


def test_a_register_costs_what_its_row_says() -> None:
    # cells.csv, DFFHQNx1: clock pin 0.4747 fF, edges that move nothing 0.2371 and 0.3499 fJ
    register = load().cells[FLIP_FLOP]
    assert register.idle_clock_fj == pytest.approx(0.4747 * 0.7**2 + 0.2371 + 0.3499)
    assert register.internal_fj - register.idle_rise_fj == pytest.approx(0.4919 - 0.2371)


def test_liberty_offers_cells_of_one_output() -> None:
    liberty = load().liberty
    assert liberty.count("direction: output") == len(load().cells) == liberty.count("cell(")
    assert "FAx1" not in liberty
