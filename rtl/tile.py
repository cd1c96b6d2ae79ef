"""`WeightTile`: the weights in use, and the next ones on their way."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwsim.config import ArrayConfig
from hwsim.rtl.decoder import decoded_signature
from hwsim.rtl.lanes import LANES, RECODER_MODULE, Recoder
from hwsim.rtl.platform import add_repeated, copies
from hwsim.rtl.walker import turns

_ENABLED = 32
"""Most registers of a row, or of a word, that share an enable where those have copies."""


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

        # The next tile stands as it came, fill weights included: no register of a word has to know
        # which row it belongs to. Those that nobody reads vanish in synthesis. Words and rows are
        # registers of their own, since Amaranth has none of more than 65,535 bits.
        row_bits = config.weight_row_bytes * config.decoded_byte_bits
        word_bits = len(self.i.payload)
        following = [
            Signal(word_bits, name=f"following_{index}", reset_less=True)
            for index in range(config.tile_words)
        ]
        current = [
            Signal(config.tile_row_bits, name=f"current_{row}", reset_less=True)
            for row in range(config.rows)
        ]
        free = Signal(init=1)  # the next tile is not complete, or its first step is being made
        taken = Signal()
        swap = Signal()
        accept = Signal()
        place, last_word = turns(m, config.tile_words, accept)
        m.d.comb += [
            self.i.ready.eq(free),
            accept.eq(self.i.valid & free),
            self.available.eq(~free | (self.i.valid & last_word)),
        ]
        m.d.comb += [port.eq(row) for port, row in zip(self.weights, current, strict=True)]
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
        payload = Signal(word_bits, reset_less=True)
        m.d.sync += [filling.eq(accept), places.eq(1 << place), payload.eq(self.i.payload)]
        fill = Signal(config.tile_words)
        m.d.comb += fill.eq(Mux(filling, places, 0))
        used = config.columns * config.weight_bits
        most = _ENABLED if stages else max(config.tile_row_bits, word_bits)
        row_parts, word_parts = (-(-bits // most) for bits in (config.tile_row_bits, word_bits))
        payloads = [payload] * config.operand_copies
        fills, swaps = [fill] * word_parts, [swap] * (config.rows * row_parts)
        if stages:
            before = delayed(payload, "payload", stages - 1, reset_less=True)
            payloads = copies(m, before, config.operand_copies, name="payload", reset_less=True)
            before = delayed(fill, "fills", stages - 1, reset_less=True)
            fills = copies(m, before, len(fills), name="fills", reset_less=True)
            before = delayed(swap, "swap", stages - 2)
            groups = copies(m, before, config.operand_copies, name="swap_group")
            swaps = []
            for row in range(config.rows):
                group = groups[row // config.operand_rows]
                swaps += copies(m, group, row_parts, name=f"swap_{row}")
        for row in range(config.rows):
            start = row * row_bits
            first, last = start // word_bits, (start + row_bits - 1) // word_bits
            offset = start - first * word_bits
            weights = Cat(following[first : last + 1])[offset : offset + used]
            recoded = self._recoded(m, platform, row, weights)
            for part in range(row_parts):
                bits = slice(part * most, (part + 1) * most)
                with m.If(swaps[row * row_parts + part]):
                    m.d.sync += current[row][bits].eq(recoded[bits])
        for index, word in enumerate(following):
            row = min(index * word_bits // row_bits, config.rows - 1)  # the first one with a part
            its_payload = payloads[row // config.operand_rows]
            for part, its_fill in enumerate(fills):
                bits = slice(part * most, (part + 1) * most)
                with m.If(its_fill[index]):
                    m.d.sync += word[bits].eq(its_payload[bits])
        return m

    def _recoded(self, m: Module, platform: object, row: int, weights: Value) -> Value:
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
            name=f"recoder_{row}",
            width=config.tile_row_bits,
            clocked=False,
        )
