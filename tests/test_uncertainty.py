import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toytable import write_table

from hwsim.energy import Bill, Charge
from hwsim.energy_tables import EnergyTable, Key
from hwsim.errors import InputError
from hwsim.uncertainty import Quotient, bounds, sample, sensitivities

ADD, MUL, DRAM = Key("u", "add", "int8"), Key("u", "mul", "int8"), Key("u", "dram", "hbm2")
ROWS = """\
u,add,int8,,2,pJ,1,4,me,,assumed,
u,mul,int8,,3,pJ,,,me,,assumed,
u,dram,hbm2,,5,pJ/bit,4,8,me,,assumed,
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> EnergyTable:
    return EnergyTable.load(write_table(tmp_path_factory.mktemp("u"), ROWS))


def bill(add: float, mul: float, dram: float) -> Bill:
    charges = zip(("linear_add", "linear_mul", "weights_dram"), (ADD, MUL, DRAM), strict=True)
    times = (add, mul, dram)
    return Bill.of("system", (Charge(*c, n) for c, n in zip(charges, times, strict=True)))


def test_bounds_of_a_total_by_hand(table) -> None:
    assert bounds(Quotient.of(bill(10, 1, 2)), table) == (10 + 3 + 8, 20 + 3 + 10, 40 + 3 + 16)


def test_a_row_that_both_use_does_not_widen_the_ratio(table) -> None:
    assert bounds(Quotient.of(bill(6, 0, 0), bill(2, 0, 0)), table) == (3, 3, 3)


@given(factors=st.lists(st.integers(1, 9), min_size=6, max_size=6))
def test_bounds_are_exact_and_contain_all_samples(table, factors) -> None:
    quotient = Quotient.of(bill(*factors[:3]), bill(*factors[3:]))
    interval = bounds(quotient, table)
    corners = itertools.product((1, 4), (3,), (4, 8))
    values = [float(quotient.at(np.array(corner))) for corner in corners]
    assert interval.low == pytest.approx(min(values))
    assert interval.high == pytest.approx(max(values))
    drawn = sample(quotient, table, samples=200, seed=1)
    assert interval.low * (1 - 1e-9) <= drawn.min() <= drawn.max() <= interval.high * (1 + 1e-9)


def test_samples_depend_on_the_seed_alone(table) -> None:
    quotient = Quotient.of(bill(1, 2, 3), bill(3, 2, 1))
    one, same, other = (sample(quotient, table, samples=50, seed=s) for s in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_sensitivities_by_hand(table) -> None:
    first, second, third = sensitivities(Quotient.of(bill(10, 1, 2)), table)
    assert first.key == ADD
    assert first.elasticity == pytest.approx(20 / 33)
    assert first.interval == (10 + 3 + 10, 33, 40 + 3 + 10)
    assert (second.key, third.key) == (DRAM, MUL)
    assert third.interval == (33, 33, 33)  # no range
    ratio = sensitivities(Quotient.of(bill(10, 0, 0), bill(1, 0, 1)), table)
    assert [s.key for s in ratio] == [ADD, DRAM]
    assert sum(s.elasticity for s in ratio) == pytest.approx(0)  # units cancel


def test_energies_without_a_finite_figure_are_refused(table) -> None:
    nothing = Quotient.of(bill(0, 0, 0), bill(0, 0, 0))
    with pytest.raises(InputError, match="no finite figure"):
        bounds(nothing, table)
