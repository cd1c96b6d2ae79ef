"""Whether the papers' figures follow, and what is left of them in a system."""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd  # type: ignore[import-untyped]
from matplotlib.figure import Figure

from hwsim.compare import Result
from hwsim.models import ModelShape
from hwsim.published import FIGURES, WORKLOAD, Residual, residuals
from hwsim.reports.content import Caption, Picture, Report, Table, number
from hwsim.reports.inputs import Inputs
from hwsim.reports.model import array_words, kind_of_total, ratio, setting
from hwsim.reports.style import BLUE, GREEN, INK, ORANGE, VERMILION, canvas, legend_above
from hwsim.uncertainty import Interval
from hwsim.validation import COMPARISONS
from hwsim.workload import Workload

_RATIO = "fp16 / ternary"


def report(inputs: Inputs) -> Report:
    """Answer for all published figures, and for all models."""
    return Report(
        name="published",
        question="Do the published figures follow, and what is left of them in a system?",
        answer=_answer(inputs),
        assumptions=[
            (
                "The papers count the arithmetic of one pass over 512 tokens: no memory, no "
                "embedding, no LM head; nothing here is fitted to them."
            ),
            (
                "A ternary multiply-accumulate is counted as one INT8 addition, although sums grow "
                "wider; scope core counts their real width."
            ),
            f"Beyond the arithmetic: {setting(inputs)}.",
        ],
        pictures=(ratio_picture(inputs),),
        tables=(residuals_table(inputs), ratio_table(inputs), validation_table(inputs)),
    )


def _answer(inputs: Inputs) -> list[str]:
    found = residuals(inputs.energies)
    worst = max(found, key=lambda r: abs(r.relative))
    exact = sum(r.reproduced for r in found)
    large = inputs.shapes[-1]
    curves = {curve.name: curve for curve in _curves(inputs)}
    ends = {name: curve.at(inputs, large).value for name, curve in curves.items()}
    beyond = [f"{number(value)} times ({name})" for name, value in list(ends.items())[1:]]
    quoted = sum(not r.figure.re_read for r in found)
    return [
        (
            f"Of {len(found)} printed figures, {exact} follow to their last digit from shapes and "
            f"tables; the largest residual is {worst.relative:+.1%} ({worst.figure.quantity} of "
            f"{worst.figure.model}, {worst.figure.source})."
        ),
        (
            f"Counted as in the papers, the largest model here ({large.name}) takes "
            f"{number(next(iter(ends.values())))} times as much energy in FP16 as in ternary; "
            f"with more of the hardware counted it is {' and '.join(beyond)}."
        ),
        f"{quoted} of the printed figures are quoted, not read again in their source.",
    ]


class _Curve(NamedTuple):
    """Ratios across sizes under one way of counting."""

    name: str
    scope: str
    workload: Workload
    node: str
    colour: str
    marker: str

    def results(self, inputs: Inputs, model: ModelShape) -> dict[str, Result]:
        """Return a model's run by format."""
        return inputs.results(model, scope=self.scope, workload=self.workload, node=self.node)

    def at(self, inputs: Inputs, model: ModelShape) -> Interval:
        """Return FP16 over ternary."""
        results = self.results(inputs, model)
        return ratio(results["fp16"], results["ternary"])


def _curves(inputs: Inputs) -> Iterator[_Curve]:
    work = inputs.workload(inputs.phase)
    yield _Curve("arithmetic, as published", "arithmetic", WORKLOAD, "7nm", BLUE, "o")
    for scope, colour, marker in (("core", GREEN, "^"), ("system", VERMILION, "s")):
        name = f"{scope}, {work.phase}"
        yield _Curve(name, scope, work, inputs.node, colour, marker)


def ratio_table(inputs: Inputs) -> Table:
    """Return FP16 over ternary of every model, under each way of counting."""
    printed = {f.model: f.printed for f in FIGURES if f.quantity == _RATIO}
    rows = []
    for model in inputs.shapes:
        for curve in _curves(inputs):
            interval = curve.at(inputs, model)
            rows.append(
                {
                    "model": model.name,
                    "linear weights (10^9)": model.linear_weights / 1e9,
                    "as if ternary": "no" if model.ternary else "yes",
                    "counted": curve.name,
                    "FP16 / ternary": interval.value,
                    "low": interval.low,
                    "high": interval.high,
                    "kind": kind_of_total(curve.results(inputs, model)["ternary"]),
                    "printed": printed.get(model.name, float("nan"))
                    if curve.scope == "arithmetic"
                    else float("nan"),
                }
            )
    return Table(name="ratio", caption=_ratio_caption(inputs), frame=pd.DataFrame(rows))


def _ratio_caption(inputs: Inputs) -> Caption:
    return Caption(
        shows="FP16 over ternary energy across model sizes: the published points, the same count "
        "by hwsim, and what is left when the rest of the array and the memory are counted too; "
        "bars with caps are ranges.",
        made="Predicted counts times table rows; arithmetic as in the papers (7nm, prefill of 512 "
        f"tokens), the others {setting(inputs).partition(' at ')[2]}.",
        without="Hollow marks are models that were not trained with ternary weights, priced as if; "
        "the published points give no range but their last digit, and the rows of the arithmetic "
        "have none.",
    )


def _families(inputs: Inputs) -> dict[str, list[ModelShape]]:
    """Group models by the paper that describes them: a line joins those of one."""
    families: dict[str, list[ModelShape]] = {}
    for model in inputs.shapes:
        families.setdefault(model.source, []).append(model)
    return families


def ratio_picture(inputs: Inputs) -> Picture:
    """Draw FP16 over ternary across model sizes."""

    def draw() -> Figure:
        figure, axes = canvas(8.0, 4.8)
        for curve in _curves(inputs):
            for source, models in _families(inputs).items():
                ends = [curve.at(inputs, model) for model in models]
                own = models[0].ternary
                axes.errorbar(
                    [m.linear_weights / 1e9 for m in models],
                    [e.value for e in ends],
                    [[e.value - e.low for e in ends], [e.high - e.value for e in ends]],
                    fmt=f"{curve.marker}-",
                    color=curve.colour,
                    markerfacecolor=curve.colour if own else "none",
                    markersize=5,
                    linewidth=1,
                    capsize=3,
                    label=curve.name if source == inputs.shapes[-1].source else None,
                )
        models_by_name = {m.name: m for m in inputs.shapes}
        points = [f for f in FIGURES if f.quantity == _RATIO and f.model in models_by_name]
        axes.scatter(
            [models_by_name[f.model].linear_weights / 1e9 for f in points],
            [f.printed for f in points],
            s=110,
            marker="*",
            color=ORANGE,
            edgecolor=INK,
            linewidth=0.6,
            zorder=4,
            label="published",
        )
        axes.set_xscale("log")
        axes.set_yscale("log")
        ticks = [1, 2, 5, 10, 20, 50]
        axes.set_yticks(ticks, [f"{tick}x" for tick in ticks])
        axes.minorticks_off()
        sizes = [0.1, 0.3, 1, 3, 10, 30, 70]
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.set_ylim(1, 80)
        axes.set_xlabel("weights in linear layers (10⁹)")
        axes.set_ylabel("energy, FP16 over ternary (times)")
        legend_above(figure, axes)
        return figure

    return Picture(name="ratio", caption=_ratio_caption(inputs), draw=draw)


def residuals_table(inputs: Inputs) -> Table:
    """Return what papers print, and what comes out for it."""

    def row(r: Residual) -> dict[str, object]:
        return {
            "source": f"{r.figure.source}, {r.figure.locator}",
            "model": r.figure.model,
            "figure": f"{r.figure.quantity}, {r.figure.node}",
            "printed (J or times)": r.figure.printed,
            "computed (J or times)": r.computed,
            "residual (%)": 100 * r.relative,
            "read again": "yes" if r.figure.re_read else "no, quoted",
        }

    return Table(
        name="residuals",
        caption=Caption(
            shows="Every printed figure beside what the same method gives.",
            made="Operations counted from shapes, times the published energies of operations.",
            without="No memory, no embedding, no LM head, as in the papers; nothing is fitted.",
        ),
        frame=pd.DataFrame([row(r) for r in residuals(inputs.energies)]),
    )


def validation_table(inputs: Inputs) -> Table:
    """Return how predictions compare with hardware that exists."""
    rows = []
    for c in COMPARISONS:
        predicted = c.predict(inputs.energies)
        rows.append(
            {
                "system": c.system,
                "quantity": f"{c.quantity} ({c.unit})",
                "theirs, low": c.low,
                "theirs, high": c.high,
                "how": c.how,
                "predicted": predicted,
                "predicted / theirs": predicted / ((c.low + c.high) / 2),
                "source": c.source,
                "what the prediction misses": c.misses,
            }
        )
    return Table(
        name="validation",
        caption=Caption(
            shows="What others measured or built gate by gate, beside what hwsim predicts.",
            made="Each with an array and a workload of its own (`hwsim/validation.py`), not with "
            f"{array_words(inputs)}; where theirs is a range, the quotient is over its middle.",
            without="The last column says what each prediction leaves out.",
        ),
        frame=pd.DataFrame(rows),
    )
