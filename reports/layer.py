"""What one layer's run on the hardware showed, beside what was predicted."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import Any, Self

import pandas as pd  # type: ignore[import-untyped]
from matplotlib.figure import Figure

from hwsim.activity import Activity, Cycles
from hwsim.config import MULTIPLIER_LANES, ArrayConfig
from hwsim.energy import EnergyReport, bill_layer
from hwsim.errors import InputError
from hwsim.predict import predict, timeline
from hwsim.reports.content import Caption, Picture, Report, Table, number, series
from hwsim.reports.inputs import Inputs
from hwsim.reports.style import BLUE, CAUSES, INK, canvas, label, legend_above
from hwsim.schedule import Schedule

_SCOPE = "core"


@dataclass(frozen=True, kw_only=True)
class LayerRun:
    """What `hwsim simulate --json` wrote, as objects.

    Attributes
    ----------
    engine, name
        What ran it, and which layer.
    array, schedule
        On what, and the loops.
    zero_fraction
        Of the weights.
    activity
        Measured counts.
    stalled
        Whether sources and sinks were made to wait.
    toggles
        Transitions of nets by part and tree level, if the engine counts them.
    """

    engine: str
    name: str
    array: ArrayConfig
    schedule: Schedule
    zero_fraction: float
    activity: Activity
    stalled: bool
    toggles: Mapping[str, int]

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> Self:
        """Read a result.

        Raises
        ------
        InputError
            If it is not one of a single layer.
        """
        try:
            layer, cycles = result["layer"], dict(result["cycles"])
            array = ArrayConfig.make(where="run", **result["array"])
            shape = {k: int(layer[k]) for k in ("out_features", "in_features", "tokens")}
            del cycles["total"]
            counts = {f.name for f in fields(Activity)} - {"cycles"}
            return cls(
                engine=str(result["engine"]),
                name=str(layer["name"]),
                array=array,
                schedule=Schedule(config=array.for_in_features(shape["in_features"]), **shape),
                zero_fraction=float(layer["zero_fraction"]),
                activity=Activity(
                    cycles=Cycles(**cycles),
                    **{name: int(result["activity"][name]) for name in counts},
                ),
                stalled=result["predicted_cycles"] is None,
                toggles={
                    str(part): int(count)
                    for part, count in (result.get("toggles") or {}).items()
                    if part != "total"
                },
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                "run: must be what `hwsim simulate --json` writes for one layer; "
                f"{type(error).__name__}: {error}"
            ) from error

    @property
    def predicted(self) -> Activity:
        """What the shape says."""
        return self.on(self.array)

    @property
    def as_predicted(self) -> bool:
        """Whether it took the cycles that the shape says, cause by cause."""
        return self.predicted.cycles == self.activity.cycles

    def on(self, array: ArrayConfig) -> Activity:
        """Return what the shape says for another array."""
        s = self.schedule
        return predict(
            array.for_in_features(s.in_features),
            out_features=s.out_features,
            in_features=s.in_features,
            tokens=s.tokens,
        )


def run_of(inputs: Inputs) -> LayerRun:
    """Return the run of the inputs.

    Raises
    ------
    InputError
        If there is none, or it is not one.
    """
    if inputs.run is None:
        raise InputError("no run of a layer; give what `hwsim simulate --json` writes as `run`")
    return LayerRun.of(inputs.run)


def report(inputs: Inputs) -> Report:
    """Answer for the run of the inputs."""
    run = run_of(inputs)
    pictures, left_out = [cycles_picture(inputs)], []
    tables = [cycles_table(inputs), layer_energy_table(inputs), timeline_table(inputs)]
    if run.toggles:
        pictures.append(toggles_picture(inputs))
        tables.append(toggles_table(inputs))
    else:
        left_out.append(f"toggles: engine {run.engine} counts none; engine gates does")
    return Report(
        name="layer",
        question=f"What did {run.name} take on the hardware?",
        answer=_answer(inputs, run),
        assumptions=[
            (
                f"Engine {run.engine}; outputs and cycles are those of the hardware, energies are "
                f"its counts times table rows at {inputs.node}, scope {_SCOPE}."
            ),
            "The baselines have the same rows, columns, batch, clock and buses, and are predicted.",
            "Zero weights save nothing here; only the gate level knows what they save.",
        ],
        pictures=pictures,
        tables=tables,
        left_out=left_out,
    )


def _words(run: LayerRun) -> str:
    s, a = run.schedule, run.array
    return (
        f"{s.out_features} x {s.in_features}, {s.tokens} tokens, {run.zero_fraction:.1%} zeros, on "
        f"{a.rows} x {a.columns} {a.lane} lanes, B = {a.batch}"
    )


def _answer(inputs: Inputs, run: LayerRun) -> list[str]:
    cycles = run.activity.cycles.as_dict()
    total = cycles.pop("total")
    waiting = max((c for c in cycles if c != "compute"), key=lambda cause: cycles[cause])
    expected = run.predicted.cycles
    if run.as_predicted:
        agreement = f"its shape predicts the same {expected.total:,}, cause by cause"
    elif run.stalled:
        agreement = f"ports that wait cost it {total - expected.total:,} cycles"
    else:
        agreement = f"its shape predicts {expected.total:,}, which is not the same"
    energies = {name: report.total_pj for name, report in _energies(inputs, run).items()}
    own, *others = energies.items()
    macs = run.activity.macs
    beside = [f"{number(pj / own[1])} times with {name} lanes" for name, pj in others]
    takes = f"A MAC takes {number(own[1] / macs)} pJ in scope {_SCOPE} at {inputs.node}"
    return [
        (
            f"{run.name} ({_words(run)}) takes {total:,} cycles; {cycles['compute'] / total:.1%} "
            f"of them compute, and most of the rest is {waiting}, {cycles[waiting] / total:.1%}."
        ),
        f"{agreement[0].upper()}{agreement[1:]}.",
        f"{takes}, and {series(beside)}." if beside else f"{takes}.",
    ]


def _energies(inputs: Inputs, run: LayerRun) -> dict[str, EnergyReport]:
    """Price what was measured, and what baselines of the same shape would take."""
    rates = inputs.rates(inputs.node)
    arrays: dict[str, tuple[Activity, ArrayConfig]] = {run.array.lane: (run.activity, run.array)}
    for lane in MULTIPLIER_LANES:
        other = run.array.baseline(lane)
        arrays.setdefault(lane, (run.on(other), other))
    return {
        name: bill_layer(
            activity, array.for_in_features(run.schedule.in_features), rates, scope=_SCOPE
        ).price(inputs.energies)
        for name, (activity, array) in arrays.items()
    }


def cycles_table(inputs: Inputs) -> Table:
    """Return measured and predicted cycles by cause."""
    run = run_of(inputs)
    measured, predicted = run.activity.cycles.as_dict(), run.predicted.cycles.as_dict()
    return Table(
        name="cycles",
        caption=Caption(
            shows=f"Cycles of {run.name} by cause.",
            made=f"Measured by engine {run.engine}; predicted from the shape: {_words(run)}.",
            without="The prediction knows no ports that wait (--stall-rate).",
        ),
        frame=pd.DataFrame(
            {
                "cause": list(measured),
                "measured (cycles)": list(measured.values()),
                "share (%)": [100 * n / measured["total"] for n in measured.values()],
                "predicted (cycles)": list(predicted.values()),
            }
        ),
    )


def layer_energy_table(inputs: Inputs) -> Table:
    """Return the energy of the run by part, beside the baselines."""
    run = run_of(inputs)
    energies = _energies(inputs, run)
    own = run.array.lane
    return Table(
        name="layer_energy",
        caption=Caption(
            shows=f"Energy of {run.name} by part, beside the same array with multipliers.",
            made=f"Counts times table rows at {inputs.node}; the counts of {own} are measured by "
            f"engine {run.engine}, those of the others predicted.",
            without="Off-chip memory, wires, glitches and the clock tree; what zeros save.",
        ),
        frame=pd.DataFrame(
            {
                "part": list(energies[own].as_dict()),
                **{f"{name} (nJ)": _nj(report) for name, report in energies.items()},
            }
        ),
    )


def _nj(report: EnergyReport) -> list[float]:
    return [pj / 1e3 for pj in report.as_dict().values()]


_WINDOWS = 120
"""Bars in a picture over time, at most."""


def _slices(run: LayerRun) -> list[Cycles]:
    """Return cycles by cause in the order of time; neighbours are joined where there are many."""
    if not run.as_predicted:  # one bar: what happened, without the order in which it did
        return [run.activity.cycles]
    slices = timeline(run.schedule)
    joined = -(-len(slices) // _WINDOWS)
    return [
        sum(slices[at + 1 : at + joined], start=slices[at]) for at in range(0, len(slices), joined)
    ]


def _timeline_caption(run: LayerRun) -> Caption:
    how = (
        f"From the schedule of the shape; its sums are the counters of engine {run.engine}, cause "
        "by cause."
        if run.as_predicted
        else "The counters are not those of the schedule, so it is one bar, of the counters alone."
    )
    return Caption(
        shows=f"Utilisation and stalls of {run.name} over time: each bar is a row block of a token "
        "block (or several, if there are many), as wide as it lasts.",
        made=how,
        without="The order of cycles within a bar; padding of rows and columns counts as compute.",
    )


def timeline_table(inputs: Inputs) -> Table:
    """Return cycles by cause over time."""
    run = run_of(inputs)
    slices = _slices(run)
    ends = list(accumulate(cycles.total for cycles in slices))
    return Table(
        name="timeline",
        caption=_timeline_caption(run),
        frame=pd.DataFrame(
            [
                {
                    "from (cycle)": end - cycles.total,
                    "to (cycle)": end,
                    **{f"{cause} (cycles)": getattr(cycles, cause) for cause in CAUSES},
                }
                for end, cycles in zip(ends, slices, strict=True)
            ]
        ),
        on_page=False,
    )


def cycles_picture(inputs: Inputs) -> Picture:
    """Draw cycles by cause over time."""
    run = run_of(inputs)

    def draw() -> Figure:
        slices = [cycles for cycles in _slices(run) if cycles.total]
        widths = [cycles.total for cycles in slices]
        starts = [end - width for end, width in zip(accumulate(widths), widths, strict=True)]
        figure, axes = canvas(8.4, 3.6)
        below = [0.0] * len(slices)
        for cause, (colour, hatch) in CAUSES.items():
            heights = [100 * getattr(cycles, cause) / cycles.total for cycles in slices]
            if not any(heights):
                continue
            share = getattr(run.activity.cycles, cause) / run.activity.cycles.total
            axes.bar(
                starts,
                heights,
                widths,
                below,
                align="edge",
                color=colour,
                hatch=hatch,
                edgecolor="#ffffff",
                linewidth=0.3,
                label=f"{cause.replace('_', ' ')} {share:.1%}",
            )
            below = [b + h for b, h in zip(below, heights, strict=True)]
        axes.set_xlim(0, sum(widths))
        axes.set_ylim(0, 100)
        axes.set_xlabel("time (cycles since the command)")
        axes.set_ylabel("share of the cycles (%)")
        legend_above(figure, axes, columns=5)
        return figure

    return Picture(name="cycles", caption=_timeline_caption(run), draw=draw)


def _toggles(run: LayerRun) -> tuple[Caption, dict[str, float]]:
    """Return the caption, and transitions for each place and step, by part.

    Raises
    ------
    InputError
        If the run has none.
    """
    if not run.toggles:
        raise InputError(f"toggles: engine {run.engine} counts none; engine gates does")
    caption = Caption(
        shows=f"Transitions of the nets of {run.name}, by part and tree level.",
        made=f"Counted by engine {run.engine} on the layer's data, over the steps alone, without "
        "delays.",
        without="Glitches, wires, the clock tree; without a step no lane moves.",
    )
    return caption, {part: n / run.activity.padded_macs for part, n in run.toggles.items()}


def toggles_table(inputs: Inputs) -> Table:
    """Return transitions by part and tree level.

    Raises
    ------
    InputError
        If the run has none.
    """
    run = run_of(inputs)
    caption, rates = _toggles(run)
    frame = pd.DataFrame(
        {
            "part": list(rates),
            "transitions": list(run.toggles.values()),
            "for each place and step": list(rates.values()),
        }
    )
    return Table(name="toggles", caption=caption, frame=frame)


def toggles_picture(inputs: Inputs) -> Picture:
    """Draw transitions by part and tree level.

    Raises
    ------
    InputError
        If the run has none.
    """
    caption, by_part = _toggles(run_of(inputs))

    def draw() -> Figure:
        places, rates = list(by_part), list(by_part.values())
        figure, axes = canvas(8.0, 0.32 * len(places) + 1.2)
        bars = axes.barh(range(len(places)), rates, color=BLUE)
        axes.bar_label(bars, [f"{rate:.3g}" for rate in rates], padding=3, color=INK)
        axes.set_yticks(range(len(places)), [label(place.replace("_", " ")) for place in places])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, 1.1 * max(rates))
        axes.set_xlabel("transitions of nets, for each place of the array and step (1)")
        return figure

    return Picture(name="toggles", caption=caption, draw=draw)
