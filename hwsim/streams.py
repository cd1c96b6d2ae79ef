"""What goes over the buses: a layer as bus words, and result words as outputs.

Words are rows of bytes, the first byte in bits 7:0. Tiles, a token's activations and a token's
results of one row block each begin with a new word; what fills their last word is zero.

Streams come, and go, in pieces of a few MB: memory does not grow with the layer.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.config import ArrayConfig
from hwsim.encoding import ENCODINGS
from hwsim.schedule import Schedule

Words = NDArray[np.uint8]
"""Bus words, shape (words, bytes of the bus)."""

PIECE = 1 << 21
"""Numbers that a piece of a stream holds, about; it has one tile, or token, at least."""


def weight_pieces(weight: NDArray[np.generic], schedule: Schedule) -> Iterator[Words]:
    """Give what `weight_words` returns, for the same parameters, cut between tiles."""
    rows, columns = schedule.config.rows, schedule.config.columns
    tiles = max(1, PIECE // (rows * columns))
    # Whole row blocks; if not even one fits, a part of it.
    height = max(1, tiles // schedule.column_blocks) * rows
    width = min(tiles, schedule.column_blocks) * columns
    for row in range(0, schedule.out_features, height):
        for column in range(0, schedule.in_features, width):
            part = weight[row : row + height, column : column + width]
            out_features, in_features = part.shape
            shape = replace(schedule, out_features=out_features, in_features=in_features)
            yield weight_words(part, shape)


def activation_pieces(activation: NDArray[np.generic], schedule: Schedule) -> Iterator[Words]:
    """Give what `activation_words` returns, for the same parameters, cut between tokens."""
    tokens = max(1, PIECE // schedule.in_features)
    for token in range(0, schedule.tokens, tokens):
        yield activation_words(activation[token : token + tokens], schedule)


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
    tiles = padded(
        weight, rows=schedule.row_blocks * rows, columns=schedule.column_blocks * columns
    )
    tiles = tiles.reshape(schedule.row_blocks, rows, schedule.column_blocks, columns)
    tiles = tiles.swapaxes(1, 2)
    if config.weight_encoding is None:
        packed = np.ascontiguousarray(tiles).view(np.uint8)
    else:
        packed = ENCODINGS[config.weight_encoding].pack(tiles.astype(np.int8, copy=False))
    return _as_words(packed.reshape(-1, config.tile_bytes), config.weight_bus_bits)


def padded(numbers: NDArray[Any], *, rows: int, columns: int, fill: int = 0) -> NDArray[Any]:
    """Return an array with the rows and columns that it lacks; itself, if it lacks none."""
    lacking = [(0, rows - numbers.shape[0]), (0, columns - numbers.shape[1])]
    if any(after for _, after in lacking):
        numbers = np.pad(numbers, lacking, constant_values=fill)
    return np.ascontiguousarray(numbers)


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
    results = Results(schedule)
    at = 0
    for piece in results:
        piece[:] = words[at : at + len(piece)]
        at += len(piece)
    return results.sums


class Results:
    """Where the result stream of a layer goes: words become sums piece by piece.

    Iterating gives empty pieces in the order in which words come. Fill one, then ask for the next.

    Attributes
    ----------
    sums
        What the pieces so far held, shape (tokens, out_features): int32; for `fp16`, floats as wide
        as the accumulator.
    """

    def __init__(self, schedule: Schedule):
        self._schedule = schedule
        self._dtype = _result_dtype(schedule.config)
        number = self._dtype if self._dtype.kind == "f" else np.dtype(np.int32)
        self.sums: NDArray[np.generic] = np.zeros((schedule.tokens, schedule.out_features), number)

    def __iter__(self) -> Iterator[Words]:
        config = self._schedule.config
        used = config.results_per_word * self._dtype.itemsize
        for part in _parts(self.sums, self._schedule):
            tokens, blocks, rows = part.shape
            count = blocks * tokens * self._schedule.result_words_of(rows)
            words = np.zeros((count, config.result_bus_bits // 8), np.uint8)
            yield words
            values = np.ascontiguousarray(words[:, :used]).view(self._dtype)
            part[:] = values.reshape(blocks, tokens, -1)[:, :, :rows].swapaxes(0, 1)


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
    sums = as_sent(sums)
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


def as_sent(sums: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return sums as results hold them: every NaN is the one that the hardware makes."""
    if sums.dtype.kind != "f":
        return sums
    return np.where(np.isnan(sums), sums.dtype.type(np.nan), sums)


def _result_dtype(config: ArrayConfig) -> np.dtype[np.generic]:
    return np.dtype(f"<{'f' if config.lane == 'fp16' else 'i'}{config.result_bits // 8}")


def _parts(sums: NDArray[np.generic], schedule: Schedule) -> Iterator[NDArray[np.generic]]:
    """Give views of sums in the order in which they are sent: shape (tokens, row blocks, rows).

    Of every token block, the whole row blocks, a piece at a time, then the last one if it is short.
    """
    rows = schedule.config.rows
    whole = schedule.out_features // rows * rows
    for first_token in range(0, schedule.tokens, schedule.config.batch):
        block = sums[first_token : first_token + schedule.config.batch]
        most = max(1, PIECE // (len(block) * rows)) * rows
        for first in range(0, whole, most):
            yield block[:, first : min(first + most, whole)].reshape(len(block), -1, rows)
        if whole < schedule.out_features:
            yield block[:, None, whole:]


def _as_words(packets: NDArray[np.uint8], bus_bits: int) -> Words:
    """Cut packets, one a row, into words of the bus."""
    bus_bytes = bus_bits // 8
    fill = -packets.shape[1] % bus_bytes
    whole = padded(packets, rows=len(packets), columns=packets.shape[1] + fill)
    return whole.reshape(-1, bus_bytes)
