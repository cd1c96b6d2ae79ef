"""From a configuration to the text of its design."""

from collections.abc import Mapping
from dataclasses import dataclass

from amaranth.back import rtlil
from amaranth.lib import wiring

from hwsim.config import ArrayConfig
from hwsim.rtl.activations import activation_ram_shape
from hwsim.rtl.lane_array import LaneArray
from hwsim.rtl.lanes import LANE_MODULE, LANES
from hwsim.rtl.platform import Emission
from hwsim.rtl.ram import block_ram_verilog
from hwsim.rtl.top import TOPS

LANE_ARRAY_MODULE = "hwsim_lanes"
"""Name of the lanes by themselves in emitted designs."""


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
        The memory of the activation buffer, if there is one.
    """

    top: str
    rtlil: str
    verilog: str = ""


def emit(config: ArrayConfig, *, registers: str | None = None) -> Design:
    """Return the design of `config`, with `registers` of a kind in `TOPS` before it.

    The texts depend on the configuration and the versions of hwsim and Amaranth alone: they have no
    source locations, so that they can be the key of a cache.
    """
    name, top = TOPS[registers]
    verilog = block_ram_verilog(**activation_ram_shape(config))
    return Design(top=name, rtlil=_joined(config, {name: top(config)}), verilog=verilog)


def emit_lanes(config: ArrayConfig) -> Design:
    """Return the lanes of `config` by themselves: see `LaneArray`."""
    whole = {LANE_ARRAY_MODULE: LaneArray(config)}
    return Design(top=LANE_ARRAY_MODULE, rtlil=_joined(config, whole))


def _joined(config: ArrayConfig, whole: Mapping[str, wiring.Component]) -> str:
    lane = LANES[config.lane]
    parts = {**lane.parts(config), LANE_MODULE: lane(config), **whole}
    texts: list[str] = [
        rtlil.convert(part, name=name, platform=Emission(), emit_src=False)
        for name, part in parts.items()
    ]
    # Each is marked as the top of its own text; in the joined one only the last is.
    *others, top = texts
    return "".join(text.replace("attribute \\top 1\n", "") for text in others) + top
