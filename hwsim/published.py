"""Energies that papers print, beside what shapes and tables give for them.

The papers count the arithmetic of one forward pass over 512 tokens: no memory, no embedding, no LM
head. Nothing here is fitted: a residual says how far the method, as we understand it, is from what
was printed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from hwsim.compare import FORMATS, run
from hwsim.config import preset
from hwsim.energy import PICOJOULES, Bill, EnergyReport, Rates
from hwsim.energy_tables import EnergyTable
from hwsim.models import ZOO
from hwsim.workload import Workload

_ERA = "The Era of 1-bit LLMs, arXiv 2402.17764"
_2B4T = "BitNet b1.58 2B4T Technical Report, arXiv 2504.12285"
_BITNET = "BitNet: Scaling 1-bit Transformers, arXiv 2310.11453"

WORKLOAD = Workload(phase="prefill", tokens=512)
"""What all figures are of."""


@dataclass(frozen=True)
class Figure:
    """One printed number.

    Attributes
    ----------
    source, locator
        Where it is printed.
    model
        Name in the zoo.
    quantity
        One of `QUANTITIES`.
    node
        Process.
    printed
        The number, in joules, or a ratio.
    digit
        The place of its last printed digit.
    re_read
        Whether the number was compared with the source again, or is quoted.
    """

    source: str
    locator: str
    model: str
    quantity: str
    node: str
    printed: float
    digit: float
    re_read: bool = True


def energy(model: str, number: str, rates: Rates) -> EnergyReport:
    """Return the arithmetic energy of a model, in ``ternary``, ``fp16`` or ``fp32``."""
    format = FORMATS["ternary" if number == "ternary" else "fp16"]
    array = format.array(preset("default-64x64"), rates, "equal-peak")
    result = run(ZOO[model], format, array, WORKLOAD, rates, scope="arithmetic")
    bill = result.bill
    if number == "fp32":  # the same operations, each in FP32
        counts = {(part, key._replace(format="fp32")): n for (part, key), n in bill.counts.items()}
        bill = Bill(bill.scope, counts)
    return bill.price(rates.table)


def _mul(report: EnergyReport) -> float:
    return (report.linear_mul + report.scales + report.attention_mul) / PICOJOULES


def _add(report: EnergyReport) -> float:
    return (report.linear_add + report.attention_add) / PICOJOULES


def _total(report: EnergyReport) -> float:
    return report.total_pj / PICOJOULES


def _linear(report: EnergyReport) -> float:
    return report.linear_mul + report.linear_add


Computation = Callable[[str, Rates], float]


def _energy_of(number: str, joules: Callable[[EnergyReport], float]) -> Computation:
    return lambda model, rates: joules(energy(model, number, rates))


def _ratio_of(joules: Callable[[EnergyReport], float]) -> Computation:
    large, small = (_energy_of(number, joules) for number in ("fp16", "ternary"))
    return lambda model, rates: large(model, rates) / small(model, rates)


QUANTITIES: dict[str, Computation] = {
    "fp16 MAC / ternary MAC": _ratio_of(_linear),
    "fp16 / ternary": _ratio_of(_total),
    **{
        f"{number} {name}": _energy_of(number, joules)
        for number in ("fp32", "fp16", "ternary")
        for name, joules in (("total", _total), ("mul", _mul), ("add", _add))
    },
}
"""What is printed: energies in joules, multiplies and adds apart or together, and ratios."""


def _bitnet_table(
    size: str, number: str, node: str, mul: float, add: float, *, re_read: bool = False
) -> tuple[Figure, ...]:
    model = f"bitnet-{size}"
    return tuple(
        Figure(_BITNET, "Table 1", model, f"{number} {name}", node, joules, 0.01, re_read)
        for name, joules in (("mul", mul), ("add", add))
    )


FIGURES: tuple[Figure, ...] = (
    Figure(_ERA, "section 3", "bitnet-b1.58-7b", "fp16 MAC / ternary MAC", "7nm", 71.4, 0.1),
    *(
        Figure(_ERA, "Fig. 3", f"bitnet-b1.58-{size}", "fp16 / ternary", "7nm", ratio, 0.1, re_read)
        for size, ratio, re_read in (
            ("1.3b", 18.6, True),
            ("3b", 21.7, False),
            ("7b", 29.1, True),
            ("13b", 32.9, False),
            ("70b", 41.2, True),
        )
    ),
    *(
        Figure(_2B4T, "Table 1", model, f"{number} total", "7nm", joules, 0.001)
        for model, number, joules in (
            ("bitnet-b1.58-2b-4t", "ternary", 0.028),
            ("llama-3.2-1b", "fp16", 0.258),
            ("gemma-3-1b", "fp16", 0.186),
            ("qwen2.5-1.5b", "fp16", 0.347),
            ("smollm2-1.7b", "fp16", 0.425),
            ("minicpm-2b", "fp16", 0.649),
        )
    ),
    *(
        Figure(_BITNET, "Fig. 1", f"bitnet-{size}", "fp16 / ternary", "7nm", ratio, 0.1)
        for size, ratio in (
            ("125m", 8.8),
            ("350m", 11.0),
            ("760m", 15.0),
            ("1.3b", 18.6),
            ("2.7b", 21.7),
            ("30b", 38.8),
        )
    ),
    *_bitnet_table("6.7b", "fp32", "7nm", 4.41, 1.28, re_read=True),
    *_bitnet_table("6.7b", "fp16", "7nm", 1.14, 0.54, re_read=True),
    *_bitnet_table("6.7b", "fp32", "45nm", 12.46, 3.03, re_read=True),
    *_bitnet_table("6.7b", "ternary", "45nm", 0.08, 0.13, re_read=True),
    *_bitnet_table("13b", "fp32", "7nm", 8.58, 2.49),
    *_bitnet_table("13b", "fp16", "7nm", 2.23, 1.05),
    *_bitnet_table("30b", "fp32", "7nm", 20.09, 5.83),
    *_bitnet_table("30b", "fp16", "7nm", 5.21, 2.45),
)
"""What is printed."""


class Residual(NamedTuple):
    """A printed figure and what comes out for it."""

    figure: Figure
    computed: float

    @property
    def relative(self) -> float:
        """How much larger the computed figure is, as a fraction of the printed one."""
        return self.computed / self.figure.printed - 1

    @property
    def reproduced(self) -> bool:
        """Whether it is the printed one, to within its last digit."""
        return abs(self.computed - self.figure.printed) < self.figure.digit


def residuals(table: EnergyTable) -> list[Residual]:
    """Compute every figure.

    Raises
    ------
    InputError
        If the table lacks a row.
    """
    rates = Rates(table=table)
    return [
        Residual(f, QUANTITIES[f.quantity](f.model, replace(rates, node=f.node))) for f in FIGURES
    ]
