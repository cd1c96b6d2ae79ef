"""`BlockRam`: one write port, one synchronous read port."""

from amaranth.hdl import ClockSignal, Instance, Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwsim.rtl.platform import Emission

RAM_MODULE = "hwsim_ram"
"""Name of the memory in emitted designs."""

_VERILOG = """\
module {name}(
    input clk,
    input write, input [{address}:0] write_address, input [{data}:0] write_data,
    input read, input [{address}:0] read_address, output reg [{data}:0] read_data);
  (* no_rw_check *) reg [{data}:0] words [0:{last}];
  always @(posedge clk) if (write) words[write_address] <= write_data;
{read}endmodule
"""
_READ = "  always @(posedge clk) if (read) read_data <= words[read_address];\n"
_REGISTERED_READ = """\
  reg [{data}:0] word;
  always @(posedge clk) if (read) word <= words[read_address];
  always @(posedge clk) read_data <= word;
"""


def _address_bits(depth: int) -> int:
    return max(1, (depth - 1).bit_length())


def block_ram_verilog(*, width: int, depth: int, registered: bool) -> str:
    """Return the module that an emitted design instantiates for a `BlockRam`."""
    read = _REGISTERED_READ.format(data=width - 1) if registered else _READ
    return _VERILOG.format(
        name=RAM_MODULE,
        address=_address_bits(depth) - 1,
        data=width - 1,
        last=depth - 1,
        read=read,
    )


class BlockRam(wiring.Component):
    """Memory of `depth` words, in the form in which FPGA tools find block RAM.

    A word is never read and written in the same cycle. Words hold nothing before they are written.

    Parameters
    ----------
    width, depth : int
        Bits of a word, and words.
    registered : bool
        Whether a register stands behind the read port, which is slow: block RAMs have one inside.

    Members
    -------
    write, write_address, write_data : In
        Write port.
    read, read_address : In
        Read port.
    read_data : Out(width)
        The word, one cycle after `read` (two, if `registered`); holds until the next one.
    """

    def __init__(self, *, width: int, depth: int, registered: bool):
        self._registered = registered
        self._width = width
        self._depth = depth
        address_bits = _address_bits(depth)
        super().__init__(
            {
                "write": In(1),
                "write_address": In(address_bits),
                "write_data": In(width),
                "read": In(1),
                "read_address": In(address_bits),
                "read_data": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Use Amaranth's memory to simulate, an instance to emit."""
        m = Module()
        if isinstance(platform, Emission):
            m.submodules.instance = Instance(
                RAM_MODULE,
                i_clk=ClockSignal(),
                i_write=self.write,
                i_write_address=self.write_address,
                i_write_data=self.write_data,
                i_read=self.read,
                i_read_address=self.read_address,
                o_read_data=self.read_data,
            )
            return m
        m.submodules.memory = memory = Memory(shape=self._width, depth=self._depth, init=[])
        write = memory.write_port()
        read = memory.read_port()
        m.d.comb += [
            write.en.eq(self.write),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            read.en.eq(self.read),
            read.addr.eq(self.read_address),
        ]
        m.d["sync" if self._registered else "comb"] += self.read_data.eq(read.data)
        return m
