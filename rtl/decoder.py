"""`WeightDecoder`: from words of the weight bus to trits."""

from collections.abc import Callable

from amaranth.hdl import Const, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.config import TRITS_PER_BYTE, ArrayConfig
from hwsim.rtl.layouts import TRIT_BITS


def decode_2bit(word: Value) -> tuple[Value, Value]:
    """Decode two's-complement trits; 10 is illegal and decodes as zero.

    The encoding is `Trit` itself, so all that is left to do is to clear the sign of a zero.
    """
    nonzero = word & Const(int("01" * (len(word) // 2), 2))
    negative = word & Const(int("10" * (len(word) // 2), 2))
    may_be_negative = (nonzero << 1)[: len(word)]
    return nonzero | (negative & may_be_negative), (negative & ~may_be_negative).any()


DECODERS: dict[str, Callable[[Value], tuple[Value, Value]]] = {"2bit": decode_2bit}
"""For each encoding: a word to its trits (`Trit`, the first one lowest), and whether any code in it
is illegal."""


def decoded_signature(config: ArrayConfig) -> stream.Signature:
    """Return the signature of a weight word once decoded: its trits, the first one lowest."""
    trits = config.weight_bus_bits // 8 * TRITS_PER_BYTE[str(config.weight_encoding)]
    return stream.Signature(trits * TRIT_BITS)


class WeightDecoder(wiring.Component):
    """Decodes every byte of a weight word, and holds the trits in a register.

    An illegal code decodes as zero and raises `illegal`. Throughput is a word per cycle, latency is
    one cycle.

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
        Whether the word that is being taken holds an illegal code.
    """

    def __init__(self, config: ArrayConfig):
        self._encoding = str(config.weight_encoding)
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

        trits, illegal = DECODERS[self._encoding](self.i.payload)

        word = Signal.like(self.o.payload, reset_less=True)
        accept = Signal()
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready),
            accept.eq(self.i.valid & self.i.ready),
            self.illegal.eq(accept & illegal),
            self.o.payload.eq(word),
        ]
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
        with m.If(accept):
            m.d.sync += word.eq(trits)
        return m
