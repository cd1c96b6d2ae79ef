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
        A command is being accepted: this is the first cycle.
    busy : In(1)
        A layer is being run.
    step : In(1)
        A step enters the lanes.
    walking : In(1)
        There are steps to be made.
    room, weights : In(1)
        What the next step needs is there; it needs nothing else but its activations.
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
                "total": Out(32),
                **{cause: Out(32) for cause in CAUSES},
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Count the first cause that fits.

        A cycle with a step to make is seen in it and counted in the next one, so that no counter
        waits for the decision. The others, the last ones among them, are counted at once: when
        `busy` falls, all counts are there.
        """
        m = Module()
        counts = {
            name: Signal(32, name=f"{name}_count", reset_less=True) for name in ("total", *CAUSES)
        }
        m.d.comb += [getattr(self, name).eq(count) for name, count in counts.items()]

        stepped = Signal()
        walked = Signal()
        room = Signal()
        weights = Signal()
        m.d.sync += [
            stepped.eq(self.step),
            walked.eq(self.walking),
            room.eq(self.room),
            weights.eq(self.weights),
        ]
        filled = Signal()  # there was a step before
        was = {cause: Signal(name=f"was_{cause}") for cause in CAUSES}
        with m.If(stepped):
            m.d.comb += was["compute"].eq(1)
            m.d.sync += filled.eq(1)
        with m.Elif(walked):
            with m.If(~filled):
                m.d.comb += was["fill_drain"].eq(1)
            with m.Elif(~room):
                m.d.comb += was["result_stall"].eq(1)
            with m.Elif(~weights):
                m.d.comb += was["weight_stall"].eq(1)
            with m.Else():
                m.d.comb += was["activation_stall"].eq(1)

        draining = Signal()
        m.d.comb += draining.eq(self.busy & ~self.walking)
        # Where both come together, two cycles are counted: the total is always that of the causes.
        m.d.sync += counts["total"].eq(counts["total"] + walked + draining)
        for cause, flag in was.items():
            with m.If(flag | draining if cause == "fill_drain" else flag):
                m.d.sync += counts[cause].eq(counts[cause] + 1)

        # The clear comes from a register, that of a reset too.
        clear = Signal(init=1)
        begun = Signal()
        m.d.sync += [clear.eq(self.begin), begun.eq(self.begin)]
        with m.If(clear):
            m.d.sync += [filled.eq(0), *(count.eq(0) for count in counts.values())]
            # Two cycles are over by then, that of the acceptance and this one.
            m.d.sync += [counts[name].eq(begun << 1) for name in ("total", "fill_drain")]
        return m
