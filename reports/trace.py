"""What the weights and activations of a trace look like."""

from typing import NamedTuple

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hwsim.compare import FORMATS
from hwsim.encoding import ENCODINGS
from hwsim.energy import PICOJOULES, bill_layer
from hwsim.layer import Layer
from hwsim.predict import predict
from hwsim.reports.content import Caption, Picture, Report, Table, number
from hwsim.reports.inputs import Inputs
from hwsim.reports.model import array_words
from hwsim.reports.style import BLUE, GREY, INK, ORANGE, VERMILION, canvas, label, legend_above

_SCOPE = "core"
_SHOWN = 30
"""Layers in a picture, at most; beyond, those are shown that are spread evenly over the model."""


class Statistics(NamedTuple):
    """Counts of one layer; `histogram` has the activations from -128 on, empty without any."""

    name: str
    out_features: int
    in_features: int
    tokens: int
    negative: int
    zero: int
    positive: int
    histogram: NDArray[np.int64]

    @classmethod
    def of(cls, layer: Layer) -> "Statistics":
        """Count."""
        negative, zero, positive = np.bincount(layer.weight.ravel() + 1, minlength=3).tolist()
        values = layer.activation
        histogram = np.zeros(256, np.int64)
        if values is not None:
            histogram = np.bincount(values.ravel().astype(np.int64) + 128, minlength=256)
        return cls(
            layer.name,
            layer.out_features,
            layer.in_features,
            layer.tokens,
            negative,
            zero,
            positive,
            histogram,
        )

    @property
    def weights(self) -> int:
        """Weights of the layer."""
        return self.out_features * self.in_features

    @property
    def entropy(self) -> float:
        """Bits that a weight holds, if weights were independent."""
        shares = np.array([self.negative, self.zero, self.positive]) / self.weights
        shares = shares[shares > 0]
        return float(-(shares * np.log2(shares)).sum())

    @property
    def sigma(self) -> float:
        """Root mean square of the activations."""
        if not self.histogram.any():
            return float("nan")
        values = np.arange(-128, 128)
        return float(np.sqrt((self.histogram * values**2).sum() / self.histogram.sum()))


def statistics(inputs: Inputs) -> list[Statistics]:
    """Return the counts of all layers, in natural order of their names."""
    return inputs.once("statistics", lambda: [Statistics.of(layer) for layer in inputs.data])


def report(inputs: Inputs) -> Report:
    """Answer for the trace of the inputs."""
    found = statistics(inputs)
    pictures, left_out = [weights_picture(inputs)], []
    if any(s.histogram.any() for s in found):
        pictures.append(activations_picture(inputs))
    else:
        left_out.append("activations: the trace has none")
    return Report(
        name="trace",
        question=f"What do the weights and activations of {inputs.data.model} look like?",
        answer=_answer(inputs, found),
        assumptions=[
            (
                f"The trace is {inputs.data.path.name}, made by {inputs.data.source}; its "
                "activations are those of its tokens, not of all that a model can meet."
            ),
            (
                "Energies of a layer count all its weights; zeros save switching, which only the "
                "gate level knows."
            ),
            f"Cycles are predicted on {array_words(inputs)}.",
        ],
        pictures=pictures,
        tables=(weights_table(inputs), trace_energy_table(inputs)),
        left_out=left_out,
    )


def _answer(inputs: Inputs, found: list[Statistics]) -> list[str]:
    weights = sum(s.weights for s in found)
    shares = [s.zero / s.weights for s in found]
    entropy = sum(s.entropy * s.weights for s in found) / weights
    bits = 8 / 5
    histogram = sum((s.histogram for s in found), start=np.zeros(256, np.int64))
    values = np.arange(-128, 128)
    if histogram.any():
        largest = histogram[np.abs(values) >= 127].sum() / histogram.sum()
        rms = np.sqrt((histogram * values**2).sum() / histogram.sum())
        activations = (
            f"Activations have a root mean square of {number(float(rms))} of 127; "
            f"{histogram[128] / histogram.sum():.1%} are 0 and {largest:.1%} are at the ends."
        )
    else:
        activations = "It has no activations."
    total = sum(s.zero for s in found)
    return [
        (
            f"{inputs.data.model} has {weights:,} ternary weights in {len(found)} layers, of which "
            f"{total / weights:.1%} are zero, {min(shares):.1%} to {max(shares):.1%} by layer."
        ),
        f"A weight holds {number(entropy)} bits, where base3 takes {bits:g} and 2bit 2.",
        activations,
    ]


def weights_table(inputs: Inputs) -> Table:
    """Return statistics by layer."""
    frame = pd.DataFrame(
        [
            {
                "layer": s.name,
                "outputs": s.out_features,
                "inputs": s.in_features,
                "tokens": s.tokens,
                "-1 (%)": 100 * s.negative / s.weights,
                "0 (%)": 100 * s.zero / s.weights,
                "+1 (%)": 100 * s.positive / s.weights,
                "entropy (bit/weight)": s.entropy,
                "activations, rms (of 127)": s.sigma,
                "base3 (B)": s.out_features * ENCODINGS["base3"].row_bytes(s.in_features),
            }
            for s in statistics(inputs)
        ]
    )
    return Table(
        name="weights",
        caption=Caption(
            shows="Trits and activations of every layer.",
            made=f"Counted in {inputs.data.path.name}.",
            without="Their order, on which switching depends; entropy takes weights as "
            "independent.",
        ),
        frame=frame,
    )


def trace_energy_table(inputs: Inputs) -> Table:
    """Return predicted cycles and energies of every layer in three formats."""
    rates = inputs.rates(inputs.node)
    names = ("fp16", "int8", "ternary")
    rows = []
    for s in statistics(inputs):
        row: dict[str, object] = {"layer": s.name, "tokens": max(1, s.tokens)}
        for name in names:
            array = FORMATS[name].array(inputs.array, rates, inputs.baseline)
            array = array.for_in_features(s.in_features)
            activity = predict(
                array,
                out_features=s.out_features,
                in_features=s.in_features,
                tokens=max(1, s.tokens),
            )
            price = bill_layer(activity, array, rates, scope=_SCOPE).price(inputs.energies)
            row[f"{name} (cycles)"] = activity.cycles.total
            row[f"{name} (J)"] = price.total_pj / PICOJOULES
        rows.append(row)
    frame = pd.DataFrame(rows)
    total = {"layer": "all", **frame.drop(columns="layer").sum().to_dict()}
    total["tokens"] = int(frame.tokens.max())
    frame = pd.concat([frame, pd.DataFrame([total])], ignore_index=True)
    frame["FP16 / ternary"] = frame["fp16 (J)"] / frame["ternary (J)"]
    for name in names:
        frame[f"{name} (nJ)"] = frame.pop(f"{name} (J)") * 1e9
    return Table(
        name="trace_energy",
        caption=Caption(
            shows="Cycles and energy of every layer of the trace in three formats.",
            made=f"Predicted from shapes on {array_words(inputs)}, times table rows at "
            f"{inputs.node}, scope {_SCOPE}, {inputs.baseline}; layers without activations with "
            "one token.",
            without="Attention and norms between layers, off-chip memory; what zeros save.",
        ),
        frame=frame.astype({f"{name} (cycles)": int for name in names}),
    )


def _some(found: list[Statistics]) -> list[Statistics]:
    if len(found) <= _SHOWN:
        return found
    return [found[i] for i in np.linspace(0, len(found) - 1, _SHOWN).round().astype(int)]


def weights_picture(inputs: Inputs) -> Picture:
    """Draw the trits of the layers."""

    def draw() -> Figure:
        found = _some(statistics(inputs))
        figure, axes = canvas(8.0, 0.28 * len(found) + 1.4)
        left = np.zeros(len(found))
        for trit, colour, hatch, counts in (
            ("-1", BLUE, "//", [s.negative for s in found]),
            ("0", GREY, "", [s.zero for s in found]),
            ("+1", ORANGE, "", [s.positive for s in found]),
        ):
            widths = 100 * np.array(counts) / [s.weights for s in found]
            axes.barh(range(len(found)), widths, 0.7, left, color=colour, hatch=hatch, label=trit)
            if trit == "0":
                for y, (at, width) in enumerate(zip(left, widths, strict=True)):
                    words = f"{width:.1f}"
                    axes.text(
                        at + width / 2, y, words, ha="center", va="center", fontsize=8, color="#000"
                    )
            left += widths
        axes.set_yticks(range(len(found)), [label(s.name) for s in found], fontsize=9)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, 100)
        axes.set_xlabel("share of the weights (%)")
        legend_above(figure, axes)
        return figure

    return Picture(
        name="weights",
        caption=Caption(
            shows="Shares of -1, 0 and +1 among the weights, layer by layer.",
            made=f"Counted in {inputs.data.path.name}"
            + (
                f"; {_SHOWN} of its layers, spread evenly."
                if len(statistics(inputs)) > _SHOWN
                else "."
            ),
            without="Where the zeros stand; their order decides what switches.",
        ),
        draw=draw,
    )


def activations_picture(inputs: Inputs) -> Picture:
    """Draw how often activations have each value."""

    def draw() -> Figure:
        found = [s for s in statistics(inputs) if s.histogram.any()]
        together = sum((s.histogram for s in found), start=np.zeros(256, np.int64))
        shares = [100 * s.histogram / s.histogram.sum() for s in found]
        values = np.arange(-128, 128)
        figure, axes = canvas(8.0, 4.0)
        axes.fill_between(
            values,
            np.min(shares, axis=0),
            np.max(shares, axis=0),
            step="mid",
            color=BLUE,
            alpha=0.25,
            label="layers, lowest to highest",
        )
        axes.step(
            values,
            100 * together / together.sum(),
            where="mid",
            color=VERMILION,
            linewidth=1.2,
            label="all layers together",
        )
        axes.set_yscale("symlog", linthresh=0.01)
        axes.set_xlim(-130, 130)
        axes.set_ylim(0, None)
        axes.set_xticks([-128, -64, 0, 64, 127])
        axes.set_xlabel("int8 activation (integer)")
        axes.set_ylabel("share of the activations (%)")
        axes.axvline(0, color=INK, linewidth=0.5)
        legend_above(figure, axes)
        return figure

    return Picture(
        name="activations",
        caption=Caption(
            shows="How often an activation has each int8 value.",
            made=f"Counted in {inputs.data.path.name}, over all tokens; the scale is linear below "
            "0.01 %.",
            without="Differences between tokens; scales, which turn these into real values.",
        ),
        draw=draw,
    )
