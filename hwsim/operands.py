"""What an array is fed with for a layer, as numbers of its lane, and what must come out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hwsim.config import ArrayConfig, tree_levels
from hwsim.errors import InputError
from hwsim.layer import Layer

Kind = Literal["trace", "full"]
"""`trace`: the layer's own values. `full`: on the baselines' lanes, the weights that such hardware
would hold, which are not ternary."""

_SPAN = 1 << 21
"""Weights that are worked on at once, where that takes 64 bits each."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Operands:
    """Weights and activations as the lanes take them.

    Attributes
    ----------
    weight
        Shape (out_features, in_features): int8, or float16 for `fp16`.
    activation
        Shape (tokens, in_features), of the same dtype.
    source
        Where the weights come from: `trace`, `latent` or `seeded`.
    """

    weight: NDArray[np.generic]
    activation: NDArray[np.generic]
    source: str


def operands_of(
    layer: Layer, config: ArrayConfig, *, kind: Kind = "trace", seed: int = 0
) -> Operands:
    """Return a layer as numbers of the array's lane.

    ========== ================================ ============================================
    lane       `trace`                          `full`
    ========== ================================ ============================================
    ternary    trits and int8 activations       the same
    int8       the trits as int8                latent weights, absmax per output row
    fp16       value x scale, rounded once      latent weights, cast
    ========== ================================ ============================================

    A layer without latent weights has normally distributed ones of the same absmean in their
    place, from `seed`. `-128` is an activation like any other.

    Raises
    ------
    InputError
        If the layer has no activations, or zeros where the encoding has none.
    """
    if layer.activation is None or layer.activation_scale is None:
        raise InputError(f"layer {layer.name}: has no activations; they can be made at random")
    if config.weight_encoding == "1bit" and not layer.weight.all():
        row, column = np.argwhere(layer.weight == 0)[0]
        raise InputError(
            f"layer {layer.name}: weight is 0 (row {row}, column {column}), which "
            f"weight_encoding 1bit does not have; use 2bit or base3"
        )
    if config.is_ternary:
        return Operands(weight=layer.weight, activation=layer.activation, source="trace")
    weight: Callable[[slice], NDArray[Any]] = layer.weight.__getitem__
    source = "trace"
    if kind == "full":
        source = "seeded" if layer.weight_latent is None else "latent"
        latent = layer.weight_latent
        weight = _seeded(layer, seed) if latent is None else latent.__getitem__
    if config.lane == "int8":
        numbers = layer.weight
        if kind == "full":
            numbers = _by_rows(layer, np.int8, lambda rows: _absmax_int8(weight(rows)))
        return Operands(weight=numbers, activation=layer.activation, source=source)
    scale = np.float64(np.float32(layer.weight_scale)) if kind == "trace" else np.float64(1)
    scaled = layer.activation.astype(np.float64) * layer.activation_scale[:, None]
    with np.errstate(over="ignore"):
        return Operands(
            weight=_by_rows(layer, np.float16, lambda rows: weight(rows) * scale),
            activation=scaled.astype(np.float16),
            source=source,
        )


def row_spans(shape: tuple[int, ...]) -> Iterator[slice]:
    """Give the rows of a matrix, some at a time: an even number, and few enough to convert."""
    rows = max(1, _SPAN // shape[1] // 2) * 2
    for first in range(0, shape[0], rows):
        yield slice(first, min(first + rows, shape[0]))


def _by_rows(
    layer: Layer, dtype: type[np.generic], make: Callable[[slice], NDArray[Any]]
) -> NDArray[Any]:
    """Return what `make` gives for the rows of a layer's weight, one span after the other."""
    made = np.empty(layer.weight.shape, dtype)
    for rows in row_spans(made.shape):
        made[rows] = make(rows)
    return made


def reference(operands: Operands, config: ArrayConfig) -> NDArray[np.generic]:
    """Return what the array must give, computed by numpy.

    Integers are exact. `fp16` adds in the array's order: the products of a step by a balanced tree
    of neighbours, then the accumulator, column blocks ascending; the first block is loaded.

    Returns
    -------
    NDArray
        Shape (tokens, out_features): int32, float16, or float32 with a 32-bit accumulator.
    """
    weight, activation = operands.weight, operands.activation
    if config.lane != "fp16":
        # Sums stay far below 2**53, so that BLAS can add them exactly.
        exact = activation.astype(np.float64)
        whole = np.empty((len(activation), len(weight)), np.int32)
        for rows in row_spans(weight.shape):
            whole[:, rows] = exact @ weight[rows].astype(np.float64).T
        return whole
    sums = np.empty((len(activation), len(weight)), _float_type(config))
    for token, values in enumerate(activation):
        *_, sums[token] = float_sums(weight, values, config)
    return sums


def float_sums(
    weight: NDArray[Any], activation: NDArray[Any], config: ArrayConfig
) -> Iterator[NDArray[np.floating]]:
    """Give the accumulators of an `fp16` array for one token, after each column block.

    Parameters
    ----------
    weight
        float16, shape (outputs, inputs).
    activation
        float16, shape (inputs,).
    config
        The array.

    Yields
    ------
    NDArray
        Shape (outputs,): float16, or float32 with a 32-bit accumulator.
    """
    leaves = 1 << tree_levels(config.columns)
    dtype = _float_type(config)
    sums = np.zeros(len(weight), dtype)
    for start in range(0, weight.shape[1], config.columns):
        block = slice(start, start + config.columns)
        products = np.zeros((len(weight), leaves), np.float16)
        count = len(activation[block])
        with np.errstate(over="ignore", invalid="ignore"):
            # Places beyond in_features have activation 0; so do the products, of either sign.
            products[:, :count] = weight[:, block] * activation[block]
            while products.shape[1] > 1:
                products = products[:, ::2] + products[:, 1::2]
            step = products[:, 0].astype(dtype)
            sums = sums + step if start else step
        yield sums


def _float_type(config: ArrayConfig) -> type[np.floating]:
    return np.float16 if config.accumulator_bits == 16 else np.float32


def matches(outputs: NDArray[np.generic], operands: Operands, config: ArrayConfig) -> bool:
    """Say whether outputs are what the array must give: see `reference`. Any NaN equals any NaN."""
    expected = reference(operands, config)
    return bool(np.array_equal(outputs, expected, equal_nan=config.lane == "fp16"))


def _seeded(layer: Layer, seed: int) -> Callable[[slice], NDArray[np.float64]]:
    """Return what draws rows of weights, to be asked for in order."""
    # The mean of |x| of a normal distribution is its deviation x sqrt(2 / pi).
    deviation = float(layer.weight_scale) * np.sqrt(np.pi / 2)
    rng = np.random.default_rng(seed)
    return lambda rows: rng.normal(0, deviation, layer.weight[rows].shape)


def _absmax_int8(weight: NDArray[np.floating]) -> NDArray[np.int8]:
    exact = weight.astype(np.float64)
    largest = np.abs(exact).max(axis=1, keepdims=True)
    scale = np.divide(127, largest, out=np.zeros_like(largest), where=largest > 0)
    quantized: NDArray[np.int8] = np.rint(exact * scale).astype(np.int8)
    return quantized
