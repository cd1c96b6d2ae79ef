"""What was measured, as a table and as a page with pictures."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from hwsim.bench import Job, Measurement
from hwsim.files import make_folder, write_atomically

COLUMNS = ("simulator", "build s", "cycles/s", "ratio", "M MAC/s", "ratio", "spread", "MB")
SPREAD = "spread: slowest run over fastest; MB: peak memory of the process"
_GROWTH = """\
The same layer with more and more of its rows: seconds of simulation, and the peak memory of the
whole process (Python, libraries and compilers too). The grey line is what the weights alone take,
a byte each."""


def title(job: Job, measurements: Sequence[Measurement]) -> str:
    """Return what was run."""
    array, first = job.config, measurements[0]
    return (
        f"{job.out_features} x {job.in_features}, {job.tokens} tokens on {array.rows} x "
        f"{array.columns} {array.lane} lanes; medians of {len(first.works)}, ratios to "
        f"{first.contender}"
    )


def table_rows(measurements: Sequence[Measurement]) -> list[tuple[str, ...]]:
    """Return the cells of a row for each contender, under `COLUMNS`."""
    first = measurements[0]
    rows: list[tuple[str, ...]] = []
    for m in measurements:
        rate = m.cycles_per_s
        cycles = ("", "") if rate is None else _with_ratio(rate, first.cycles_per_s or 1)
        macs = f"{m.macs_per_s / 1e6:,.4g}", f"{m.macs_per_s / first.macs_per_s:.4g}"
        rows.append(
            (
                m.contender,
                f"{m.build_s:.1f}",
                *cycles,
                *macs,
                f"{m.spread:.2f}",
                f"{m.peak_mb:,.0f}",
            )
        )
    return rows


def _with_ratio(rate: float, first: float) -> tuple[str, str]:
    return f"{rate:,.0f}", f"{rate / first:.4g}"


def write_page(
    folder: str,
    command: str,
    job: Job,
    measurements: Sequence[Measurement],
    about: Mapping[str, str],
    absent: Mapping[str, str],
    sizes: Sequence[tuple[Job, Sequence[Measurement]]],
) -> None:
    """Write ``bench.md``, and its pictures ``images/bench.svg`` and ``images/growth.svg``.

    Parameters
    ----------
    folder
        Where; made if it is not there.
    command
        That this is a part of.
    job, measurements
        What was measured.
    about, absent
        What each contender does, and why others were left out.
    sizes
        The same for a layer that grows.
    """
    table = [COLUMNS, ["---", *["--:"] * (len(COLUMNS) - 1)], *table_rows(measurements)]
    lines = [
        "# Speed of the engines",
        "",
        f"Made by `{command}`, on this processor: {_processor()}. {title(job, measurements)}.",
        "",
        *("| " + " | ".join(row) + " |" for row in table),
        "",
        f"{SPREAD}. Runs alternate; each contender has a process of its own.",
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
    images = Path(folder) / "images"
    make_folder(images)
    write_atomically(Path(folder) / "bench.md", "\n".join(lines))
    write_atomically(images / "bench.svg", _svg(_rates(measurements)))
    write_atomically(images / "growth.svg", _svg(_growth(sizes)))


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
    names, rates = zip(*reversed(known), strict=True)
    bars = axes.barh(names, rates)
    axes.bar_label(bars, [f" {rate:,.0f}" for rate in rates])
    axes.set_xscale("log")
    axes.set_xlim(right=20 * max(rates))
    axes.set_xlabel("simulated cycles per second")
    return figure


def _growth(sizes: Sequence[tuple[Job, Sequence[Measurement]]]) -> Figure:
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    times, memory = figure.subplots(1, 2)
    macs = [job.macs for job, _ in sizes]
    for at, first in enumerate(sizes[0][1]):
        seconds = [min(work.seconds for work in found[at].works) for _, found in sizes]
        times.plot(macs, seconds, marker="o", label=first.contender)
        memory.plot(macs, [found[at].peak_mb for _, found in sizes], marker="o")
    weights = [job.out_features * job.in_features / 1e6 for job, _ in sizes]
    memory.plot(macs, weights, color="grey", label="weights")
    memory.set_ylim(bottom=0)
    memory.set_ylabel("peak memory, MB")
    times.set_ylabel("seconds")
    times.set_yscale("log")
    for axes in (times, memory):
        axes.set_xscale("log")
        axes.set_xlabel("multiply-accumulates of the layer")
    times.legend()
    return figure


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
