"""Mutate every block; print which share of the mutants its default tests notice.

``python -m mutation.run [BLOCK ...]`` in the folder ``tests``.
"""

import gc
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from amaranth._unused import MustUse
from amaranth.hdl import Cat, ClockSignal, Const, Instance, ResetSignal, Signal
from formal.aiger import Circuit, differing, fixing
from formal.contract import TO_AND_GATES, Contract, abc, proved
from formal.ghosts import WINDOW
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
    refuted
        Those of them for which a proof fails that holds for the design.
    equivalent
        Those of them that a proof shows to be no change.
    seconds
        Time it took.
    """

    mutants: int
    survivors: list[str]
    refuted: list[str]
    equivalent: list[str]
    seconds: float

    @property
    def killed(self) -> int:
        """Mutants that a test noticed."""
        return self.mutants - len(self.survivors)

    @property
    def left(self) -> list[str]:
        """Mutants that nothing noticed, and that may be faults."""
        return [m for m in self.survivors if m not in {*self.refuted, *self.equivalent}]


def killed(mutants: Mutants, number: int, block: Block) -> bool:
    """Return whether the block's tests notice a mutant."""
    try:
        with simulated_by(mutants.runner(number)):
            block.check()
    except AssertionError:
        return True
    return False


_ZEROS = "setundef -zero -init"

_MAP = """\
read_rtlil mutants.il
flatten
memory_map
setattr -unset init w:*
{zeros}
{to_and_gates}
write_rtlil mapped.il
"""

_CONTRACT = """\
read_rtlil mapped.il
rename top dut
read_rtlil {name}.il
hierarchy -check -top top
cd top
proc
opt_clean
cd ..
flatten
setattr -unset init w:* w:started %d
{zeros}
techmap
dfflegalize -cell $_DFF_P_ 01
opt_clean
aigmap
write_aiger -zinit -symbols {name}.aig
"""


def _around(c: Contract, mutants: Mutants) -> dict[str, Signal]:
    """Put a block, mutants included, into a contract; return its ports by name."""
    ports = {name: Signal(width, name=name) for name, width in mutants.widths.items()}
    ports["mutant"] = Signal(len(mutants.mutations).bit_length(), name="mutant")
    inputs = {name for name in ports if not mutants.is_output.get(name)}
    c.free(*(ports[name] for name in inputs))
    c.m.submodules.dut = Instance(
        "dut",
        i_clk=ClockSignal(),
        i_rst=ResetSignal(),
        **{f"{'i' if name in inputs else 'o'}_{name}": port for name, port in ports.items()},
    )
    return ports


def _circuit(
    mutants: Mutants, block: Block, name: str, make: Callable[[], Contract], *, zeros: bool
) -> Circuit:
    """Return a contract around the block as a circuit, which is made once."""
    folder = mutants.folder
    if not (folder / "mapped.il").exists():
        script = _MAP.format(zeros=_ZEROS if block.zeros else "", to_and_gates=TO_AND_GATES)
        yosys.run(script, folder=folder)
    if not (folder / f"{name}.aig").exists():
        (folder / f"{name}.il").write_text(make().text())
        yosys.run(_CONTRACT.format(name=name, zeros=_ZEROS if zeros else ""), folder=folder)
    return Circuit.read(folder / f"{name}.aig")


def _chosen(circuit: Circuit, number: int) -> dict[int, int]:
    """Return the inputs of a circuit that choose a mutant, and what they are."""
    return {
        index: number >> int(name[len("mutant[") : -1]) & 1
        for name, index in circuit.names.items()
        if name.startswith("mutant[")
    }


def _shown(mutants: Mutants, block: Block) -> Contract:
    """Return a block that shows its outputs where they count.

    What registers hold before a reset does not count, nor what they show in the cycles in which
    those without a reset settle, nor an output while nothing is offered to which it belongs.
    """
    c = Contract(resets=block.zeros)
    ports = _around(c, mutants)
    settled = Signal(block.settling)
    c.m.d.sync += settled.eq(Cat(Const(1), settled))
    counts = Signal()
    c.m.d.comb += counts.eq(settled[-1] & block.used(c, ports))
    for name, port in ports.items():
        if mutants.is_output.get(name):
            offered = block.belongs.get(name, name.removesuffix("payload") + "valid")
            for bit in range(len(port)):
                c.reach(f"{name}[{bit}]", counts & ports.get(offered, 1) & port[bit])
    return c


def equivalent(mutants: Mutants, number: int, block: Block) -> bool:
    """Return whether it can be proven that a mutant behaves like the design after a reset.

    Either no step of it differs in any state that the design reaches, or what both show never does.
    """
    circuit = _circuit(mutants, block, "shown", lambda: _shown(mutants, block), zeros=block.zeros)
    first, second = _chosen(circuit, 0), _chosen(circuit, number)
    induction = "strash; &get; &scorr; &put; dc2; ps; pdr -T 20"
    for together in (True, False):
        both = differing(circuit, first, second, together=together)
        both.write(mutants.folder / "both.aig")
        if proved(abc(f"read_aiger both.aig; orpos; {induction}", folder=mutants.folder)):
            return True
    return False


def refuted(mutants: Mutants, number: int, block: Block) -> bool:
    """Return whether a proof that holds for the design fails for a mutant."""
    if block.proof is None:
        return False

    def claims() -> Contract:
        c = Contract(anywhere=True)
        block.proof(c, _around(c, mutants))
        return c

    circuit = _circuit(mutants, block, "claims", claims, zeros=False)
    fixing(circuit, _chosen(circuit, number)).write(mutants.folder / "one.aig")
    said = abc(f"read_aiger one.aig; orpos; bmc3 -F {WINDOW}", folder=mutants.folder)
    if "was asserted in frame" not in said and f"No output asserted in {WINDOW}" not in said:
        raise RuntimeError(said)
    return "was asserted in frame" in said


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
        if refuted(mutants, 0, block):
            raise RuntimeError("the proof fails for the design itself")
        wrong = [n for n in survivors if refuted(mutants, n, block)]
        same = [n for n in survivors if n not in wrong and equivalent(mutants, n, block)]
        noticed = next(n for n in range(1, len(mutants.mutations) + 1) if n not in survivors)
        if equivalent(mutants, noticed, block):
            raise RuntimeError("a mutant that a test noticed is proven to be no change")
        return Score(
            mutants=len(mutants.mutations),
            survivors=[mutants.mutations[number - 1] for number in survivors],
            refuted=[mutants.mutations[number - 1] for number in wrong],
            equivalent=[mutants.mutations[number - 1] for number in same],
            seconds=time.perf_counter() - started,
        )


def main(names: list[str]) -> None:
    """Print the table of `docs/verification.md`, and the survivors below it."""
    print(
        "| block | mutants | killed | by a proof | proven equivalent | left |\n"
        "|---|---|---|---|---|---|"
    )
    left = {}
    for name in names or BLOCKS:
        result = score(BLOCKS[name]())
        left[name] = result.left
        print(
            f"| {name} | {result.mutants} | {result.killed} "
            f"({result.killed / result.mutants:.1%}) | {len(result.refuted)} | "
            f"{len(result.equivalent)} | {len(result.left)} |",
            flush=True,
        )
        print(f"{name}: {result.seconds:.0f} s", file=sys.stderr)
    for name, mutations in left.items():
        for mutation in mutations:
            print(f"* {name}: `{mutation.strip()}`")


if __name__ == "__main__":
    main(sys.argv[1:])
