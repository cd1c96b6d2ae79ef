"""How latency, memory and throughput grow with the model."""

import pandas as pd  # type: ignore[import-untyped]
from matplotlib.figure import Figure

from hwsim.errors import InputError
from hwsim.reports.content import Caption, Picture, Report, Table, number
from hwsim.reports.inputs import Inputs
from hwsim.reports.model import array_words, setting
from hwsim.reports.points import points
from hwsim.reports.style import FORMAT_COLOURS, FORMAT_MARKERS, canvas, legend_above

_FORMATS = ("fp16", "int8", "w4a16", "ternary_2bit", "ternary_base3")


def report(inputs: Inputs) -> Report:
    """Answer for all models."""
    return Report(
        name="sizes",
        question="How do latency, memory and throughput grow with the model?",
        answer=_answer(inputs),
        assumptions=[
            (
                f"Layers run one after the other without overlap on {array_words(inputs)}; the "
                "buses alone limit it, off-chip memory is taken to keep up."
            ),
            (
                f"A {inputs.workload(inputs.phase).kv_bits}-bit KV cache, and embeddings and LM "
                "head of 16 bits, in every format."
            ),
            (
                "Attention runs on as many FP16 units as the array has MACs, or as fast as the "
                "memory gives the KV cache, whichever is slower; norms take no time."
            ),
        ],
        pictures=(sizes_picture(inputs),),
        tables=(sizes_table(inputs), points_table(inputs)),
        left_out=points_left_out(inputs),
    )


def _chosen(inputs: Inputs) -> pd.DataFrame:
    frame = all_points(inputs)
    chosen = (frame.node == inputs.node) & (frame.scope == inputs.scope)
    frame = frame[chosen & (frame.phase == inputs.phase)]
    if frame.empty:
        raise InputError(f"sizes: nothing at {inputs.node}; {'; '.join(points_left_out(inputs))}")
    return frame


def all_points(inputs: Inputs) -> pd.DataFrame:
    """Return `hwsim.reports.points.points` of the inputs, computed once."""
    return inputs.once("points", lambda: points(inputs))[0]


def points_left_out(inputs: Inputs) -> list[str]:
    """Return the combinations that are not in `all_points`, each with the reason."""
    left_out: list[str] = inputs.once("points", lambda: points(inputs))[1]
    return left_out


def _answer(inputs: Inputs) -> list[str]:
    frame = _chosen(inputs)
    ternary = frame[frame.format == "ternary"].set_index("model")
    fp16 = frame[frame.format == "fp16"].set_index("model")
    small, large = inputs.shapes[0].name, inputs.shapes[-1].name
    a, b = ternary.loc[small], ternary.loc[large]
    faster = fp16.latency_s / ternary.latency_s
    lighter = fp16.footprint_bytes / ternary.footprint_bytes
    return [
        (
            f"From {small} to {large}, a {inputs.phase} run takes {number(a.latency_s * 1e3)} to "
            f"{number(b.latency_s * 1e3)} ms in ternary, {number(a.tokens_per_s)} to "
            f"{number(b.tokens_per_s)} tokens/s."
        ),
        (
            f"FP16 takes {number(faster.min())} to {number(faster.max())} times as long on an "
            f"array of {inputs.baseline.replace('-', ' ')}."
        ),
        (
            f"Ternary models occupy {number(a.footprint_bytes / 1e6)} to "
            f"{number(b.footprint_bytes / 1e6)} MB, FP16 {number(lighter.min())} to "
            f"{number(lighter.max())} times as much, embeddings, head and KV cache included."
        ),
    ]


def _caption(inputs: Inputs) -> Caption:
    return Caption(
        shows="Latency of a run, memory that the model occupies, and throughput, across sizes.",
        made=f"Predicted cycles over the clock, plus attention; {setting(inputs)}.",
        without="Norms, embedding and LM head take no time here; nothing overlaps; off-chip memory "
        "does not slow the linear layers.",
    )


def sizes_table(inputs: Inputs) -> Table:
    """Return latency, memory and throughput of every model, in FP16, INT8 and ternary."""
    frame = _chosen(inputs)
    frame = frame[frame.format.isin(("fp16", "int8", "ternary"))]
    table = pd.DataFrame(
        {
            "model": frame.model,
            "format": frame.format,
            "linear weights (10^9)": frame.linear_weights / 1e9,
            "energy (mJ/token)": frame.energy_j * 1e3,
            "low (mJ/token)": frame.energy_low_j * 1e3,
            "high (mJ/token)": frame.energy_high_j * 1e3,
            "latency (ms/run)": frame.latency_s * 1e3,
            "footprint (MB)": frame.footprint_bytes / 1e6,
            "tokens/s": frame.tokens_per_s,
            "utilisation (%)": frame.utilisation * 100,
        }
    ).reset_index(drop=True)
    return Table(name="sizes", caption=_caption(inputs), frame=table)


def points_table(inputs: Inputs) -> Table:
    """Return all that the page lets one choose from."""
    return Table(
        name="points",
        caption=Caption(
            shows="Every model, node, scope, phase and format: what the charts of this page draw.",
            made="As the table of sizes; energies are joules a token, parts out of scope are "
            "empty.",
            without="Other arrays and workloads; `hwsim energy` answers for any.",
        ),
        frame=all_points(inputs),
        on_page=False,
    )


def sizes_picture(inputs: Inputs) -> Picture:
    """Draw latency, memory and throughput across sizes."""

    def draw() -> Figure:
        frame = _chosen(inputs)
        figure, panels = canvas(9.6, 4.2, ncols=3)
        quantities = (
            ("latency of a run (ms)", frame.latency_s * 1e3),
            ("memory occupied (GB)", frame.footprint_bytes / 1e9),
            ("throughput (tokens/s)", frame.tokens_per_s),
        )
        for axes, (label, values) in zip(panels, quantities, strict=True):
            for name in _FORMATS:
                here = frame.format == name
                axes.plot(
                    frame.linear_weights[here] / 1e9,
                    values[here],
                    FORMAT_MARKERS[name],
                    color=FORMAT_COLOURS[name],
                    markersize=4.5,
                    alpha=0.85,
                    label=name,
                )
            axes.set_xscale("log")
            axes.set_yscale("log")
            ticks = [0.1, 1, 10, 70]
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
            axes.set_xlabel("weights in linear layers (10⁹)")
            axes.set_ylabel(label)
        legend_above(figure, panels[0], columns=5)
        return figure

    return Picture(name="sizes", caption=_caption(inputs), draw=draw)
