"""`TileRow`: the weights that one lane uses, and its next ones."""

from dataclasses import dataclass
from itertools import pairwise

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwsim.config import ArrayConfig
from hwsim.rtl.lanes import LANES, RECODER_MODULE, Recoder
from hwsim.rtl.platform import add_repeated, copies

_ENABLED = 32
"""Most registers of a row that share an enable where those have copies."""


@dataclass(frozen=True)
class RowPlace:
    """Where a tile has a row.

    Attributes
    ----------
    words
        Words of a tile that have a part of it.
    offset
        Where it begins in the first one, in bits.
    bits
        Its bits in the first one.
    """

    words: range
    offset: int
    bits: int

    @classmethod
    def of(cls, config: ArrayConfig, row: int) -> "RowPlace":
        """Find the place of a row."""
        word_bits = config.decoded_bus_bits
        row_bits = config.weight_row_bytes * config.decoded_byte_bits
        first, offset = divmod(row * row_bits, word_bits)
        # What fills its last byte is no part of it.
        used = config.columns * config.weight_bits
        words = range(first, first + -(-(offset + used) // word_bits))
        return cls(words, offset, min(word_bits - offset, used))

    @property
    def module(self) -> str:
        """Name of the `TileRow` in emitted designs."""
        return f"hwsim_tile_row_{self.bits}"


def _part_bits(config: ArrayConfig) -> int:
    whole = max(config.tile_row_bits, config.decoded_bus_bits)
    return _ENABLED if config.broadcast_stages else whole


def word_parts(config: ArrayConfig) -> int:
    """Return in how many parts a row takes a word, each by an enable of its own."""
    return -(-config.decoded_bus_bits // _part_bits(config))


class TileRow(wiring.Component):
    """One row of both tiles. It is registers: a lane reads all of its weights in every cycle.

    Parameters
    ----------
    config : ArrayConfig
        As for `WeightTile`.
    place : RowPlace
        Which one; rows with as many bits in their first words are alike.

    Members
    -------
    payload : In(decoded_bus_bits)
        A word of the next tile, rotated: the row begins at bit 0.
    fills : In(words * word_parts)
        For each part of each of the row's words, whether `payload` is that word.
    swap : In(1)
        The next weights are used from the next cycle on; with `broadcast_stages`, from the one
        after it.
    weights : Out(tile_row_bits)
        Those in use, recoded if the lane asks for it; registers.
    """

    def __init__(self, config: ArrayConfig, place: RowPlace):
        self._config = config
        self._place = place
        super().__init__(
            {
                "payload": In(config.decoded_bus_bits),
                "fills": In(len(place.words) * word_parts(config)),
                "swap": In(1),
                "weights": Out(config.tile_row_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Fill, swap."""
        m = Module()
        config, first = self._config, self._place.bits
        word_bits, part_bits = config.decoded_bus_bits, _part_bits(config)
        following = Signal(config.columns * config.weight_bits, reset_less=True)
        current = Signal(config.tile_row_bits, reset_less=True)

        # From each bit in `edges` to the next one, all come with the same part of the same word.
        edges = [
            bit
            for bit in range(len(following))
            if bit % word_bits % part_bits == 0 or (bit - first) % word_bits == 0
        ]
        for start, stop in pairwise([*edges, len(following)]):
            word = 1 + (start - first) // word_bits
            position = start % word_bits
            with m.If(self.fills[word * word_parts(config) + position // part_bits]):
                m.d.sync += following[start:stop].eq(self.payload[position:][: stop - start])

        weights = self._recoded(m, platform, following)
        parts = -(-len(current) // part_bits)
        swaps = copies(m, self.swap, parts, name="swap") if config.broadcast_stages else [self.swap]
        for part, swap in enumerate(swaps):
            here = slice(part * part_bits, (part + 1) * part_bits)
            with m.If(swap):
                m.d.sync += current[here].eq(weights[here])
        m.d.comb += self.weights.eq(current)
        return m

    def _recoded(self, m: Module, platform: object, weights: Value) -> Value:
        config = self._config
        if not LANES[config.lane].recodes:
            return weights
        return add_repeated(
            m,
            platform,
            lambda: Recoder(config, LANES[config.lane]),
            {"weights": weights},
            "recoded",
            module=RECODER_MODULE,
            name="recoder",
            width=config.tile_row_bits,
            clocked=False,
        )
