"""What one model costs in each number format, and where the energy goes."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd  # type: ignore[import-untyped]
from matplotlib.figure import Figure

from hwsim.compare import Result, WaterfallStep, waterfall
from hwsim.energy import CLOCK_GATING, PICOJOULES, parts_of
from hwsim.energy_tables import KINDS, Key
from hwsim.reports.content import Caption, Picture, Report, Table, number, series
from hwsim.reports.inputs import Inputs
from hwsim.reports.style import (
    BLUE,
    FORMAT_COLOURS,
    FORMAT_MARKERS,
    GREY,
    GROUPS,
    INK,
    VERMILION,
    canvas,
    legend_above,
)
from hwsim.uncertainty import Interval, Quotient, Sensitivity, bounds, sensitivities
from hwsim.workload import Workload

_FORMATS = ("fp16", "int8", "w4a16", "ternary_2bit", "ternary_base3")
"""Formats in pictures; `ternary` is one of the last two."""

_MILLI = 1e3


def report(inputs: Inputs) -> Report:
    """Answer for the first model of the inputs."""
    results = inputs.results()
    fp16, ternary = results["fp16"], results["ternary"]
    return Report(
        name="model",
        question=f"What does {inputs.subject.name} cost in each format, and why?",
        answer=_answer(inputs, fp16, ternary),
        assumptions=_assumptions(inputs, fp16, ternary),
        pictures=(
            waterfall_picture(inputs),
            parts_picture(inputs),
            roofline_picture(inputs),
        ),
        tables=(
            formats_table(inputs),
            parts_table(inputs),
            waterfall_table(inputs),
            roofline_table(inputs),
            sensitivity_table(inputs),
        ),
    )


def setting(inputs: Inputs) -> str:
    """Say in which setting energies are counted."""
    work = inputs.workload(inputs.phase)
    plural = "s" if work.tokens > 1 else ""
    return (
        f"scope {inputs.scope} at {inputs.node}, {work.phase} of {work.tokens} token{plural} after "
        f"{work.context} cached, batch size {work.batch_size}, {array_words(inputs)}, "
        f"{inputs.array.memory}, {inputs.baseline}"
    )


def array_words(inputs: Inputs) -> str:
    """Name the array."""
    a = inputs.array
    return (
        f"{a.rows} x {a.columns} {a.lane} lanes, B = {a.batch}, {a.clock_mhz:g} MHz, "
        f"{a.weight_bus_bits}-bit weight bus"
    )


def per_token(result: Result) -> Interval:
    """Return the energy of a new token, in joules."""
    tokens = result.workload.new_tokens * PICOJOULES
    return Interval(*(pj / tokens for pj in bounds(Quotient.of(result.bill), result.rates.table)))


def ratio(larger: Result, smaller: Result) -> Interval:
    """Return how much more one format takes than another."""
    return bounds(Quotient.of(larger.bill, smaller.bill), larger.rates.table)


_NEGLIGIBLE = 0.01


def kind_of_total(result: Result) -> str:
    """Return how firm a total is: as the least firm of its parts of at least 1 %."""
    kinds = result.bill.kinds(result.rates.table)
    parts, total = result.energy.parts, result.energy.total_pj
    weighty = (kinds[part] for part in kinds if abs(parts[part]) >= _NEGLIGIBLE * total)
    return max(weighty, key=KINDS.index)


def range_words(interval: Interval, factor: float = 1.0) -> str:
    """Write a value with its range."""
    low, value, high = (number(x * factor) for x in interval)
    return f"{value} ({low} to {high})" if low != high else value


def _answer(inputs: Inputs, fp16: Result, ternary: Result) -> list[str]:
    counted = waterfall(fp16, ternary)
    falls = sorted(_moves(counted), key=lambda move: move.factor)[:2]
    steps = [f"{f.part} ({number(f.before)} to {number(f.after)})" for f in falls if f.factor < 1]
    shares = sorted(ternary.energy.parts.items(), key=lambda item: -item[1])[:2]
    total = ternary.energy.total_pj
    largest = [f"{part} {pj / total:.0%}" for part, pj in shares]
    as_if = "" if inputs.subject.ternary else ", priced as if it were ternary,"
    return [
        (
            f"A token of {inputs.subject.name}{as_if} takes "
            f"{range_words(per_token(ternary), _MILLI)} mJ in ternary and "
            f"{range_words(per_token(fp16), _MILLI)} mJ in FP16, "
            f"{range_words(ratio(fp16, ternary))} times as much ({setting(inputs)})."
        ),
        f"The multiplications and additions of its linear layers alone would say "
        f"{number(counted[0].ratio)} times"
        + (f"; what lowers it most is {series(steps)}." if steps else "."),
        f"Of the ternary energy, {series(largest)} are the largest parts.",
    ]


def _assumptions(inputs: Inputs, fp16: Result, ternary: Result) -> list[str]:
    table = inputs.energies
    of_ratio = {one.key: one.elasticity for one in _sensitivities(fp16, ternary)}
    of_energy = {s.key: s.elasticity for s in sensitivities(Quotient.of(ternary.bill), table)}

    def weight(key: Key) -> float:
        return max(abs(of_ratio[key]), abs(of_energy.get(key, 0.0)))

    words = []
    for key in sorted(of_ratio, key=weight, reverse=True)[:3]:
        row = table.rows[key]
        between = f"{row.low:g} to {row.high:g}" if row.low != row.high else "without a range"
        words.append(
            f"{key}: {row.value:g} {row.unit} ({row.kind}, {between}); one per cent more moves the "
            f"ternary energy by {of_energy.get(key, 0.0):+.2g} % and the ratio by "
            f"{of_ratio[key]:+.2g} %."
        )
    if inputs.scope != "arithmetic":
        words.append(f"In every format, {CLOCK_GATING[inputs.clock_gating]}.")
    words.append(f"The arrays of all formats are compared at {inputs.baseline}.")
    return words


def _sensitivities(fp16: Result, ternary: Result) -> list[Sensitivity]:
    return sensitivities(Quotient.of(fp16.bill, ternary.bill), fp16.rates.table)


class _Move(NamedTuple):
    part: str
    before: float
    after: float

    @property
    def factor(self) -> float:
        return self.after / self.before


def _moves(steps: list[WaterfallStep]) -> Iterator[_Move]:
    for before, step in itertools.pairwise(steps):
        yield _Move(step.part, before.ratio, step.ratio)


# Waterfall


def waterfall_table(inputs: Inputs) -> Table:
    """Return how the ratio moves as parts are counted."""
    fp16, ternary = (inputs.results()[name] for name in ("fp16", "ternary"))
    steps = waterfall(fp16, ternary)
    before = [float("nan"), *(step.ratio for step in steps[:-1])]
    frame = pd.DataFrame(
        {
            "counting also": [step.part for step in steps],
            "FP16 / ternary": [step.ratio for step in steps],
            "factor": [s.ratio / b for s, b in zip(steps, before, strict=True)],
            "because": [step.cause for step in steps],
        }
    )
    return Table(name="waterfall", caption=_waterfall_caption(inputs), frame=frame)


def _waterfall_caption(inputs: Inputs) -> Caption:
    return Caption(
        shows=f"How FP16 over ternary changes for {inputs.subject.name} when one part after the "
        "other is counted in both.",
        made="Sums of the parts' energies from predicted counts times table rows; "
        + setting(inputs)
        + ".",
        without="The order is that of the scopes and another order would give other steps; "
        "the end does not depend on it.",
    )


def waterfall_picture(inputs: Inputs) -> Picture:
    """Draw how the ratio moves as parts are counted, with the causes."""

    def draw() -> Figure:
        fp16, ternary = (inputs.results()[name] for name in ("fp16", "ternary"))
        first, *_ = steps = waterfall(fp16, ternary)
        shown = [_Move(first.part, 0.0, first.ratio)]
        small: list[str] = []
        before = first.ratio
        for step in steps[1:]:
            if abs(step.ratio / before - 1) < _NEGLIGIBLE:
                small.append(step.part)
                continue
            shown.append(_Move(step.part, before, step.ratio))
            before = step.ratio
        whole = f"all of scope {inputs.scope}"
        why = {step.part: step.cause for step in steps} | {whole: ""}
        shown.append(_Move(whole, 0.0, steps[-1].ratio))
        figure, axes = canvas(10.0, 0.4 * len(shown) + 1.4)
        largest = max(move.after for move in shown)
        beside = axes.get_yaxis_transform()
        for y, move in enumerate(shown):
            colour = GREY if not move.before else VERMILION if move.factor < 1 else BLUE
            left, right = sorted((move.before, move.after))
            axes.barh(y, max(right - left, 0.002 * largest), left=left, color=colour, height=0.62)
            if move.before:
                axes.plot([move.before] * 2, [y - 1.31, y - 0.31], color=GREY, linewidth=0.8)
            axes.text(right + 0.01 * largest, y, f"{move.after:.3g}x", va="center", weight="bold")
            axes.text(
                1.01, y, why[move.part], va="center", fontsize=8.5, transform=beside, clip_on=False
            )
        axes.set_yticks(range(len(shown)), [move.part.replace("_", " ") for move in shown])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, largest * 1.18)
        axes.set_xlabel("energy, FP16 over ternary (times)")
        if small:
            words = series([part.replace("_", " ") for part in small])
            figure.supxlabel(f"moved it by less than 1 %: {words}", fontsize=8.5)
        return figure

    return Picture(name="waterfall", caption=_waterfall_caption(inputs), draw=draw)


# Formats and parts


def formats_table(inputs: Inputs) -> Table:
    """Return totals by format."""
    results = inputs.results()
    ternary = results["ternary"]
    rows = []
    for name, result in results.items():
        energy, over = per_token(result), ratio(result, ternary)
        rows.append(
            {
                "format": name,
                "energy (mJ/token)": energy.value * _MILLI,
                "low (mJ/token)": energy.low * _MILLI,
                "high (mJ/token)": energy.high * _MILLI,
                "over ternary": over.value,
                "over ternary, low": over.low,
                "over ternary, high": over.high,
                "kind": kind_of_total(result),
                "weights read (MB/run)": result.weight_bytes / 1e6,
                "footprint (MB)": sum(result.footprint_bytes.values()) / 1e6,
                "cycles (1/run)": result.cycles,
                "latency (ms/run)": (result.latency_s + result.attention_s) * _MILLI,
                "tokens/s": result.tokens_per_s,
                "utilisation (%)": 100 * result.utilisation,
            }
        )
    return Table(
        name="formats",
        caption=Caption(
            shows=f"What {inputs.subject.name} takes in each format.",
            made=f"Predicted counts times table rows; {setting(inputs)}. Ranges are exact: every "
            "row anywhere in its own. The kind is that of the least firm part of at least 1 %.",
            without="Rows without a range count as certain; wires, glitches, the clock tree and "
            "refresh are in none.",
        ),
        frame=pd.DataFrame(rows),
    )


def parts_table(inputs: Inputs) -> Table:
    """Return energies by part and format."""
    results = inputs.results()
    kinds = results["ternary"].bill.kinds(inputs.energies)
    frame = pd.DataFrame(
        {
            "part": list(parts_of(inputs.scope)),
            **{
                f"{name} (mJ/token)": [
                    pj / PICOJOULES * _MILLI / result.workload.new_tokens
                    for pj in result.energy.parts.values()
                ]
                for name, result in results.items()
            },
            "kind (ternary)": [kinds.get(part, "not there") for part in parts_of(inputs.scope)],
        }
    )
    return Table(
        name="parts",
        caption=Caption(
            shows=f"Where the energy of a token of {inputs.subject.name} goes, part by part.",
            made=f"Predicted counts times table rows; {setting(inputs)}.",
            without="A part that a format lacks is 0; what no scope counts has no row.",
        ),
        frame=frame,
    )


def parts_picture(inputs: Inputs) -> Picture:
    """Draw energies by format, stacked by part: of the array, and with what is around it."""
    scopes = {
        "arithmetic": ("arithmetic",),
        "core": ("arithmetic", "core"),
        "system": ("core", "system"),
    }[inputs.scope]

    def draw() -> Figure:
        figure, panels = canvas(8.4, 4.6, ncols=len(scopes), squeeze=False)
        for axes, scope in zip(panels[0], scopes, strict=True):
            results = inputs.results(scope=scope)
            below = [0.0] * len(_FORMATS)
            for group, (colour, hatch, parts) in GROUPS.items():
                inside = [part for part in parts if part in parts_of(scope)]
                heights = [
                    sum(results[name].energy.parts[part] for part in inside)
                    / PICOJOULES
                    * _MILLI
                    / results[name].workload.new_tokens
                    for name in _FORMATS
                ]
                axes.bar(
                    range(len(_FORMATS)),
                    heights,
                    0.7,
                    below,
                    color=colour,
                    hatch=hatch,
                    label=group,
                )
                below = [b + h for b, h in zip(below, heights, strict=True)]
            ends = [per_token(results[name]) for name in _FORMATS]
            axes.errorbar(
                range(len(_FORMATS)),
                [e.value * _MILLI for e in ends],
                [
                    [(e.value - e.low) * _MILLI for e in ends],
                    [(e.high - e.value) * _MILLI for e in ends],
                ],
                fmt="none",
                ecolor=INK,
                capsize=4,
            )
            top = max(e.high for e in ends) * _MILLI
            for x, e in enumerate(ends):
                axes.text(x, e.high * _MILLI + 0.015 * top, f"{e.value * _MILLI:.3g}", ha="center")
            names = [name.replace("_", "\n") for name in _FORMATS]
            axes.set_xticks(range(len(_FORMATS)), names)
            axes.set_ylim(0, top * 1.09)
            axes.grid(axis="x", visible=False)
            axes.set_xlabel("number format")
            axes.set_ylabel("energy (mJ/token)")
            axes.set_title(f"scope {scope}", fontsize=10)
        legend_above(figure, panels[0][-1])
        return figure

    return Picture(
        name="parts",
        caption=Caption(
            shows=f"Energy of a token of {inputs.subject.name} by format, stacked by part; bars "
            "with caps are the ranges of the totals.",
            made=f"Predicted counts times table rows, panels by scope; {setting(inputs)}.",
            without="The two panels have axes of their own; what a scope leaves out is in neither.",
        ),
        draw=draw,
    )


# Roofline


class _Place(NamedTuple):
    """A run in the roofline; `bytes` are of weights."""

    format: str
    what: str
    macs: int
    bytes: int
    seconds: float


def _places(inputs: Inputs) -> list[_Place]:
    prefill = inputs.workload("prefill")
    work = {
        "decode, 1 token": Workload(phase="decode", tokens=1, context=inputs.context),
        f"prefill, {prefill.new_tokens} tokens": prefill,
    }
    return [
        _Place(
            name,
            what,
            sum(step.times * step.activity.macs for step in result.steps),
            result.weight_bytes,
            result.latency_s,
        )
        for what, workload in work.items()
        for name, result in inputs.results(workload=workload).items()
        if name in _FORMATS
    ]


def _roofs(inputs: Inputs) -> tuple[float, dict[str, float]]:
    """Return the peak in MACs a second, and bytes a second by what delivers them."""
    a = inputs.array
    memory = inputs.energies.row(inputs.node, "bandwidth", a.memory)
    hertz = a.clock_mhz * 1e6
    bus, chip = a.weight_bus_bits / 8 * hertz, memory.converted() * 1e9
    names = {f"{a.weight_bus_bits}-bit weight bus": bus, f"{a.memory}, one at its peak": chip}
    return a.rows * a.columns * hertz, names


def roofline_table(inputs: Inputs) -> Table:
    """Return intensity and speed of decoding and prefill."""
    peak, _ = _roofs(inputs)
    rows = [
        {
            "format": p.format,
            "run": p.what,
            "intensity (MAC/B)": p.macs / p.bytes,
            "speed (GMAC/s)": p.macs / p.seconds / 1e9,
            "of the peak (%)": 100 * p.macs / p.seconds / peak,
        }
        for p in _places(inputs)
    ]
    return Table(name="roofline", caption=_roofline_caption(inputs), frame=pd.DataFrame(rows))


def _roofline_caption(inputs: Inputs) -> Caption:
    return Caption(
        shows=f"Speed of the linear layers of {inputs.subject.name} against the MACs that each "
        "byte of weights is used for, decoding beside prefill.",
        made=f"Predicted cycles, stalls included, on {array_words(inputs)}; roofs are the array's "
        "MACs, a word of weights in every cycle, and the memory's peak bandwidth.",
        without="Attention, activations and the KV cache are not in it; the memory roof is drawn "
        "but does not slow the prediction, which the buses alone limit.",
    )


def roofline_picture(inputs: Inputs) -> Picture:
    """Draw the roofline of the array."""

    def draw() -> Figure:
        peak, slopes = _roofs(inputs)
        places = _places(inputs)
        intensities = [p.macs / p.bytes for p in places]
        low, high = min(intensities) / 2.5, max(max(intensities), peak / min(slopes.values())) * 3
        figure, axes = canvas(8.0, 5.0)
        for (name, slope), line in zip(slopes.items(), ("-", "--"), strict=True):
            knee = peak / slope
            xs = [low, min(max(knee, low), high), high]
            ys = [min(peak, x * slope) / 1e9 for x in xs]
            axes.plot(xs, ys, line, color=GREY, linewidth=1.6, label=name)
        decode, prefill = dict.fromkeys(p.what for p in places)
        for p in places:
            colour = FORMAT_COLOURS[p.format]
            axes.scatter(
                p.macs / p.bytes,
                p.macs / p.seconds / 1e9,
                s=80,
                marker=FORMAT_MARKERS[p.format],
                facecolor="none" if p.what == decode else colour,
                edgecolor=colour,
                linewidth=1.6,
                label=p.format if p.what == prefill else None,
                zorder=3,
            )
        for what, fill in ((decode, "none"), (prefill, GREY)):
            axes.scatter([], [], s=80, facecolor=fill, edgecolor=GREY, label=what)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(low, high)
        axes.set_xlabel("MACs per byte of weights read (MAC/B)")
        axes.set_ylabel("speed of the linear layers (GMAC/s)")
        legend_above(figure, axes, columns=3)
        return figure

    return Picture(name="roofline", caption=_roofline_caption(inputs), draw=draw)


def sensitivity_table(inputs: Inputs) -> Table:
    """Return which rows the ratio depends on."""
    fp16, ternary = (inputs.results()[name] for name in ("fp16", "ternary"))
    rows = []
    for one in _sensitivities(fp16, ternary):
        row = inputs.energies.rows[one.key]
        rows.append(
            {
                "row": str(one.key),
                "elasticity (%/%)": one.elasticity,
                "ratio, low": one.interval.low,
                "ratio, high": one.interval.high,
                "kind": row.kind,
                "source": row.source,
            }
        )
    return Table(
        name="sensitivities",
        caption=Caption(
            shows="By how many per cent FP16 over ternary moves when a row rises by one, and "
            "between what, when that row alone takes its range.",
            made=f"Derivatives of the ratio at the rows' values; {setting(inputs)}.",
            without="Rows without a range do not move the ends, however uncertain they are.",
        ),
        frame=pd.DataFrame(rows),
    )
