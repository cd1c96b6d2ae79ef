"""Lanes: the rows of the array, behind one interface."""

from hwsim.rtl.lanes.carry_fold import CarryFoldLane
from hwsim.rtl.lanes.fp16 import ADDER_MODULE, MULTIPLIER_MODULE, Fp16Lane
from hwsim.rtl.lanes.grouped import GroupedLane
from hwsim.rtl.lanes.int8 import Int8Lane
from hwsim.rtl.lanes.lane import RECODER_MODULE, Lane, Recoder, copies_of
from hwsim.rtl.lanes.negate import NegateLane

LANES: dict[str, type[Lane]] = {
    "negate": NegateLane,
    "carry-fold": CarryFoldLane,
    "grouped": GroupedLane,
    "int8": Int8Lane,
    "fp16": Fp16Lane,
}
"""The lanes, by the name they have in `ArrayConfig.lane`."""

LANE_MODULE = "hwsim_lane"
"""Name of the lane in emitted designs."""

MAPPED_ONCE = (LANE_MODULE, MULTIPLIER_MODULE, ADDER_MODULE)
"""Modules of emitted designs that synthesis maps by themselves: there are many of each."""

__all__ = ["LANES", "LANE_MODULE", "MAPPED_ONCE", "RECODER_MODULE", "Lane", "Recoder", "copies_of"]
