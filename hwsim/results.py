"""What a run showed, as the plain values that JSON and tables are made of."""

from typing import Any

from hwsim.config import MULTIPLIER_LANES, ArrayConfig
from hwsim.energy import price
from hwsim.energy_tables import EnergyTable
from hwsim.engines import Run
from hwsim.errors import InputError
from hwsim.layer import Layer
from hwsim.predict import predict

SCOPES = ("arithmetic", "core")
"""Scopes in which a layer by itself is priced."""


def describe(
    layer: Layer, array: ArrayConfig, engine: str, run: Run, *, stalled: bool
) -> dict[str, Any]:
    """Return what a run showed, beside what was predicted and what it costs.

    A run is not lost because a buffer is larger than any memory of the table: such buffers are
    extrapolated, and `extrapolated` says why.
    """
    array = array.for_in_features(layer.in_features)
    table = EnergyTable.load()
    shape = {
        "out_features": layer.out_features,
        "in_features": layer.in_features,
        "tokens": layer.tokens,
    }

    extrapolated: str | None = None

    def energy_pj(activity: Any, config: ArrayConfig) -> dict[str, dict[str, float]]:
        nonlocal extrapolated
        try:
            price(activity, config, table)
        except InputError as refusal:
            extrapolated = str(refusal)
        return {
            s: price(activity, config, table, scope=s, extrapolate=True).as_dict() for s in SCOPES
        }

    predicted = predict(array, **shape)
    stall_free = predict(array.unlimited, **shape)
    baseline = {}
    for lane in MULTIPLIER_LANES:
        # The same rows, columns, batch, clock and buses; only the lane is another.
        other = array.baseline(lane)
        expected = predict(other, **shape)
        baseline[lane] = {
            "cycles": expected.cycles.total,
            "energy_pj": energy_pj(expected, other),
        }
    return {
        "engine": engine,
        "array": array.model_dump(),
        "layer": {"name": layer.name, **shape, "zero_fraction": layer.zero_fraction},
        "cycles": run.activity.cycles.as_dict(),
        "stall_free_cycles": stall_free.cycles.total,
        "predicted_cycles": None if stalled else predicted.cycles.total,
        "activity": run.activity.as_dict(),
        **({"word_toggles": run.toggles.as_dict()} if run.toggles else {}),
        "energy_pj": energy_pj(run.activity, array),
        "extrapolated": extrapolated,
        "baseline": baseline,
        "engine_s": run.engine_s,
    }
