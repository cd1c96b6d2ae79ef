"""Reports: one module a report, with what it asks, its tables and its pictures.

.. code-block:: python

    from hwsim.reports import figure, table

    figure("waterfall", model="bitnet-b1.58-7b", scope="system")  # a matplotlib Figure
    table("formats", model="bitnet-b1.58-7b")                     # a pandas DataFrame

`FIGURES` and `TABLES` name them all; keywords are those of `Inputs`. `hwsim.reports.folder` writes
whole reports.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from hwsim.errors import InputError
from hwsim.reports import layer, model, published, sizes, trace
from hwsim.reports.content import Picture, Report, Table
from hwsim.reports.inputs import Inputs, inputs_with
from hwsim.reports.style import house_style

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]
    from matplotlib.figure import Figure

T = TypeVar("T")

REPORTS: dict[str, Callable[[Inputs], Report]] = {
    "model": model.report,
    "published": published.report,
    "sizes": sizes.report,
    "layer": layer.report,
    "trace": trace.report,
}
"""All reports, in the order of a page."""

FIGURES: dict[str, Callable[[Inputs], Picture]] = {
    "waterfall": model.waterfall_picture,
    "parts": model.parts_picture,
    "roofline": model.roofline_picture,
    "ratio": published.ratio_picture,
    "sizes": sizes.sizes_picture,
    "cycles": layer.cycles_picture,
    "toggles": layer.toggles_picture,
    "weights": trace.weights_picture,
    "activations": trace.activations_picture,
}
"""All pictures. `cycles` and `toggles` need a `run`."""

TABLES: dict[str, Callable[[Inputs], Table]] = {
    "formats": model.formats_table,
    "parts": model.parts_table,
    "waterfall": model.waterfall_table,
    "roofline": model.roofline_table,
    "sensitivities": model.sensitivity_table,
    "residuals": published.residuals_table,
    "ratio": published.ratio_table,
    "validation": published.validation_table,
    "sizes": sizes.sizes_table,
    "points": sizes.points_table,
    "cycles": layer.cycles_table,
    "layer_energy": layer.layer_energy_table,
    "timeline": layer.timeline_table,
    "toggles": layer.toggles_table,
    "weights": trace.weights_table,
    "trace_energy": trace.trace_energy_table,
}
"""All tables. `cycles`, `layer_energy`, `timeline` and `toggles` need a `run`."""


def figure(name: str, inputs: Inputs | None = None, **changes: Any) -> "Figure":
    """Draw a picture.

    Parameters
    ----------
    name
        One of `FIGURES`.
    inputs
        What is asked; a report without options, if left out.
    changes
        Fields of `Inputs` that are to be different; ``model="NAME"`` names the model.

    Raises
    ------
    InputError
        If there is no such picture, or an input is wrong.
    """
    with house_style(name):
        return _find(FIGURES, "figure", name)(inputs_with(inputs, **changes)).draw()


def table(name: str, inputs: Inputs | None = None, **changes: Any) -> "pd.DataFrame":
    """Return a table; units are in the names of its columns.

    Parameters
    ----------
    name
        One of `TABLES`.
    inputs, changes
        As in `figure`.

    Raises
    ------
    InputError
        If there is no such table, or an input is wrong.
    """
    return _find(TABLES, "table", name)(inputs_with(inputs, **changes)).frame


def _find(known: dict[str, T], what: str, name: str) -> T:
    if name not in known:
        raise InputError(f"{what} {name!r}: no such {what}; known: {', '.join(known)}")
    return known[name]


__all__ = ["FIGURES", "REPORTS", "TABLES", "Inputs", "figure", "table"]
