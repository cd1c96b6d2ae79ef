"""From a configuration to the text of its design."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from amaranth.back import rtlil
from amaranth.lib import wiring

from hwsim.config import ArrayConfig
from hwsim.rtl.activations import activation_ram_shape
from hwsim.rtl.lane_array import LaneArray
from hwsim.rtl.lanes import LANE_MODULE, LANES
from hwsim.rtl.platform import Emission
from hwsim.rtl.ram import block_ram_verilog
from hwsim.rtl.tile_row import RowPlace, TileRow
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
    top_name, top = TOPS[registers]
    verilog = block_ram_verilog(**activation_ram_shape(config))
    places = (RowPlace.of(config, row) for row in range(config.rows))
    rows = {place.module: place for place in places}  # the last one of those that are alike
    tile_rows = {name: TileRow(config, place) for name, place in rows.items()}
    rtlil = _with_lane(config, {**tile_rows, top_name: top(config)})
    return Design(top=top_name, rtlil=rtlil, verilog=verilog)


def emit_lanes(config: ArrayConfig) -> Design:
    """Return the lanes of `config` by themselves: see `LaneArray`."""
    whole = {LANE_ARRAY_MODULE: LaneArray(config)}
    return Design(top=LANE_ARRAY_MODULE, rtlil=_with_lane(config, whole))


def _with_lane(config: ArrayConfig, whole: Mapping[str, wiring.Component]) -> str:
    lane = LANES[config.lane]
    return joined({**lane.parts(config), LANE_MODULE: lane(config), **whole})


def joined(modules: Mapping[str, wiring.Component]) -> str:
    """Return modules, by name, as RTLIL; the last one is the top, with instances of the others."""
    with _rare_collection():
        texts: list[str] = [
            rtlil.convert(module, name=name, platform=Emission(), emit_src=False)
            for name, module in modules.items()
        ]
    # Each is marked as the top of its own text.
    *others, top = texts
    return "".join(text.replace("attribute \\top 1\n", "") for text in others) + top


@contextmanager
def _rare_collection() -> Iterator[None]:
    """Search for garbage now and then: Amaranth makes millions of objects, most of which stay."""
    usual = gc.get_threshold()
    gc.set_threshold(100_000)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
