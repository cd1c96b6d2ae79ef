"""`AccumulatorBank`: the sums of all lanes, two halves of one word a token."""

from amaranth.hdl import Module, Mux
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwsim.config import ArrayConfig


class AccumulatorBank(wiring.Component):
    """Memory with asynchronous reads: a word written in one cycle is read in the next.

    With one token a block the same word is read, added to and written in every cycle, which block
    RAM could not do.

    Parameters
    ----------
    config : ArrayConfig
        `rows`, `batch` and `accumulator_bits` are used.

    Members
    -------
    half, token : In
        The word that is added to.
    sums : Out(rows * accumulator_bits)
        Its value.
    next : In(rows * accumulator_bits)
        Its new value.
    write : In(1)
        Write it.
    result_half, result_token : In
        The word that is to be sent.
    result : Out(rows * accumulator_bits)
        Its value.
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
        sums = memory.read_port(domain="comb")
        result = memory.read_port(domain="comb")
        write = memory.write_port()
        m.d.comb += [
            sums.addr.eq(self.token + Mux(self.half, batch, 0)),
            self.sums.eq(sums.data),
            write.addr.eq(sums.addr),
            write.data.eq(self.next),
            write.en.eq(self.write),
            result.addr.eq(self.result_token + Mux(self.result_half, batch, 0)),
            self.result.eq(result.data),
        ]
        return m
