from pathlib import Path

from amaranth.hdl import Signal
from formal.contract import Contract, prove
from formal.ghosts import WINDOW, counted

from hwsim.rtl.counters import CAUSES, CycleCounters


def test_every_cycle_has_one_cause_and_is_counted_whatever_the_counts_are(tmp_path: Path) -> None:
    c = Contract(anywhere=True)
    m = c.m
    m.submodules.dut = dut = CycleCounters()
    inputs = (dut.begin, dut.busy, dut.step, dut.walking, dut.room, dut.weights)
    c.free(*inputs)
    ago = [{port.name: port for port in inputs}]  # cycles
    for cycles in (1, 2):
        later = {name: Signal(name=f"{name}_{cycles}") for name in ago[0]}
        m.d.sync += [later[name].eq(port) for name, port in ago[-1].items()]
        ago.append(later)
    c.assume(~dut.step | dut.walking)
    c.assume(~ago[1]["walking"] | ago[1]["step"] | dut.walking)
    c.assume(~dut.begin | ~(dut.busy | dut.walking))

    counts = {name: getattr(dut, name) for name in ("total", *CAUSES)}
    counting, grown = counted(c, counts, begins=dut.begin)
    # Whether it fills or stalls depends on what was long before: tests look at that.
    was = ago[2]
    waits = was["walking"] & ~was["step"]
    drains = ago[1]["busy"] & ~ago[1]["walking"]
    for cause, may in {
        "compute": was["step"],
        "result_stall": waits & ~was["room"],
        "weight_stall": waits & was["room"] & ~was["weights"],
        "activation_stall": waits & was["room"] & was["weights"],
        "fill_drain": waits | drains,
    }.items():
        c.claim(f"{cause} has this cause", ~counting | ~grown[cause] | may)
        c.reach(f"{cause} is long", counting & grown[cause] & (counts[cause] == 1 << 31))
    c.claim("each has one", ~counting | (sum(grown.values()) == was["walking"] + drains))
    prove(c, folder=tmp_path, bound=WINDOW)
