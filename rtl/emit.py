"""From a configuration to the text of its design."""

from dataclasses import dataclass

from amaranth.back import rtlil

from hwsim.config import ArrayConfig
from hwsim.rtl.activations import activation_ram_shape
from hwsim.rtl.lanes import LANE_MODULE, LANES
from hwsim.rtl.platform import Emission
from hwsim.rtl.ram import block_ram_verilog
from hwsim.rtl.top import TOPS


@dataclass(frozen=True)
class Design:
    """A design in the two languages that Yosys reads.

    Attributes
    ----------
    top
        Name of the top module.
    rtlil
        It with its blocks, and one lane for all rows.
    verilog
        The memory of the activation buffer.
    """

    top: str
    rtlil: str
    verilog: str


def emit(config: ArrayConfig, *, registers: str | None = None) -> Design:
    """Return the design of `config`, with `registers` of a kind in `TOPS` before it.

    The texts depend on the configuration and the versions of hwsim and Amaranth alone: they have no
    source locations, so that they can be the key of a cache.
    """
    lane = LANES[config.lane]
    name, top = TOPS[registers]
    parts = {**lane.parts(config), LANE_MODULE: lane(config), name: top(config)}
    *others, core = [
        rtlil.convert(part, name=name, platform=Emission(), emit_src=False)
        for name, part in parts.items()
    ]
    # Each is marked as the top of its own text; in the joined one only the core is.
    return Design(
        top=name,
        rtlil="".join(text.replace("attribute \\top 1\n", "") for text in others) + core,
        verilog=block_ram_verilog(**activation_ram_shape(config)),
    )
