"""Contracts of clocked blocks, proven for ever.

A `Contract` is a circuit around a block: its inputs are free, what the block may rely on is
assumed, what it promises is claimed. `prove` lets ABC search for an inductive invariant
(property-directed reachability, the search for the strengthening that k-induction needs); what it
finds holds in every reachable state, without a bound on the cycles.

All registers start with arbitrary values, the first cycle is a reset: so what is claimed does not
rest on initial values that an ASIC would not have.
"""

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Cat, ClockDomain, Const, Module, Mux, Signal, Value, ValueLike

from hwsim import yosys

TO_AND_GATES = """\
opt -nodffe -nosdff
techmap
opt -nodffe -nosdff
dfflegalize -cell $_DFF_P_ 01
abc -g AND
opt_clean
aigmap
"""
"""Commands of Yosys after which a flat module can be written as AIGER."""

_SCRIPT = f"""\
read_rtlil design.il
hierarchy -check -top top
proc
flatten
opt_clean
memory -nomap
memory_map
setattr -unset init w:* w:started %d
{TO_AND_GATES}
design -save both
delete -output w:reached_*
opt_clean
write_aiger -zinit failed.aig
design -load both
delete -output w:failed_*
opt_clean
write_aiger -zinit reached.aig
"""


class Refuted(AssertionError):
    """A claim does not hold; the message names it and the cycle."""


class Undecided(AssertionError):
    """ABC gave up."""


class Contract:
    """A block in an environment that does everything it may.

    Parameters
    ----------
    resets
        Whether there are resets in later cycles than the first one, too.
    anywhere
        Whether there is no reset at all. Then the claims are about every state, such as one that
        only a very long run reaches; those about the cycles before begin with the second one.

    Attributes
    ----------
    m : Module
        The circuit; gets the block and the ghost registers of the claims.
    started : Signal
        Whether this is not the first cycle.
    """

    def __init__(self, *, resets: bool = False, anywhere: bool = False) -> None:
        self.m = Module()
        self.started = Signal(name="started", init=0, reset_less=True)
        self.m.domains.sync = sync = ClockDomain()
        again = Signal(name="again")
        if not anywhere:
            self.m.d.comb += sync.rst.eq(~self.started | again)
        self.m.d.sync += self.started.eq(1)
        self._free: list[Signal] = [sync.clk, *[again] * resets]
        self._assumed: list[Value] = []
        self._claims: dict[str, Value] = {}
        self._reached: dict[str, Value] = {}

    def free(self, *signals: Signal) -> None:
        """Let signals, such as inputs of the block, have any value in any cycle."""
        self._free += signals

    def constant(self, signal: Signal) -> Signal:
        """Let a signal have any value, the same in all cycles."""
        self.free(signal)
        held = Signal.like(signal, name=f"{signal.name}_held")
        seen = Signal(name=f"{signal.name}_seen")
        self.m.d.sync += [seen.eq(1), held.eq(Mux(seen, held, signal))]
        self.assume(~seen | (signal == held))
        return signal

    def assume(self, condition: ValueLike) -> None:
        """From the first cycle on in which this is not so, nothing is claimed."""
        self._assumed.append(Value.cast(condition).any())

    def claim(self, name: str, condition: ValueLike) -> None:
        """This is so in every cycle."""
        self._claims[name] = Value.cast(condition).any()

    def reach(self, name: str, condition: ValueLike) -> None:
        """This can happen: so the claims do not hold only because nothing ever does."""
        self._reached[name] = Value.cast(condition).any()

    def text(self) -> str:
        """Return the circuit as RTLIL.

        Outputs: `failed_N` is 1 where claim N fails, `reached_N` where the thing N happens.
        """
        m = self.m
        fine = Signal(init=1)
        assumed = Signal()
        m.d.comb += assumed.eq(Cat(*self._assumed, Const(1)).all())
        m.d.sync += fine.eq(fine & assumed)
        outputs = []
        for kind, conditions in (
            ("failed", [~claim for claim in self._claims.values()]),
            ("reached", list(self._reached.values())),
        ):
            for index, condition in enumerate(conditions):
                output = Signal(name=f"{kind}_{index}")
                m.d.comb += output.eq(self.started & fine & assumed & condition)
                outputs.append(output)
        return rtlil.convert(m, ports=[*self._free, *outputs], emit_src=False)

    @property
    def claims(self) -> list[str]:
        """What is claimed."""
        return list(self._claims)

    @property
    def reached(self) -> list[str]:
        """What can happen."""
        return list(self._reached)


def abc(command: str, *, folder: Path, seconds: float = 60) -> str:
    """Run commands of ABC in a folder; return what it said."""
    package = find_spec("pyosys")
    assert package is not None
    assert package.origin is not None
    done = subprocess.run(
        [Path(package.origin).parent / "yosys-abc", "-q", command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=seconds,
    )
    return done.stdout


def proved(said: str) -> bool:
    """Return whether ABC says of a circuit, after `ps` and `pdr`, that its output is never 1."""
    # Where `scorr`, itself an induction, leaves nothing, the output is constant.
    nothing_left = re.search(r"lat = +0 +and = +0 .*All outputs solved", said, re.DOTALL)
    return "Property proved" in said or nothing_left is not None


def prove(
    contract: Contract, *, folder: Path, seconds: int = 120, bound: int | None = None
) -> None:
    """Prove all claims of `contract`, and that what it reaches can happen.

    Parameters
    ----------
    contract
        What to prove.
    folder
        For the files of Yosys and ABC.
    seconds
        Until ABC gives up.
    bound
        None proves the claims for all cycles. A number looks only at so many after reset, where the
        search for an invariant takes too long.

    Raises
    ------
    Refuted
        If a claim can fail, or something cannot be reached in 40 cycles.
    Undecided
        If ABC finds neither an invariant nor a counterexample.
    """
    (folder / "design.il").write_text(contract.text())
    yosys.run(_SCRIPT, folder=folder)
    claims, reached = contract.claims, contract.reached

    def met(circuit: str, names: list[str]) -> dict[str, int]:
        """Return the cycles in which outputs can be 1."""
        command = f"read_aiger {circuit}; strash; bmc3 -a -F 40 -T 60"
        said = abc(command, folder=folder, seconds=120)
        found = re.findall(r"Output +(\d+) was asserted in frame +(\d+)", said)
        return {names[int(output)]: int(frame) for output, frame in found}

    # All claims as one output: an invariant of them together is found faster.
    engine = f"pdr -T {seconds}" if bound is None else f"bmc3 -F {bound} -T {seconds}"
    said = abc(
        f"read_aiger failed.aig; orpos; strash; scorr; dc2; ps; {engine}",
        folder=folder,
        seconds=seconds + 60,
    )
    (folder / "abc.log").write_text(said)
    if "was asserted in frame" in said:
        raise Refuted(f"claims fail, in cycle: {met('failed.aig', claims)}")
    explored = bound is not None and f"No output asserted in {bound} frames" in said
    if not proved(said) and not explored:
        raise Undecided(said.strip().splitlines()[-1])
    if missed := set(reached) - set(met("reached.aig", reached)):
        raise Refuted(f"never happens: {missed}")
