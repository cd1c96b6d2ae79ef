"""Weights as the lanes have them: what the gates of decoders and recoders make of bus words."""

import ctypes
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.config import ArrayConfig
from hwsim.gates import kernel
from hwsim.gates.activity import Counts
from hwsim.gates.designs import Netlists
from hwsim.gates.netlist import Netlist
from hwsim.parallel import in_shares, processors, side_by_side
from hwsim.streams import Words

Array = NDArray[Any]
Table = NDArray[np.uint32]

_BYTE = 8

_HELD_BYTES = 1 << 26
"""That decoded tiles may take, about: all those of a ternary layer of a 70B model."""


class Tiles:
    """Decoded tiles: those of some row blocks of a layer.

    Parameters
    ----------
    config
        The array.
    gates
        Its netlists.
    library
        What `kernel.build` gave for them.

    Attributes
    ----------
    codes
        Shape (1 + tiles, groups of lanes, 64-bit words of a row of the tile, lanes of a group). The
        first tile is what was in the registers before: the last one of those loaded before, or 0.
    illegal
        Whether any byte was no code.
    decoder, recoder
        What was counted of all decoders, and of all recoders, if there are any.
    """

    def __init__(self, config: ArrayConfig, gates: Netlists, library: ctypes.CDLL) -> None:
        self._config = config
        self._library = library
        self._weights, self._is_illegal, self._picks = _tables(gates)
        self.decoder = Pairs(library, gates.decoder)
        self.recoder: Pairs | None = None
        if gates.recoder is not None:
            self.recoder = Pairs(library, gates.recoder, lanes=config.rows)
        self.codes = self._zeros(1)
        self.illegal = False

    def most_row_blocks(self, column_blocks: int) -> int:
        """Return how many row blocks may be here at once."""
        return max(1, _HELD_BYTES // (column_blocks * self._zeros(1).nbytes))

    def load(self, pieces: Iterable[Words], tiles: int, *, count: bool) -> None:
        """Put tiles in the place of those that are here.

        Parameters
        ----------
        pieces
            Their bus words, whole tiles at a time.
        tiles
            How many come.
        count
            Whether to count what decoders and recoders do.
        """
        before = self.codes[-1].copy()
        self.clear()  # before there is memory for the others
        self.codes = self._zeros(1 + tiles)
        self.codes[0] = before
        at = 1
        for words in pieces:
            come = len(words) // self._config.tile_words
            self._decode(words, self.codes[at : at + come], count=count)
            at += come
        self.illegal = bool(self.decoder.counts[:, self._is_illegal != 0].any())

    def clear(self) -> None:
        """Let go of all tiles; the registers are 0 again."""
        self.codes = self._zeros(1)

    def _decode(self, words: Words, codes: NDArray[np.uint64], *, count: bool) -> None:
        config = self._config
        if count:
            self.decoder.add(words, words.shape[1])
        tiles = words.reshape(len(codes), -1)[:, : config.tile_bytes]
        rows = np.ascontiguousarray(tiles).reshape(-1, config.weight_row_bytes)
        used = config.columns * config.weight_bits
        fields = _BYTE, config.decoded_byte_bits, config.weight_row_bytes
        if self.recoder is None:
            self._replace(rows, codes, self._weights, fields, used, lanes=config.rows)
            return
        trits = np.zeros((len(rows), codes.shape[2]), np.uint64)
        self._replace(rows, trits, self._weights, fields, used)
        places = config.tree_inputs
        if count:
            self.recoder.add(trits, places)
        bits = config.tile_row_bits // places
        fields = bits, bits, places
        self._replace(trits, codes, self._picks, fields, config.tile_row_bits, lanes=config.rows)

    def _replace(
        self,
        rows: Array,
        into: NDArray[np.uint64],
        table: Table,
        fields: tuple[int, int, int],
        used: int,
        *,
        lanes: int = 0,
    ) -> None:
        """Put what a table has for them in the place of fields: bits before, after, their number.

        With `lanes` the rows, of tiles, stand in groups afterwards, as in `codes`.
        """
        from_bits, to_bits, count = fields
        job = kernel.ReplaceJob(
            from_=rows.ctypes.data,
            from_stride=rows.strides[0],
            from_bits=from_bits,
            fields=count,
            table=table.ctypes.data,
            to=into.ctypes.data,
            to_bits=to_bits,
            used=used,
            words=self.codes.shape[2],
            lanes=lanes,
        )
        side_by_side(
            lambda start, end: self._library.hwsim_replace(ctypes.byref(job), start, end),
            len(rows),
        )

    def _zeros(self, tiles: int) -> NDArray[np.uint64]:
        groups = -(-self._config.rows // kernel.GROUP)
        words = -(-self._config.tile_row_bits // 64)
        return np.zeros((tiles, groups, words, kernel.GROUP), np.uint64)


@lru_cache(16)
def _tables(gates: Netlists) -> tuple[Table, Table, Table]:
    """Return what decoders make of each byte, whether it is no code, and what recoders make."""
    weights, illegal = map(gates.decoder.table, ("weights", "illegal"))
    none = np.zeros(0, np.uint32)
    return weights, illegal, none if gates.recoder is None else gates.recoder.table("recoded")


class Pairs:
    """How often each code follows each other one at the same place of one lane's rows.

    It is all that the toggles of a decoder depend on. The first rows come after zeros.

    Parameters
    ----------
    library
        What `kernel.build` gave.
    netlist
        Of the decoder; its inputs are one field.
    lanes
        Whose rows come by turns.
    """

    def __init__(self, library: ctypes.CDLL, netlist: Netlist, *, lanes: int = 1) -> None:
        self._library = library
        self._bits = len(netlist.input_nets)
        self._lanes = lanes
        self._first: Array | None = None
        self._last: Array
        # 32 bits are enough: no layer has as many bytes.
        self._counters = np.zeros((processors(), 1 << self._bits, 1 << self._bits), np.uint32)

    def add(self, rows: Array, places: int) -> None:
        """Count the next rows, of so many fields; they are as many as the lanes, or more."""
        lanes = self._lanes
        if self._first is None:
            self._places = places
            self._first = rows[:lanes].copy()
            self._last = np.zeros_like(self._first)
        self._count(np.concatenate([self._last, rows]), self._counters)
        self._last = rows[-lanes:].copy()

    @property
    def counts(self) -> Counts:
        """Of all rows so far: shape (codes, codes), the code before and the one after it."""
        return _sum(self._counters)

    def total(self, times: int) -> Counts:
        """Return the counts if all rows come so many times."""
        if self._first is None:
            return self.counts
        begin, again = np.zeros((2, *self._counters.shape), np.uint32)
        self._count(np.concatenate([np.zeros_like(self._first), self._first]), begin)
        self._count(np.concatenate([self._last, self._first]), again)
        return times * self.counts + (times - 1) * (_sum(again) - _sum(begin))

    def _count(self, rows: Array, counters: NDArray[np.uint32]) -> None:
        def count(share: int, start: int, end: int) -> None:
            self._library.hwsim_pairs(
                rows.ctypes.data,
                rows.strides[0],
                self._lanes,
                self._bits,
                self._places,
                start + self._lanes,
                end + self._lanes,
                counters[share].ctypes.data,
            )

        in_shares(count, len(rows) - self._lanes, len(counters))


def _sum(counters: NDArray[np.uint32]) -> Counts:
    """Return what all threads counted together."""
    counts: Counts = counters.sum(axis=0, dtype=np.int64)
    return counts
