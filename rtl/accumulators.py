"""`AccumulatorBank`: the sums of all lanes, two halves of one word a token."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwsim.config import ArrayConfig


class AccumulatorBank(wiring.Component):
    """Memory with asynchronous reads, and a register behind it.

    A word is read in the cycle before that of its lanes' additions, so that a cycle holds one of
    both only. What the lanes are just making of the same word goes past the memory.

    Parameters
    ----------
    config : ArrayConfig
        `rows`, `batch` and `accumulator_bits` are used.

    Members
    -------
    half, token : In
        The word that is added to in the next cycle.
    sums : Out(rows * accumulator_bits)
        The word of the cycle before.
    next : In(rows * accumulator_bits)
        Its new value.
    write : In(1)
        Write it.
    result_half, result_token : In
        The word that is to be sent.
    result : Out(rows * accumulator_bits)
        Its value, in the same cycle.
    """

    def __init__(self, config: ArrayConfig):
        self._config = config
        word = config.rows * config.accumulator_bits
        super().__init__(
            {
                "half": In(1),
                "token": In(range(config.batch)),
                "sums": Out(word),
                "next": In(word),
                "write": In(1),
                "result_half": In(1),
                "result_token": In(range(config.batch)),
                "result": Out(word),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Address the memory."""
        m = Module()
        batch = self._config.batch
        m.submodules.memory = memory = Memory(shape=len(self.sums), depth=2 * batch, init=[])
        read = memory.read_port(domain="comb")
        result = memory.read_port(domain="comb")
        write = memory.write_port()
        sums = Signal.like(self.sums, reset_less=True)
        address = Signal.like(read.addr, reset_less=True)
        m.d.comb += [
            read.addr.eq(self.token + Mux(self.half, batch, 0)),
            self.sums.eq(sums),
            write.addr.eq(address),
            write.data.eq(self.next),
            write.en.eq(self.write),
            result.addr.eq(self.result_token + Mux(self.result_half, batch, 0)),
            self.result.eq(result.data),
        ]
        m.d.sync += [address.eq(read.addr), sums.eq(read.data)]
        with m.If(self.write & (address == read.addr)):
            m.d.sync += sums.eq(self.next)
        return m
