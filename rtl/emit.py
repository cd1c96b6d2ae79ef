"""From a configuration to the text of its design."""

from dataclasses import dataclass

from amaranth.back import rtlil

from hwsim.config import ArrayConfig
from hwsim.rtl.activations import activation_ram_shape
from hwsim.rtl.lane import LANE_MODULE, LANES
from hwsim.rtl.platform import Emission
from hwsim.rtl.ram import block_ram_verilog
from hwsim.rtl.top import TOP_MODULE, Top


@dataclass(frozen=True)
class Design:
    """A design in the two languages that Yosys reads.

    Attributes
    ----------
    rtlil
        `hwsim_core` with its blocks, and one lane for all rows.
    verilog
        The memory of the activation buffer.
    """

    rtlil: str
    verilog: str


def emit(config: ArrayConfig) -> Design:
    """Return the design of `config`.

    The texts depend on the configuration and the versions of hwsim and Amaranth alone: they have no
    source locations, so that they can be the key of a cache.
    """
    lane = rtlil.convert(LANES[config.lane](config), name=LANE_MODULE, emit_src=False)
    top = rtlil.convert(Top(config), name=TOP_MODULE, platform=Emission(), emit_src=False)
    # Both are marked as the top of their own text; in the joined one only the core is.
    return Design(
        rtlil=lane.replace("attribute \\top 1\n", "") + top,
        verilog=block_ram_verilog(**activation_ram_shape(config)),
    )
