"""`WeightTile`: the weights in use, and the next ones on their way."""

from functools import partial

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwsim.config import ArrayConfig
from hwsim.rtl.decoder import decoded_signature
from hwsim.rtl.platform import add_repeated, copies
from hwsim.rtl.tile_row import RowPlace, TileRow, word_parts
from hwsim.rtl.walker import turns


class WeightTile(wiring.Component):
    """Two tiles of registers: one is filled from the bus while the lanes use the other.

    A step may be decided in the very cycle in which the last word of its tile is taken; it is made
    one cycle later, and the swap follows it together with the step's activations. Words of the next
    tile are taken from the cycle of the step on, so tiles of W words can be taken every W cycles,
    without a gap.

    Parameters
    ----------
    config : ArrayConfig
        `rows`, `columns`, `lane`, `weight_encoding` and `weight_bus_bits` are used.

    Members
    -------
    i : In(decoded_signature)
        Words from the `WeightDecoder`; each tile begins with a new word.
    available : Out(1)
        Whether the next tile is complete, or will be with the word taken in this cycle.
    take : In(1)
        The first step of the next tile is made in the next cycle; only while `available`.
    weights : array of Out(tile_row_bits)
        The rows of the tile in use, recoded for the lane: of the taken one from the third cycle
        after `take`, and later by the `broadcast_stages`.
    """

    def __init__(self, config: ArrayConfig):
        self._config = config
        super().__init__(
            {
                "i": In(decoded_signature(config)),
                "available": Out(1),
                "take": In(1),
                "weights": Out(config.tile_row_bits).array(config.rows),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Fill, swap."""
        m = Module()
        config = self._config
        free = Signal(init=1)  # the next tile is not complete, or its first step is being made
        taken = Signal()
        swap = Signal()
        accept = Signal()
        index, last_word = turns(m, config.tile_words, accept)
        m.d.comb += [
            self.i.ready.eq(free),
            accept.eq(self.i.valid & free),
            self.available.eq(~free | (self.i.valid & last_word)),
        ]
        m.d.sync += [
            taken.eq(self.take),
            swap.eq(taken),
            free.eq(~self.available | self.take),
        ]

        # What fills a tile comes a cycle later, when the one before is being swapped. Both come
        # later still where operands do: it is the same tile after that, and the wires to all its
        # registers start at registers of their own.
        def delayed(value: Value, name: str, stages: int, *, reset_less: bool = False) -> Value:
            for stage in range(stages):
                later = Signal(len(value), name=f"{name}_{stage}", reset_less=reset_less)
                m.d.sync += later.eq(value)
                value = later
            return value

        stages = config.broadcast_stages
        filling = Signal()
        places = Signal(config.tile_words, reset_less=True)
        payload = Signal.like(self.i.payload, reset_less=True)
        m.d.sync += [filling.eq(accept), places.eq(1 << index), payload.eq(self.i.payload)]
        fill = Signal(config.tile_words)
        m.d.comb += fill.eq(Mux(filling, places, 0))
        parts = word_parts(config)
        payloads, fills, swaps = [payload], [fill] * parts, [swap]
        if stages:
            before = delayed(payload, "payload", stages - 1, reset_less=True)
            payloads = copies(m, before, config.operand_copies, name="payload", reset_less=True)
            before = delayed(fill, "fills", stages - 1, reset_less=True)
            fills = copies(m, before, parts, name="fills", reset_less=True)
            before = delayed(swap, "swap", stages - 2)
            swaps = copies(m, before, config.operand_copies, name="swap")
        for row in range(config.rows):
            place = RowPlace.of(config, row)
            weights = add_repeated(
                m,
                platform,
                partial(TileRow, config, place),
                {
                    "payload": payloads[row // config.operand_rows].rotate_right(place.offset),
                    # Rows that share a word begin with different copies.
                    "fills": Cat(
                        fills[(row + part) % parts][word]
                        for word in place.words
                        for part in range(parts)
                    ),
                    "swap": swaps[row // config.operand_rows],
                },
                "weights",
                module=place.module,
                name=f"row_{row}",
                width=config.tile_row_bits,
                clocked=True,
            )
            m.d.comb += self.weights[row].eq(weights)
        return m
