"""Engines: run a layer on an array, and say what happened."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.activity import Activity
from hwsim.config import ArrayConfig
from hwsim.encoding import ENCODINGS
from hwsim.engines.ports import HardwareHang, Observed, Stimulus
from hwsim.engines.stalls import Stalls
from hwsim.errors import InputError
from hwsim.gates.activity import GateActivity
from hwsim.layer import Layer
from hwsim.operands import Operands, operands_of
from hwsim.schedule import Schedule
from hwsim.toggles import Toggles

ENGINES = {
    "pysim": "the Amaranth component in Amaranth's own simulator; can write waveforms",
    "rtl": "the same design, compiled",
    "fast": "a word-level model of the design, equal to it cycle by cycle",
    "gates": "the synthesized netlists of lanes and decoders; counts the toggles of every net",
}
"""What each engine runs. Each is a module here with a function `run`, imported on first use."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What came out of a layer, and what it took.

    Attributes
    ----------
    outputs
        Sums, shape (tokens, out_features): int32; for `fp16`, floats as wide as the accumulator.
    activity
        Measured counts.
    engine_s
        Seconds of simulation, without compilation and input.
    gates
        Toggles of every net, from the engine `gates`.
    toggles
        Bits that changed, if the engine was asked to count them.
    """

    outputs: NDArray[np.generic]
    activity: Activity
    engine_s: float
    gates: GateActivity | None = None
    toggles: Toggles | None = None


def run(
    layer: Layer,
    config: ArrayConfig,
    *,
    engine: str = "rtl",
    operands: Operands | None = None,
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
    operands
        What the array is fed with; `operands_of` the layer, if left out.
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
    schedule = schedule_of(layer, config)
    operands = operands or operands_of(layer, config)
    stimulus = Stimulus(schedule=schedule, operands=operands, stalls=stalls or Stalls())
    module = import_module(f"hwsim.engines.{engine}")
    observed: Observed = module.run(stimulus, **options)
    if observed.error:
        raise HardwareFault(_explain(stimulus, where))
    if observed.fault:
        raise HardwareFault(f"{where}: {observed.fault}")
    if observed.result_words != schedule.result_words:
        raise HardwareHang(
            f"{where}: {observed.result_words} result words instead of {schedule.result_words}"
        )
    return Run(
        outputs=observed.outputs,
        activity=_measured(operands, schedule, observed),
        engine_s=observed.engine_s,
        gates=observed.gates,
        toggles=observed.toggles,
    )


def schedule_of(layer: Layer, config: ArrayConfig) -> Schedule:
    """Return the loops of a layer on an array whose activation buffer grows to hold it.

    Raises
    ------
    InputError
        If the array cannot run the layer.
    """
    where = f"layer {layer.name}"
    config = config.for_in_features(layer.in_features)
    config.check_in_features(layer.in_features, where=where)
    return Schedule(
        config=config,
        out_features=layer.out_features,
        in_features=layer.in_features,
        tokens=layer.tokens,
    )


class HardwareFault(RuntimeError):
    """The hardware raised its error flag, or computed something wrong; the message says what."""


def _explain(stimulus: Stimulus, where: str) -> str:
    """Say which weights of a stream are illegal."""
    config = stimulus.schedule.config
    encoding = ENCODINGS.get(str(config.weight_encoding))
    is_illegal = encoding.illegal if encoding else np.zeros(256, bool)
    before = 0
    for words in stimulus.weight_pieces():
        tiles = words.reshape(-1, config.tile_words * words.shape[1])[:, : config.tile_bytes]
        codes = tiles.reshape(len(tiles), config.rows, -1)
        illegal = np.argwhere(is_illegal[codes])
        if len(illegal):
            tile, row, byte = illegal[0]
            code = codes[tile, row, byte]
            return f"{where}: illegal weight code {code:#04x} in tile {before + tile}, row {row}"
        before += len(tiles)
    return f"{where}: the array raised its error flag"


def _measured(operands: Operands, schedule: Schedule, observed: Observed) -> Activity:
    """Return the counts of a run, from what its ports and counters showed."""
    config, weight = schedule.config, operands.weight
    out_features, in_features = weight.shape
    steps = observed.cycles.compute
    tiles = observed.weight_words // config.tile_words
    tokens = observed.activation_words // schedule.token_activation_words
    word_bits = config.columns * config.activation_bits
    return Activity(
        cycles=observed.cycles,
        macs=weight.size * tokens,
        nonzero_macs=int(np.count_nonzero(weight)) * tokens,
        padded_macs=config.rows * config.columns * steps,
        weight_bits=tiles * config.tile_bytes * 8,
        activation_bits=tokens * in_features * config.activation_bits,
        result_bits=tokens * out_features * config.result_bits,
        weight_words=observed.weight_words,
        activation_words=observed.activation_words,
        result_words=observed.result_words,
        weight_tiles=tiles,
        activation_buffer_write_bits=tokens * schedule.column_blocks * word_bits,
        activation_buffer_read_bits=steps * word_bits,
        accumulator_updates=config.rows * steps,
        scales=tokens * (in_features + out_features),
    )
