"""What the ranges of the table rows mean for a total or a ratio, and which row matters most.

A total is a sum of rows with factors (see `hwsim.energy.Bill`), a ratio a quotient of two such sums
that share rows. Each row may take any figure in its range, whatever the others do; rows without a
range are taken as certain, which they are not: see `sensitivities` for what they could do.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwsim.energy import Bill
from hwsim.energy_tables import Bound, EnergyTable, Key
from hwsim.errors import InputError

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A figure and the range that it can be in."""

    low: float
    value: float
    high: float


@dataclass(frozen=True)
class Quotient:
    """One bill over another, or over one if there is no other.

    Attributes
    ----------
    keys
        Rows that either uses.
    numerator, denominator
        Their factors, shape (rows,).
    constant
        What is added to the denominator: 1 where there is no bill, else 0.
    """

    keys: tuple[Key, ...]
    numerator: Floats
    denominator: Floats
    constant: float

    @classmethod
    def of(cls, numerator: Bill, denominator: Bill | None = None) -> "Quotient":
        """Return the total of a bill in pJ, or the ratio of the totals of two."""
        above = numerator.rows
        below = denominator.rows if denominator else {}
        keys = tuple(dict.fromkeys((*above, *below)))
        return cls(
            keys,
            np.array([above.get(key, 0.0) for key in keys]),
            np.array([below.get(key, 0.0) for key in keys]),
            0.0 if denominator else 1.0,
        )

    def figures(self, table: EnergyTable, bound: Bound = "value") -> Floats:
        """Return the rows' figures, shape (rows,)."""
        return np.array([table.rows[key].converted(bound) for key in self.keys])

    def at(self, figures: Floats) -> Floats:
        """Evaluate at figures of the rows, shape (..., rows)."""
        with np.errstate(all="ignore"):
            divisor = figures @ self.denominator + self.constant
            quotient: Floats = (figures @ self.numerator) / divisor
        return quotient


def bounds(quotient: Quotient, table: EnergyTable) -> Interval:
    """Return the smallest and the largest value that the rows' ranges allow, exactly.

    A quotient of two linear functions is largest in a corner of the box. At the right quotient q,
    numerator - q x denominator is 0 there, and largest (Dinkelbach's iteration: q rises until then,
    and there are finitely many corners).
    """
    low, value, high = (quotient.figures(table, b) for b in ("low", "value", "high"))

    def extreme(sign: float) -> float:
        best = float(quotient.at(value))
        if not np.isfinite(best):
            raise InputError("energies of the table give no finite figure: zero or too large")
        while True:
            gain = sign * (quotient.numerator - best * quotient.denominator)
            reached = float(quotient.at(np.where(gain > 0, high, low)))
            if not sign * (reached - best) > abs(best) * 1e-12:
                return best
            best = reached

    return Interval(extreme(-1), float(quotient.at(value)), extreme(1))


def sample(quotient: Quotient, table: EnergyTable, *, samples: int, seed: int) -> Floats:
    """Draw rows independently from triangular distributions over their ranges.

    Parameters
    ----------
    quotient, table
        What to evaluate, and the rows.
    samples
        How many.
    seed
        Of the generator.

    Returns
    -------
    Floats
        Values of the quotient, shape (samples,).
    """
    low, value, high = (quotient.figures(table, b) for b in ("low", "value", "high"))
    certain = low == high
    rng = np.random.default_rng(seed)
    # A triangle needs some width; rows without a range get their figure back afterwards.
    drawn = rng.triangular(low, value, np.where(certain, high + 1, high), (samples, len(low)))
    return quotient.at(np.where(certain, value, drawn))


class Sensitivity(NamedTuple):
    """What one row does to a quotient.

    Attributes
    ----------
    key
        The row.
    elasticity
        Per cent that the quotient moves when the row rises by one per cent.
    interval
        The quotient, with the row alone at either end of its range.
    """

    key: Key
    elasticity: float
    interval: Interval


def sensitivities(quotient: Quotient, table: EnergyTable) -> list[Sensitivity]:
    """Return what each row does, the one with the largest elasticity first."""
    low, value, high = (quotient.figures(table, b) for b in ("low", "value", "high"))
    total = float(value @ quotient.numerator)
    below = float(value @ quotient.denominator) + quotient.constant
    found = []
    for index, key in enumerate(quotient.keys):
        shares = value[index] * np.array(
            [quotient.numerator[index] / total, quotient.denominator[index] / below]
        )
        ends = []
        for figure in (low[index], high[index]):
            moved = value.copy()
            moved[index] = figure
            ends.append(float(quotient.at(moved)))
        interval = Interval(min(ends), float(quotient.at(value)), max(ends))
        found.append(Sensitivity(key, float(shares[0] - shares[1]), interval))
    return sorted(found, key=lambda s: -abs(s.elasticity))
