"""How pictures look: colours that the colour-blind can tell apart, and room for every label."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape
from io import BytesIO
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design", 2008; their black would vanish on a dark page.
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#999999"

FORMAT_COLOURS = {
    "fp16": VERMILION,
    "int8": ORANGE,
    "w4a16": PURPLE,
    "ternary": BLUE,
    "ternary_2bit": SKY,
    "ternary_base3": GREEN,
}
"""A format has the same colour everywhere."""

FORMAT_MARKERS = {
    "fp16": "s",
    "int8": "D",
    "w4a16": "v",
    "ternary": "o",
    "ternary_2bit": "^",
    "ternary_base3": "P",
}
"""And the same marker, for print without colours."""

CAUSES = {
    "compute": (BLUE, ""),
    "weight_stall": (ORANGE, "//"),
    "activation_stall": (GREEN, "\\\\"),
    "result_stall": (VERMILION, "xx"),
    "fill_drain": (GREY, ".."),
}
"""Colour and hatch of each cause of a cycle."""

GROUPS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "multiply and add": (BLUE, "", ("linear_mul", "linear_add", "scales", "wider_adders")),
    "attention, vector": (SKY, "..", ("attention_mul", "attention_add", "vector")),
    "decoding weights": (YELLOW, "", ("decode",)),
    "registers, buffers": (
        GREEN,
        "//",
        ("registers", "weight_buffer", "activation_buffer", "result"),
    ),
    "weights from memory": (ORANGE, "", ("weights_dram",)),
    "activations, KV cache": (PURPLE, "\\\\", ("activations_dram", "kv_dram")),
    "LM head": (VERMILION, "xx", ("lm_head",)),
    "leakage": (GREY, "", ("leakage",)),
}
"""Parts that are drawn as one: colour, hatch and parts. Together they are all parts."""

INK = "#1b1b1b"
_DPI = 150
_CANVASES: tuple[tuple[str, Any, str, dict[str, None]], ...] = (
    ("svg", FigureCanvasSVG, "none", {"Date": None, "Creator": None}),
    ("png", FigureCanvasAgg, "white", {"Software": None}),
    ("pdf", FigureCanvasPdf, "white", {"CreationDate": None, "Producer": None}),
)
"""What draws each kind of file, on which background, and the metadata that would differ."""

_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine has it
    "font.size": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.titlepad": 8,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GREY,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.5,
    "hatch.color": "#ffffff",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "svg.fonttype": "path",
    "pdf.fonttype": 3,
}


@contextmanager
def house_style(name: str = "") -> Iterator[None]:
    """Draw and save as all pictures are, whatever a user's own settings.

    `name` makes the ids in an SVG those of this picture. The backend stays what it is: a notebook
    has its own.
    """
    usual: dict[Any, Any] = dict(matplotlib.rcParamsDefault)
    for key in ("backend", "backend_fallback"):
        usual.pop(key, None)
    with matplotlib.rc_context({**usual, **_RC, "svg.hashsalt": name}):
        yield


def canvas(width: float = 7.2, height: float = 4.2, **layout: Any) -> tuple[Figure, Any]:
    """Return an empty figure, sizes in inches, and its axes."""
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(**layout)


def label(name: str, most: int = 32) -> str:
    """Shorten a name for an axis, and keep matplotlib from reading it as a formula."""
    name = name if len(name) <= most else f"...{name[3 - most :]}"
    return name.replace("$", r"\$")


def legend_above(figure: Figure, axes: Axes, *, columns: int = 4) -> None:
    """Put a legend outside of the axes, where it cannot hide anything."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=columns)


def files(figure: Figure, name: str, description: str) -> dict[str, bytes]:
    """Return the figure as SVG, PNG and PDF by suffix, the same bytes each time.

    The SVG has no background, and its text and axes follow the reader's colour scheme; PNG and PDF
    are black on white.
    """
    written = {}
    with house_style(name):
        figure.set_dpi(_DPI)  # before the layout: text is wider at few dots
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # what fits once fits in every format
        for suffix, canvas, background, metadata in _CANVASES:
            figure.set_dpi(_DPI)  # matplotlib leaves 72 behind an SVG
            figure.set_facecolor(background)
            buffer = BytesIO()
            # Not `savefig`, which draws everything once more to find its size.
            getattr(canvas(figure), f"print_{suffix}")(buffer, metadata=metadata)
            written[suffix] = buffer.getvalue()
    written["svg"] = _for_both_schemes(written["svg"].decode(), description).encode()
    return written


_SCHEMES = (
    f"svg{{color:{INK}}}@media (prefers-color-scheme:dark){{svg{{color:#e6e6e6}}}}"
    "@media print{svg{color:#000}}"
)


def _for_both_schemes(svg: str, description: str) -> str:
    """Make the ink of a picture the reader's, and say what it shows to those who cannot see."""
    opening = re.search(r"<svg [^>]*>", svg)
    assert opening is not None  # matplotlib wrote it
    head = f"<style>{_SCHEMES}</style><desc>{escape(description)}</desc>"
    svg = svg[: opening.end()] + head + svg[opening.end() :]
    return re.sub(rf"(fill|stroke): ?{INK}", r"\1: currentColor", svg)
