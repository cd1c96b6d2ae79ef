"""Lanes: the rows of the array, behind one interface."""

from hwsim.rtl.lanes.carry_fold import CarryFoldLane
from hwsim.rtl.lanes.grouped import GroupedLane
from hwsim.rtl.lanes.int8 import Int8Lane
from hwsim.rtl.lanes.lane import Lane, Recoder
from hwsim.rtl.lanes.negate import NegateLane

LANES: dict[str, type[Lane]] = {
    "negate": NegateLane,
    "carry-fold": CarryFoldLane,
    "grouped": GroupedLane,
    "int8": Int8Lane,
}
"""Lanes that there is hardware for, by the name they have in `ArrayConfig.lane`."""

RECODED_LANES = ("grouped",)
"""Lanes that `recode` their weights."""

LANE_MODULE = "hwsim_lane"
"""Name of the lane in emitted designs."""

RECODER_MODULE = "hwsim_recoder"
"""Name of the recoder in emitted designs."""

__all__ = ["LANES", "LANE_MODULE", "RECODED_LANES", "RECODER_MODULE", "Lane", "Recoder"]
