"""What goes over the buses: a layer as bus words, and result words as outputs.

Words are rows of bytes, the first byte in bits 7:0. Tiles, a token's activations and a token's
results of one row block each begin with a new word; what fills their last word is zero.
"""

import numpy as np
from numpy.typing import NDArray

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
    number = "f" if config.lane == "fp16" else "i"
    dtype = np.dtype(f"<{number}{config.result_bits // 8}")
    used = config.results_per_word * dtype.itemsize
    values = np.ascontiguousarray(words[:, :used]).view(dtype)
    sums = np.empty((schedule.tokens, schedule.out_features), dtype if number == "f" else np.int32)
    at = 0
    for first_token in range(0, schedule.tokens, config.batch):
        block = sums[first_token : first_token + config.batch]
        for first_row in range(0, schedule.out_features, config.rows):
            part = block[:, first_row : first_row + config.rows]
            count = len(block) * schedule.result_words_of(part.shape[1])
            part[:] = values[at : at + count].reshape(len(block), -1)[:, : part.shape[1]]
            at += count
    return sums


def result_words(outputs: NDArray[np.generic], schedule: Schedule) -> Words:
    """Return the result stream of a layer: what `outputs` undoes.

    Every NaN becomes the one that the hardware makes.

    Parameters
    ----------
    outputs
        Sums, shape (tokens, out_features).
    schedule
        Of the layer.
    """
    config = schedule.config
    if config.lane == "fp16":
        values = np.where(np.isnan(outputs), np.array(np.nan, outputs.dtype), outputs)
    else:
        values = outputs.astype(f"<i{config.result_bits // 8}")
    used = config.results_per_word
    spare = config.result_bus_bits // 8 - used * values.itemsize
    words = []
    for first_token in range(0, schedule.tokens, config.batch):
        for first_row in range(0, schedule.out_features, config.rows):
            part = values[
                first_token : first_token + config.batch, first_row : first_row + config.rows
            ]
            filled = np.pad(part, [(0, 0), (0, -part.shape[1] % used)])
            packed = filled.view(np.uint8).reshape(-1, used * values.itemsize)
            words.append(np.pad(packed, [(0, 0), (0, spare)]))
    return np.concatenate(words)


def _padded(array: NDArray[np.generic], rows: int, columns: int) -> NDArray[np.generic]:
    return np.pad(array, [(0, rows - array.shape[0]), (0, columns - array.shape[1])])


def _as_words(packets: NDArray[np.uint8], bus_bits: int) -> Words:
    """Cut packets, one a row, into words of the bus."""
    bus_bytes = bus_bits // 8
    fill = -packets.shape[1] % bus_bytes
    return np.pad(packets, [(0, 0), (0, fill)]).reshape(-1, bus_bytes)
