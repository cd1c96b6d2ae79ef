"""Mutate every block; print which share of the mutants its default tests notice.

``python -m mutation.run [BLOCK ...]`` in the folder ``tests``.
"""

import gc
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from amaranth._unused import MustUse
from amaranth.hdl import Cat, ClockSignal, Const, Instance, ResetSignal, Signal
from formal.contract import TO_AND_GATES, Contract, abc, proved
from mutation.blocks import BLOCKS, Block
from mutation.mutants import Mutants
from simulation import simulated_by

from hwsim import yosys

SEED = 1


@dataclass(frozen=True)
class Score:
    """What became of a block's mutants.

    Attributes
    ----------
    mutants
        How many there are.
    survivors
        Those that no test noticed: what Yosys changed.
    equivalent
        Those of them that a proof shows to be no change.
    seconds
        Time it took.
    """

    mutants: int
    survivors: list[str]
    equivalent: list[str]
    seconds: float

    @property
    def killed(self) -> int:
        """Mutants that a test noticed."""
        return self.mutants - len(self.survivors)


def killed(mutants: Mutants, number: int, block: Block) -> bool:
    """Return whether the block's tests notice a mutant."""
    try:
        with simulated_by(mutants.runner(number)):
            block.check()
    except AssertionError:
        return True
    return False


_MAP = """\
read_rtlil mutants.il
flatten
memory_map
setattr -unset init w:*
{zeros}
{to_and_gates}
write_rtlil mapped.il
"""

_EQUIVALENT = """\
read_rtlil mapped.il
copy top gold
cd gold
connect -set mutant {bits}'d0
delete -input w:mutant
cd ..
copy top gate
cd gate
connect -set mutant {bits}'d{number}
delete -input w:mutant
cd ..
delete top
setattr -mod -unset top gold gate
read_rtlil contract.il
hierarchy -check -top top
cd top
proc
opt_clean
setattr -unset init w:* w:started %d
{zeros}
techmap
dfflegalize -cell $_DFF_P_ 01
cd ..
flatten
opt_clean
aigmap
write_aiger -zinit contract.aig
"""


def _side_by_side(mutants: Mutants, block: Block) -> Contract:
    """Claim that the design and a mutant show the same, where it counts.

    What registers hold before a reset does not count, nor what they show in the cycles in which
    those without a reset settle, nor an output while nothing is offered to which it belongs.
    """
    c = Contract(resets=block.zeros)
    inputs, gold, gate = (
        {
            name: Signal(width, name=f"{prefix}{name}")
            for name, width in mutants.widths.items()
            if mutants.is_output[name] == (prefix != "")
        }
        for prefix in ("", "gold_", "gate_")
    )
    c.free(*inputs.values())
    for module, outputs in (("gold", gold), ("gate", gate)):
        c.m.submodules[module] = Instance(
            module,
            i_clk=ClockSignal(),
            i_rst=ResetSignal(),
            **{f"i_{name}": signal for name, signal in inputs.items()},
            **{f"o_{name}": signal for name, signal in outputs.items()},
        )
    settled = Signal(block.settling)
    c.m.d.sync += settled.eq(Cat(Const(1), settled))
    counts = Signal()
    c.m.d.comb += counts.eq(settled[-1] & block.used(c, inputs | gold))
    for name, signal in gold.items():
        offered = block.belongs.get(name, name.removesuffix("payload") + "valid")
        matters = counts & (inputs | gold).get(offered, 1)
        c.claim(name, ~matters | (signal == gate[name]))
    return c


def equivalent(mutants: Mutants, number: int, block: Block) -> bool:
    """Return whether it can be proven that a mutant behaves like the design after a reset."""
    folder = mutants.folder
    zeros = "setundef -zero -init" if block.zeros else ""
    if not (folder / "mapped.il").exists():
        yosys.run(_MAP.format(zeros=zeros, to_and_gates=TO_AND_GATES), folder=folder)
        (folder / "contract.il").write_text(_side_by_side(mutants, block).text())
    bits = len(mutants.mutations).bit_length()
    yosys.run(_EQUIVALENT.format(bits=bits, number=number, zeros=zeros), folder=folder)
    induction = "strash; &get; &scorr; &put; dc2; ps"
    said = abc(f"read_aiger contract.aig; orpos; {induction}; pdr -T 10", folder=folder)
    return proved(said)


@contextmanager
def _unused_components() -> Iterator[None]:
    """Let tests make components that are never elaborated, as a mutant takes their place."""
    before = MustUse._MustUse__silence
    MustUse._MustUse__silence = True
    try:
        yield
    finally:
        gc.collect()
        MustUse._MustUse__silence = before


def score(block: Block) -> Score:
    """Make the mutants of a block and run its tests on each."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, _unused_components():
        mutants = Mutants(
            block.make(), count=block.count, seed=SEED, folder=Path(folder), where=block.where
        )
        if killed(mutants, 0, block):
            raise RuntimeError("the tests fail on the design itself")
        survivors = [
            number
            for number in range(1, len(mutants.mutations) + 1)
            if not killed(mutants, number, block)
        ]
        same = [n for n in survivors if equivalent(mutants, n, block)]
        noticed = next(n for n in range(1, len(mutants.mutations) + 1) if n not in survivors)
        if equivalent(mutants, noticed, block):
            raise RuntimeError("a mutant that a test noticed is proven to be no change")
        return Score(
            mutants=len(mutants.mutations),
            survivors=[mutants.mutations[number - 1] for number in survivors],
            equivalent=[mutants.mutations[number - 1] for number in same],
            seconds=time.perf_counter() - started,
        )


def main(names: list[str]) -> None:
    """Print the table of `docs/verification.md`, and the survivors below it."""
    print("| block | mutants | killed | equivalent | left |\n|---|---|---|---|---|")
    left = {}
    for name in names or BLOCKS:
        result = score(BLOCKS[name]())
        left[name] = [m for m in result.survivors if m not in result.equivalent]
        print(
            f"| {name} | {result.mutants} | {result.killed} "
            f"({result.killed / result.mutants:.1%}) | {len(result.equivalent)} | "
            f"{len(left[name])} |",
            flush=True,
        )
        print(f"{name}: {result.seconds:.0f} s", file=sys.stderr)
    for name, mutations in left.items():
        for mutation in mutations:
            print(f"* {name}: `{mutation.strip()}`")


if __name__ == "__main__":
    main(sys.argv[1:])
