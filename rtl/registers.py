"""`RegisterBlock`: command and status of the core behind an AXI4-Lite port."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.rtl.counters import CAUSES
from hwsim.rtl.layouts import Command

ADDRESS_BITS = 12
"""Width of an address: a page of 4 KiB."""

BUS_MEMBERS = {
    "awaddr": In(ADDRESS_BITS),
    "awvalid": In(1),
    "awready": Out(1),
    "wdata": In(32),
    "wstrb": In(4),
    "wvalid": In(1),
    "wready": Out(1),
    "bresp": Out(2),
    "bvalid": Out(1),
    "bready": In(1),
    "araddr": In(ADDRESS_BITS),
    "arvalid": In(1),
    "arready": Out(1),
    "rdata": Out(32),
    "rresp": Out(2),
    "rvalid": Out(1),
    "rready": In(1),
}
"""Signals of the port; its clock and reset are those of the core."""

OKAY, SLVERR = 0b00, 0b10
"""Responses of AXI."""

IDENTITY = 0x68777301
"""What the first register holds: "hws", and the version of the map."""


@dataclass(frozen=True)
class Register:
    """One register of 32 bits.

    Attributes
    ----------
    offset
        In bytes from the beginning of the block.
    name
        In lower case.
    access
        `ro`, `rw`, or `wo`, which reads as 0.
    meaning
        For its users.
    """

    offset: int
    name: str
    access: str
    meaning: str


_SHAPE = {
    "row_blocks": "ceil(out_features / rows of the array)",
    "column_blocks": "ceil(in_features / columns of the array)",
    "tokens": "tokens of the layer",
    "out_features": "outputs of the layer",
    "in_features": "inputs of the layer",
}
_COUNTS = {
    "total": "cycles of the layer so far; it holds until the next start",
    **{cause: f"those of them with the cause {cause}" for cause in CAUSES},
}

REGISTERS = (
    Register(0x00, "id", "ro", f"{IDENTITY:#010x}: this map"),
    Register(0x04, "control", "wo", "bit 0: start the layer whose shape stands below"),
    Register(
        0x08,
        "status",
        "ro",
        "bit 0: busy; bit 1: done, from the last result of a layer to the next start; "
        "bit 2: error, an illegal shape or weight code since the last start; "
        "bit 3: ignored, a start came while busy, since the last start that did not",
    ),
    *(
        Register(0x10 + 4 * place, name, "rw", meaning)
        for place, (name, meaning) in enumerate(_SHAPE.items())
    ),
    *(
        Register(0x40 + 4 * place, f"cycles_{name}", "ro", meaning)
        for place, (name, meaning) in enumerate(_COUNTS.items())
    ),
)
"""All registers. What is read or written elsewhere, and writes to `ro` ones, end in SLVERR."""

OFFSETS = {register.name: register.offset for register in REGISTERS}
"""Offset of each register in bytes."""


def register_map() -> str:
    """Return the registers as a table in Markdown."""
    rows = (f"| `{r.offset:#04x}` | `{r.name}` | {r.access} | {r.meaning} |" for r in REGISTERS)
    return "\n".join(("| offset | name | access | meaning |", "|---|---|---|---|", *rows))


class RegisterBlock(wiring.Component):
    """Slave of AXI4-Lite with the registers of `REGISTERS`.

    Addresses and data of a write may come in any order; a write takes effect in the cycle after
    the later of them is taken, and so does a start: the core gets its command in that cycle. Reads
    and writes go on side by side. Each takes two cycles or more.

    The shape is copied at a start, so that the next one can be written while the core is busy.

    Members
    -------
    aw*, w*, b*, ar*, r* : AXI4-Lite
        With data of 32 bits; the lowest two bits of an address are ignored.
    command : Out(stream of Command)
        Offered only while not `busy`.
    busy, error : In(1)
        Of the core.
    cycles_* : In(32)
        Likewise.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                **BUS_MEMBERS,
                "command": Out(stream.Signature(Command)),
                "busy": In(1),
                "error": In(1),
                **{f"cycles_{name}": In(32) for name in _COUNTS},
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Take writes, act on them; answer reads."""
        m = Module()

        # A write is held until address, data and the place for its response are there.
        address = Signal(ADDRESS_BITS, reset_less=True)
        word = Signal(32, reset_less=True)
        strobes = Signal(4, reset_less=True)
        has_address = Signal()
        has_word = Signal()
        write = Signal()
        m.d.comb += [
            self.awready.eq(~has_address),
            self.wready.eq(~has_word),
            write.eq(has_address & has_word & (~self.bvalid | self.bready)),
        ]
        with m.If(self.bready):
            m.d.sync += self.bvalid.eq(0)
        with m.If(write):
            m.d.sync += [has_address.eq(0), has_word.eq(0), self.bvalid.eq(1)]
        with m.If(self.awvalid & self.awready):
            m.d.sync += [has_address.eq(1), address.eq(self.awaddr)]
        with m.If(self.wvalid & self.wready):
            m.d.sync += [has_word.eq(1), word.eq(self.wdata), strobes.eq(self.wstrb)]

        shape = Signal(Command)
        start = Signal()
        response = Signal(2, init=SLVERR)
        with m.Switch(address[2:]):
            with m.Case(OFFSETS["control"] >> 2):
                m.d.comb += [response.eq(OKAY), start.eq(write & strobes[0] & word[0])]
            for name in _SHAPE:
                with m.Case(OFFSETS[name] >> 2):
                    m.d.comb += response.eq(OKAY)
                    for byte in range(4):
                        with m.If(write & strobes[byte]):
                            m.d.sync += (
                                shape[name].word_select(byte, 8).eq(word.word_select(byte, 8))
                            )
        held_response = Signal.like(response, reset_less=True)
        m.d.comb += self.bresp.eq(held_response)
        with m.If(write):
            m.d.sync += held_response.eq(response)

        ran = Signal()  # since the last start, or still running
        ignored = Signal()
        m.d.comb += [
            self.command.payload.eq(shape),
            self.command.valid.eq(start & ~self.busy),
        ]
        with m.If(start):
            m.d.sync += ignored.eq(self.busy)
        with m.If(self.busy):
            m.d.sync += ran.eq(1)
        with m.Elif(start):
            m.d.sync += ran.eq(0)

        readable: dict[str, Value] = {
            "id": Const(IDENTITY, 32),
            "control": Const(0, 32),
            "status": Cat(self.busy, ran & ~self.busy, self.error, ignored),
            **{name: shape[name] for name in _SHAPE},
            **{f"cycles_{name}": getattr(self, f"cycles_{name}") for name in _COUNTS},
        }
        value = Signal(32)
        found = Signal(2, init=SLVERR)
        with m.Switch(self.araddr[2:]):
            for register in REGISTERS:
                with m.Case(register.offset >> 2):
                    m.d.comb += [value.eq(readable[register.name]), found.eq(OKAY)]
        held = Signal.like(self.rdata, reset_less=True)
        held_found = Signal.like(found, reset_less=True)
        m.d.comb += [
            self.arready.eq(~self.rvalid),
            self.rdata.eq(held),
            self.rresp.eq(held_found),
        ]
        with m.If(self.rready):
            m.d.sync += self.rvalid.eq(0)
        with m.If(self.arvalid & self.arready):
            m.d.sync += [self.rvalid.eq(1), held.eq(value), held_found.eq(found)]
        return m
