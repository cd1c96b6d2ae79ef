"""`AccumulatorBank`: the sums of all lanes, two halves of one word a token."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwsim.config import ArrayConfig


class AccumulatorBank(wiring.Component):
    """Memory with asynchronous reads, and a register behind it.

    A word is read in the cycle before that of its lanes' additions, so that a cycle holds one of
    both only. What the lanes are just making of the same word goes past the memory; whether they
    do is known one cycle before.

    Parameters
    ----------
    config : ArrayConfig
        `rows`, `batch`, `accumulator_bits` and `broadcast_rows` are used.

    Members
    -------
    half, token : In
        The word that is added to two cycles later.
    sums : Out(rows * accumulator_bits)
        The word of two cycles before.
    next : In(rows * accumulator_bits)
        Its new value.
    write : In(1)
        That of the next cycle is to be written.
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
        address = Signal.like(read.addr, reset_less=True)  # of what is being added to
        ahead = Signal.like(read.addr)
        writing = Signal()
        m.d.comb += [
            ahead.eq(self.token + Mux(self.half, batch, 0)),
            self.sums.eq(sums),
            write.addr.eq(address),
            write.data.eq(self.next),
            write.en.eq(writing),
            result.addr.eq(self.result_token + Mux(self.result_half, batch, 0)),
            self.result.eq(result.data),
        ]
        m.d.sync += [read.addr.eq(ahead), address.eq(read.addr), writing.eq(self.write)]
        # A copy of the decision for the rows of every copy of the operands.
        bits = self._config.operand_rows * self._config.accumulator_bits
        for copy in range(self._config.operand_copies):
            again = Signal(name=f"again_{copy}", attrs={"keep": 1})
            part = slice(copy * bits, (copy + 1) * bits)
            m.d.sync += again.eq(self.write & (ahead == read.addr))
            m.d.sync += sums[part].eq(Mux(again, self.next[part], read.data[part]))
        return m
