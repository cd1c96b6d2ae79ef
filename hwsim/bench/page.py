"""What was measured, as a table and as a page with pictures."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from hwsim.bench import LEAST_S, PAGE_FILES, Comparison, Measurement
from hwsim.files import make_folder, write_atomically

COLUMNS = ("simulator", "build s", "cycles/s", "ratio", "M MAC/s", "ratio", "s", "spread", "MB")
SPREAD = "s: of a run; spread: slowest run over fastest; MB: peak memory of the process"
_LESS = (
    "Slow ones run fewer rows of the layer, netlists one lane; what takes less than "
    f"{LEAST_S} s is repeated for so long. What is compared is work per second."
)
_MODEL = """\
The data are those of one block, seeded, which is run as often as the model has blocks."""
_GROWTH = """\
The same layer with more and more of its rows: seconds of simulation, and the peak memory of the
whole process (Python, libraries and compilers too). The grey line is what the weights alone take,
a byte each."""


def title(found: Comparison) -> str:
    """Return what was run."""
    job, first = found.jobs[0], found.measurements[0]
    tokens = f"{job.tokens} token{'s' if job.tokens > 1 else ''}"
    return (
        f"{found.what}, {tokens} on {job.config.rows} x {job.config.columns} {job.config.lane} "
        f"lanes; medians of {len(first.works)}, ratios to {first.contender}"
    )


def table_rows(found: Comparison) -> list[tuple[str, ...]]:
    """Return the cells of a row for each contender, under `COLUMNS`."""
    first = found.measurements[0]
    return [
        (
            m.contender,
            f"{m.build_s:.1f}",
            *_with_ratio(m.cycles_per_s, first.cycles_per_s, ",.0f"),
            *_with_ratio(m.macs_per_s / 1e6, first.macs_per_s / 1e6, ",.4g"),
            f"{m.median_s:,.4g}",
            f"{m.spread:.2f}",
            f"{m.peak_mb:,.0f}",
        )
        for m in found.measurements
    ]


def _with_ratio(rate: float | None, first: float | None, form: str) -> tuple[str, str]:
    if rate is None:
        return "", ""
    return format(rate, form), f"{rate / first:.4g}" if first else ""


def write_page(
    folder: str,
    command: str,
    layer: Comparison,
    sizes: Sequence[Comparison],
    model: Comparison | None,
    about: Mapping[str, str],
    absent: Mapping[str, str],
) -> None:
    """Write `PAGE_FILES`.

    Parameters
    ----------
    folder
        Where; made if it is not there.
    command
        That this is a part of.
    layer
        All contenders on one layer.
    sizes
        Some on a layer that grows.
    model
        Some on a whole model.
    about, absent
        What each contender does, and why others were left out.
    """
    lines = [
        "# Speed of the engines",
        "",
        f"Made by `{command}`, on this processor: {_processor()}. {title(layer)}.",
        "",
        *_table(layer),
        "",
        f"{SPREAD}. Runs alternate; each contender has a process of its own. {_LESS}",
        "",
        *(f"* `{name}`: {what}" for name, what in about.items()),
        *(f"* `{name}`: left out, {reason}" for name, reason in absent.items()),
        "",
        "![cycles per second](images/bench.svg)",
        "",
        _GROWTH,
        "",
        "![time and memory](images/growth.svg)",
        "",
    ]
    if model is not None:
        lines += ["## A whole model", "", f"{title(model)}. {_MODEL}", "", *_table(model), ""]
    make_folder(Path(folder) / "images")
    texts = ("\n".join(lines), _svg(_rates(layer.measurements)), _svg(_growth(sizes)))
    for name, text in zip(PAGE_FILES, texts, strict=True):
        write_atomically(Path(folder) / name, text)


def _table(found: Comparison) -> list[str]:
    rows = [COLUMNS, ["---", *["--:"] * (len(COLUMNS) - 1)], *table_rows(found)]
    return ["| " + " | ".join(row) + " |" for row in rows]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else "unknown"


def _rates(measurements: Sequence[Measurement]) -> Figure:
    figure = Figure(figsize=(7, 0.6 + 0.4 * len(measurements)), layout="constrained")
    axes = figure.subplots()
    known = [(m.contender, m.cycles_per_s) for m in measurements if m.cycles_per_s is not None]
    names = [name for name, _ in reversed(known)]
    rates = [rate for _, rate in reversed(known)]
    bars = axes.barh(names, rates)
    axes.bar_label(bars, [f" {rate:,.0f}" for rate in rates])
    if rates:
        axes.set_xscale("log")
        axes.set_xlim(right=20 * max(rates))
    axes.set_xlabel("simulated cycles per second")
    return figure


def _growth(sizes: Sequence[Comparison]) -> Figure:
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    times, memory = figure.subplots(1, 2)
    jobs = [size.jobs[0] for size in sizes]
    macs = [job.macs for job in jobs]
    for runs in zip(*(size.measurements for size in sizes), strict=True):
        seconds = [min(work.seconds for work in m.works) for m in runs]
        times.plot(macs, seconds, marker="o", label=runs[0].contender)
        memory.plot(macs, [m.peak_mb for m in runs], marker="o")
    weights = [job.out_features * job.in_features / 1e6 for job in jobs]
    memory.plot(macs, weights, color="grey", label="weights")
    memory.set_ylim(bottom=0)
    memory.set_ylabel("peak memory, MB")
    times.set_ylabel("seconds")
    times.set_yscale("log")
    for axes in (times, memory):
        axes.set_xscale("log")
        axes.set_xlabel("multiply-accumulates of the layer")
    if times.lines:
        times.legend()
    return figure


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
