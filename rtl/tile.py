"""`WeightTile`: the weights in use, and the next ones on their way."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwsim.config import ArrayConfig
from hwsim.rtl.decoder import decoded_signature
from hwsim.rtl.lanes import LANES, RECODER_MODULE, Recoder
from hwsim.rtl.platform import add_repeated
from hwsim.rtl.walker import turns


class WeightTile(wiring.Component):
    """Two tiles of registers: one is filled from the bus while the lanes use the other.

    A step may begin in the very cycle in which the last word of its tile is taken: the swap follows
    one cycle later, together with the step's activations. So tiles of W words can be taken every
    W cycles, without a gap.

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
        The first step of the next tile is being made; only while `available`.
    weights : array of Out(tile_row_bits)
        The rows of the tile in use, recoded for the lane: of the taken one from the second cycle
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
        free = Signal(init=1)  # the next tile is not complete, or is being swapped
        swap = Signal()
        accept = Signal()
        word, last_word = turns(m, config.tile_words, accept)
        completing = Signal()
        m.d.comb += [
            self.i.ready.eq(free),
            accept.eq(self.i.valid & free),
            completing.eq(accept & last_word),
            self.available.eq(~free | completing),
        ]
        m.d.comb += [port.eq(row) for port, row in zip(self.weights, current, strict=True)]
        m.d.sync += [swap.eq(self.take), free.eq(~self.available | self.take)]

        # Both what fills a tile and what swaps them come later where operands do: it is the same
        # tile after that, and the wires to all its registers start at registers of their own.
        def delayed(value: Value, name: str, stages: int, *, reset_less: bool = False) -> Value:
            for stage in range(stages):
                later = Signal(len(value), name=f"{name}_{stage}", reset_less=reset_less)
                m.d.sync += later.eq(value)
                value = later
            return value

        stages = config.broadcast_stages
        accepts = Signal(config.tile_words)
        m.d.comb += accepts.eq(Mux(accept, 1 << word, 0))
        payload = delayed(self.i.payload, "payload", stages, reset_less=True)
        fills = delayed(accepts, "fills", stages)
        swaps = [swap]
        if stages:
            before = delayed(swap, "swap_before", stages - 1)
            copies = range(config.operand_copies)
            swaps = [Signal(name=f"swap_{copy}", attrs={"keep": 1}) for copy in copies]
            m.d.sync += [copy.eq(before) for copy in swaps]
        for row in range(config.rows):
            with m.If(swaps[row // config.operand_rows]):
                start = row * row_bits
                first, last_word = start // word_bits, (start + row_bits - 1) // word_bits
                offset = start - first * word_bits
                used = config.columns * config.weight_bits
                weights = Cat(following[first : last_word + 1])[offset : offset + used]
                m.d.sync += current[row].eq(self._recoded(m, platform, row, weights))
        for index, fill in enumerate(fills):
            with m.If(fill):
                m.d.sync += following[index].eq(payload)
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
