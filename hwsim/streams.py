"""What goes over the buses: a layer as bus words, and result words as outputs.

Words are rows of bytes, the first byte in bits 7:0. Tiles, a token's activations and a token's
results of one row block each begin with a new word; what fills their last word is zero.
"""

import numpy as np
from numpy.typing import NDArray

from hwsim.encoding import ENCODINGS
from hwsim.errors import InputError
from hwsim.layer import Layer
from hwsim.schedule import Schedule

Words = NDArray[np.uint8]
"""Bus words, shape (words, bytes of the bus)."""


def weight_words(layer: Layer, schedule: Schedule) -> Words:
    """Return the weight stream of one token block: tiles in loop order."""
    config = schedule.config
    rows, columns = config.rows, config.columns
    tiles = _padded(layer.weight, schedule.row_blocks * rows, schedule.column_blocks * columns)
    tiles = tiles.reshape(schedule.row_blocks, rows, schedule.column_blocks, columns)
    packed = ENCODINGS[str(config.weight_encoding)].pack(tiles.swapaxes(1, 2))
    return _as_words(packed.reshape(-1, config.tile_bytes), config.weight_bus_bits)


def activation_words(layer: Layer, schedule: Schedule) -> Words:
    """Return the activation stream: token after token.

    Raises
    ------
    InputError
        If the layer has no activations.
    """
    if layer.activation is None:
        raise InputError(f"layer {layer.name}: has no activations; they can be made at random")
    return _as_words(layer.activation.view(np.uint8), schedule.config.activation_bus_bits)


def outputs(words: Words, schedule: Schedule) -> NDArray[np.int32]:
    """Return the sums that result words hold.

    Parameters
    ----------
    words
        The whole result stream of a layer.
    schedule
        Of that layer.

    Returns
    -------
    NDArray[np.int32]
        Shape (tokens, out_features).
    """
    config = schedule.config
    dtype = np.dtype(f"<i{config.result_bits // 8}")
    used = config.results_per_word * dtype.itemsize
    values = np.ascontiguousarray(words[:, :used]).view(dtype)
    sums = np.empty((schedule.tokens, schedule.out_features), np.int32)
    at = 0
    for first_token in range(0, schedule.tokens, config.batch):
        block = sums[first_token : first_token + config.batch]
        for first_row in range(0, schedule.out_features, config.rows):
            part = block[:, first_row : first_row + config.rows]
            count = len(block) * schedule.result_words_of(part.shape[1])
            part[:] = values[at : at + count].reshape(len(block), -1)[:, : part.shape[1]]
            at += count
    return sums


def _padded(array: NDArray[np.int8], rows: int, columns: int) -> NDArray[np.int8]:
    return np.pad(array, [(0, rows - array.shape[0]), (0, columns - array.shape[1])])


def _as_words(packets: NDArray[np.uint8], bus_bits: int) -> Words:
    """Cut packets, one a row, into words of the bus."""
    bus_bytes = bus_bits // 8
    fill = -packets.shape[1] % bus_bytes
    return np.pad(packets, [(0, 0), (0, fill)]).reshape(-1, bus_bytes)
