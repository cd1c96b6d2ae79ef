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
from formal.contract import TO_AND_GATES, abc, proved
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


_MASKED = """\
module masked_{name} (input clk, input rst{ports});
{raw}
{name} inner (.clk(clk), .rst(rst){wired});
reg [{settling}:1] started = 0;
always @(posedge clk) started <= rst ? 1 : {{started, started[1]}};
wire seen = started[{settling}] & ~rst;
{masks}
endmodule
"""

_EQUIVALENT = """\
read_rtlil mutants.il
flatten
memory_map
setattr -unset init w:*
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
delete top
setattr -mod -unset top gold gate
read_verilog masked.v
proc
miter -equiv masked_gold masked_gate miter
hierarchy -top miter
flatten
{to_and_gates}
write_aiger -zinit miter.aig
"""


def _masked(mutants: Mutants, name: str, settling: int) -> str:
    """Wrap a module so that only that of it is seen which counts.

    What registers hold before a reset does not count, nor what they show in the cycles in which
    those without a reset settle, nor a stream's payload while it is not valid.
    """

    def declared(port: str) -> str:
        return f"[{mutants.widths[port] - 1}:0] {port}"

    ports, raw, wired, masks = [], [], [], []
    for port, output in mutants.is_output.items():
        ports.append(f", {'output' if output else 'input'} {declared(port)}")
        wired.append(f", .{port}({port}{'_raw' if output else ''})")
        if output:
            valid = port.removesuffix("payload") + "valid"
            payload = valid != port and mutants.is_output.get(valid)
            raw.append(f"wire {declared(port)}_raw;")
            masks.append(
                f"assign {port} = seen{f' & {valid}_raw' if payload else ''} ? {port}_raw : 0;"
            )
    return _MASKED.format(
        name=name,
        ports="".join(ports),
        wired="".join(wired),
        raw="\n".join(raw),
        masks="\n".join(masks),
        settling=settling,
    )


def equivalent(mutants: Mutants, number: int, *, settling: int = 1) -> bool:
    """Return whether it can be proven that a mutant behaves like the design after a reset.

    Parameters
    ----------
    mutants, number
        Which one.
    settling
        Cycles after a reset until registers that have none hold what was put in since.
    """
    folder = mutants.folder
    wrappers = "".join(_masked(mutants, name, settling) for name in ("gold", "gate"))
    (folder / "masked.v").write_text(wrappers)
    bits = len(mutants.mutations).bit_length()
    yosys.run(
        _EQUIVALENT.format(bits=bits, number=number, to_and_gates=TO_AND_GATES), folder=folder
    )
    said = abc("read_aiger miter.aig; orpos; strash; scorr; dc2; ps; pdr -T 20", folder=folder)
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
        same = [n for n in survivors if equivalent(mutants, n, settling=block.settling)]
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
