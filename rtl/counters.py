"""`CycleCounters`: the causes of `hwsim.activity.Cycles`, counted where they happen."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

CAUSES = ("compute", "weight_stall", "activation_stall", "result_stall", "fill_drain")
"""Why a cycle passed; every cycle of a layer has one cause."""


class CycleCounters(wiring.Component):
    """Counts cycles by cause, from the acceptance of a command to that of the last result.

    Members
    -------
    begin : In(1)
        A command was accepted in the cycle before, which was the first: this is the second.
    busy : In(1)
        A layer is being run.
    step : In(1)
        A step enters the lanes.
    walking : In(1)
        There are steps to be made.
    room, weights, activations : In(1)
        What the next step needs is there.
    total, and one of each cause : Out(32)
        Counts; they hold after the layer until the next `begin`.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "begin": In(1),
                "busy": In(1),
                "step": In(1),
                "walking": In(1),
                "room": In(1),
                "weights": In(1),
                "activations": In(1),
                "total": Out(32),
                **{cause: Out(32) for cause in CAUSES},
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count the first cause that fits."""
        m = Module()
        filled = Signal()  # there was a step
        with m.If(self.begin):
            m.d.sync += [getattr(self, cause).eq(0) for cause in CAUSES]
            m.d.sync += [self.total.eq(2), self.fill_drain.eq(2), filled.eq(0)]
        with m.Elif(self.busy):
            m.d.sync += self.total.eq(self.total + 1)
            with m.If(self.step):
                m.d.sync += [self.compute.eq(self.compute + 1), filled.eq(1)]
            with m.Elif(~filled | ~self.walking):
                m.d.sync += self.fill_drain.eq(self.fill_drain + 1)
            with m.Elif(~self.room):
                m.d.sync += self.result_stall.eq(self.result_stall + 1)
            with m.Elif(~self.weights):
                m.d.sync += self.weight_stall.eq(self.weight_stall + 1)
            with m.Elif(~self.activations):
                m.d.sync += self.activation_stall.eq(self.activation_stall + 1)
            with m.Else():
                m.d.sync += self.fill_drain.eq(self.fill_drain + 1)
        return m
