"""`AccumulatorBank`: the sums of all lanes, two halves of one word a token."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwsim.config import ArrayConfig
from hwsim.rtl.platform import copies


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
    fetch : In(operand_copies)
        The word that is to be sent is another one from the next cycle on: the same for the rows of
        every copy of the operands.
    result_half, result_token : In
        Which one.
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
                "fetch": In(config.operand_copies),
                "result_half": In(1),
                "result_token": In(range(config.batch)),
                "result": Out(word),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Address the memory."""
        m = Module()
        config = self._config
        batch = config.batch
        sums = Signal.like(self.sums, reset_less=True)
        ahead = Signal(range(2 * batch))  # address of what is read in the next cycle
        reading = Signal.like(ahead)
        result_address = Signal.like(ahead)
        m.d.comb += [
            ahead.eq(self.token + Mux(self.half, batch, 0)),
            result_address.eq(self.result_token + Mux(self.result_half, batch, 0)),
            self.sums.eq(sums),
        ]
        m.d.sync += reading.eq(ahead)
        again = self.write & (ahead == reading)
        # The rows of every copy of the operands have a memory with registers of its own.
        count = config.operand_copies
        agains = copies(m, again, count, name="again")
        writings = copies(m, self.write, count, name="writing")
        read_addresses = copies(m, ahead, count, name="read_address")
        write_addresses = copies(m, reading, count, name="write_address", reset_less=True)
        result_addresses = [
            Signal.like(ahead, name=f"result_address_{copy}", reset_less=True, attrs={"keep": 1})
            for copy in range(count)
        ]
        bits = config.operand_rows * config.accumulator_bits
        for copy in range(count):
            with m.If(self.fetch[copy]):
                m.d.sync += result_addresses[copy].eq(result_address)
            part = slice(copy * bits, min((copy + 1) * bits, len(sums)))
            next_part = self.next[part]
            m.submodules[f"memory_{copy}"] = memory = Memory(
                shape=len(next_part), depth=2 * batch, init=[]
            )
            read = memory.read_port(domain="comb")
            result = memory.read_port(domain="comb")
            write = memory.write_port()
            m.d.comb += [
                read.addr.eq(read_addresses[copy]),
                write.addr.eq(write_addresses[copy]),
                write.data.eq(next_part),
                write.en.eq(writings[copy]),
                result.addr.eq(result_addresses[copy]),
                self.result[part].eq(result.data),
            ]
            m.d.sync += sums[part].eq(Mux(agains[copy], next_part, read.data))
        return m
