"""What goes over the buses: a layer as bus words, and result words as outputs.

Words are rows of bytes, the first byte in bits 7:0. Tiles, a token's activations and a token's
results of one row block each begin with a new word; what fills their last word is zero.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hwsim.config import ArrayConfig
from hwsim.encoding import ENCODINGS
from hwsim.schedule import Schedule

Words = NDArray[np.uint8]
"""Bus words, shape (words, bytes of the bus)."""


def weight_words(weight: NDArray[np.generic], schedule: Schedule) -> Words:
    """Return the weight stream of one token block: tiles in loop order.

    Parameters
    ----------
    weight
        Shape (out_features, in_features), of the numbers that the lane takes.
    schedule
        Of the layer.
    """
    config = schedule.config
    rows, columns = config.rows, config.columns
    tiles = _padded(weight, schedule.row_blocks * rows, schedule.column_blocks * columns)
    tiles = tiles.reshape(schedule.row_blocks, rows, schedule.column_blocks, columns)
    tiles = tiles.swapaxes(1, 2)
    if config.weight_encoding is None:
        packed = np.ascontiguousarray(tiles).view(np.uint8)
    else:
        packed = ENCODINGS[config.weight_encoding].pack(tiles.astype(np.int8, copy=False))
    return _as_words(packed.reshape(-1, config.tile_bytes), config.weight_bus_bits)


def activation_words(activation: NDArray[np.generic], schedule: Schedule) -> Words:
    """Return the activation stream: token after token.

    Parameters
    ----------
    activation
        Shape (tokens, in_features), of the numbers that the lane takes.
    schedule
        Of the layer.
    """
    values = np.ascontiguousarray(activation).view(np.uint8)
    return _as_words(values, schedule.config.activation_bus_bits)


def outputs(words: Words, schedule: Schedule) -> NDArray[np.generic]:
    """Return the sums that result words hold.

    Parameters
    ----------
    words
        The whole result stream of a layer.
    schedule
        Of that layer.

    Returns
    -------
    NDArray
        Shape (tokens, out_features): int32; for `fp16`, floats as wide as the accumulator.
    """
    config = schedule.config
    dtype = _result_dtype(config)
    used = config.results_per_word * dtype.itemsize
    values = np.ascontiguousarray(words[:, :used]).view(dtype)
    sums = np.empty((schedule.tokens, schedule.out_features), dtype)
    at = 0
    for part in _parts(sums, schedule):
        tokens, blocks, rows = part.shape
        count = blocks * tokens * schedule.result_words_of(rows)
        sent = values[at : at + count].reshape(blocks, tokens, -1)[:, :, :rows]
        part[:] = sent.swapaxes(0, 1)
        at += count
    return sums if dtype.kind == "f" else sums.astype(np.int32)


def result_words(sums: NDArray[np.generic], schedule: Schedule) -> Words:
    """Return the result stream of a layer: what `outputs` undoes.

    Every NaN becomes the one that the hardware makes.

    Parameters
    ----------
    sums
        Shape (tokens, out_features), of numbers that fit into a result.
    schedule
        Of the layer.
    """
    config = schedule.config
    dtype = _result_dtype(config)
    per_word = config.results_per_word
    if dtype.kind == "f":
        sums = np.where(np.isnan(sums), dtype.type(np.nan), sums)
    values = np.zeros((schedule.result_words, per_word), dtype)
    at = 0
    for part in _parts(sums, schedule):
        tokens, blocks, rows = part.shape
        count = blocks * tokens * schedule.result_words_of(rows)
        sent = values[at : at + count].reshape(blocks, tokens, -1)
        sent[:, :, :rows] = part.swapaxes(0, 1)
        at += count
    fill = config.result_bus_bits // 8 - per_word * dtype.itemsize
    return np.pad(values.view(np.uint8), [(0, 0), (0, fill)])


def _result_dtype(config: ArrayConfig) -> np.dtype[np.generic]:
    return np.dtype(f"<{'f' if config.lane == 'fp16' else 'i'}{config.result_bits // 8}")


def _parts(sums: NDArray[np.generic], schedule: Schedule) -> Iterator[NDArray[np.generic]]:
    """Give views of sums in the order in which they are sent: shape (tokens, row blocks, rows).

    Of every token block, the whole row blocks, then the last one if it is short.
    """
    rows = schedule.config.rows
    whole = schedule.out_features // rows * rows
    for first_token in range(0, schedule.tokens, schedule.config.batch):
        block = sums[first_token : first_token + schedule.config.batch]
        if whole:
            yield block[:, :whole].reshape(len(block), -1, rows)
        if whole < schedule.out_features:
            yield block[:, None, whole:]


def _padded(array: NDArray[np.generic], rows: int, columns: int) -> NDArray[np.generic]:
    return np.pad(array, [(0, rows - array.shape[0]), (0, columns - array.shape[1])])


def _as_words(packets: NDArray[np.uint8], bus_bits: int) -> Words:
    """Cut packets, one a row, into words of the bus."""
    bus_bytes = bus_bits // 8
    fill = -packets.shape[1] % bus_bytes
    return np.pad(packets, [(0, 0), (0, fill)]).reshape(-1, bus_bytes)
