"""Engines: run a layer on an array, and say what happened."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim import streams
from hwsim.activity import Activity
from hwsim.config import ArrayConfig
from hwsim.encoding import ENCODINGS
from hwsim.engines.ports import Observed, Stimulus
from hwsim.engines.stalls import Stalls
from hwsim.errors import InputError
from hwsim.layer import Layer
from hwsim.schedule import Schedule

ENGINES = {
    "pysim": "the Amaranth component in Amaranth's own simulator; can write waveforms",
    "rtl": "the same design, compiled",
}
"""What each engine runs. Each is a module here with a function `run`, imported on first use."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What came out of a layer, and what it took.

    Attributes
    ----------
    outputs
        Integer sums, int32, shape (tokens, out_features).
    activity
        Measured counts.
    engine_s
        Seconds of simulation, without compilation and input.
    """

    outputs: NDArray[np.int32]
    activity: Activity
    engine_s: float


def run(
    layer: Layer,
    config: ArrayConfig,
    *,
    engine: str = "rtl",
    stalls: Stalls | None = None,
    **options: Any,
) -> Run:
    """Run a layer on an array.

    Parameters
    ----------
    layer
        With activations.
    config
        The array; its activation buffer grows to hold the layer.
    engine
        One of `ENGINES`.
    stalls
        When sources and sinks wait; never, if left out.
    options
        Of the engine, such as `progress`.

    Raises
    ------
    InputError
        If the array cannot run the layer.
    """
    if engine not in ENGINES:
        raise InputError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}")
    where = f"layer {layer.name}"
    config = config.for_in_features(layer.in_features)
    config.check_in_features(layer.in_features, where=where)
    schedule = Schedule(
        config=config,
        out_features=layer.out_features,
        in_features=layer.in_features,
        tokens=layer.tokens,
    )
    stimulus = Stimulus(
        schedule=schedule,
        weights=streams.weight_words(layer, schedule),
        activations=streams.activation_words(layer, schedule),
        stalls=stalls or Stalls(),
    )
    observed = import_module(f"hwsim.engines.{engine}").run(stimulus, **options)
