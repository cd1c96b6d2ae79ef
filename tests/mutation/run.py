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


def equivalent(mutants: Mutants, number: int) -> bool:
    """Return whether Yosys can prove that a mutant behaves like the design from reset on."""
    bits = len(mutants.mutations).bit_length()
    script = f"""\
read_rtlil mutants.il
flatten
memory_map
opt_clean
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
opt
miter -equiv -flatten -make_outputs gold gate miter
hierarchy -top miter
opt
sat -verify -prove trigger 0 -tempinduct -maxsteps 6 -set-init-zero -timeout 20 miter
"""
    try:
        yosys.run(script, folder=mutants.folder)
    except yosys.YosysError:
        return False
    return True


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
        same = [number for number in survivors if equivalent(mutants, number)]
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
