import pytest

from hwsim.energy_tables import EnergyTable
from hwsim.published import Residual, residuals

RESIDUALS = residuals(EnergyTable.load())


@pytest.mark.parametrize(
    "residual",
    RESIDUALS,
    ids=[
        f"{r.figure.source.rsplit()[-1]} {r.figure.locator}: "
        f"{r.figure.model} {r.figure.quantity} {r.figure.node}"
        for r in RESIDUALS
    ],
)
def test_figure_is_reproduced(residual: Residual, record_property) -> None:
    record_property("relative_residual", residual.relative)
    if "/" in residual.figure.quantity:
        assert abs(residual.relative) < 0.006  # ratios, read from a figure
    else:
        assert residual.reproduced


def test_nothing_is_tuned() -> None:
    """The LLaMA shapes give 29.17 at 7B, not the printed 29.1; 13B is off alike."""
    (seven,) = (
        r.computed
        for r in RESIDUALS
        if (r.figure.model, r.figure.quantity) == ("bitnet-b1.58-7b", "fp16 / ternary")
    )
    assert seven == pytest.approx(29.17, abs=0.005)
