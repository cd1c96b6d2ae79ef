"""`WeightDecoder`: from words of the weight bus to weights."""

from collections.abc import Callable

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwsim.config import TRIT_BITS, TRITS_PER_BYTE, ArrayConfig
from hwsim.rtl.walker import Ahead

Decoder = Callable[[Module, Value], tuple[Value, Value]]
"""From a word to its weights, the first one lowest, and whether any code in it is illegal."""


def decode_1bit(m: Module, word: Value) -> tuple[Value, Value]:
    """Decode signs: no trit is zero, no code is illegal."""
    return Cat(Cat(Const(1, 1), bit) for bit in word), Const(0, 1)


def decode_2bit(m: Module, word: Value) -> tuple[Value, Value]:
    """Decode two's-complement trits; 10 is illegal and decodes as zero.

    The encoding is `Trit` itself, so all that is left to do is to clear the sign of a zero.
    """
    nonzero = word & Const(int("01" * (len(word) // 2), 2))
    negative = word & Const(int("10" * (len(word) // 2), 2))
    may_be_negative = (nonzero << 1)[: len(word)]
    return nonzero | (negative & may_be_negative), (negative & ~may_be_negative).any()


def decode_base3(m: Module, word: Value) -> tuple[Value, Value]:
    """Look up the five trits of every byte; codes from 243 on are illegal and decode as zero."""
    m.submodules.table = table = Memory(
        shape=_BASE3_BITS + 1,
        depth=256,
        init=_base3_table(),
        attrs={"rom_style": "logic"},  # has a port for every byte of the bus
    )
    bytes_, illegal = [], []
    for place in range(len(word) // 8):
        port = table.read_port(domain="comb")
        m.d.comb += port.addr.eq(word.word_select(place, 8))
        bytes_.append(port.data[:_BASE3_BITS])
        illegal.append(port.data[_BASE3_BITS])
    return Cat(bytes_), Cat(illegal).any()


_BASE3_BITS = TRITS_PER_BYTE["base3"] * TRIT_BITS


def _base3_table() -> list[int]:
    """Return for every byte its trits, and above them whether it is illegal."""
    trit_of_digit = (0b11, 0b00, 0b01)
    table = []
    for code in range(256):
        if code >= 3 ** TRITS_PER_BYTE["base3"]:
            table.append(1 << _BASE3_BITS)
            continue
        digits = [code // 3**place % 3 for place in range(TRITS_PER_BYTE["base3"])]
        table.append(sum(trit_of_digit[d] << TRIT_BITS * place for place, d in enumerate(digits)))
    return table


def pass_through(m: Module, word: Value) -> tuple[Value, Value]:
    """Take int8 and fp16 weights as they are."""
    return word, Const(0, 1)


DECODERS: dict[str | None, Decoder] = {
    "1bit": decode_1bit,
    "2bit": decode_2bit,
    "base3": decode_base3,
    None: pass_through,
}
"""For each `ArrayConfig.weight_encoding`; trits come out as `Trit`."""


def decoded_signature(config: ArrayConfig) -> stream.Signature:
    """Return the signature of a weight word once decoded, the first weight lowest."""
    return stream.Signature(config.decoded_bus_bits)


class WeightDecoder(wiring.Component):
    """Decodes every byte of a weight word, and holds the weights in a register.

    An illegal code decodes as zero and raises `illegal`. Throughput is a word per cycle, latency is
    one cycle. Two words can be inside, so that `i.ready` is a register.

    Parameters
    ----------
    config : ArrayConfig
        `weight_encoding` and `weight_bus_bits` are used.

    Members
    -------
    i : In(stream of weight_bus_bits)
        Words; the first byte is in bits 7:0.
    o : Out(decoded_signature)
        The same words, decoded.
    illegal : Out(1)
        Whether the word that was taken in the cycle before holds an illegal code.
    """

    def __init__(self, config: ArrayConfig):
        self._encoding = config.weight_encoding
        super().__init__(
            {
                "i": In(stream.Signature(config.weight_bus_bits)),
                "o": Out(decoded_signature(config)),
                "illegal": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Decode, then register."""
        m = Module()

        weights, illegal = DECODERS[self._encoding](m, self.i.payload)
        m.submodules.ahead = ahead = Ahead(len(self.o.payload))
        m.d.comb += [
            ahead.i.payload.eq(weights),
            ahead.i.valid.eq(self.i.valid),
            self.i.ready.eq(ahead.i.ready),
        ]
        accepted = Signal()
        held_illegal = Signal(reset_less=True)
        m.d.sync += [accepted.eq(self.i.valid & self.i.ready), held_illegal.eq(illegal)]
        m.d.comb += self.illegal.eq(accepted & held_illegal)
        wiring.connect(m, ahead.o, wiring.flipped(self.o))
        return m
