"""`Toggles`: how often the bits of the array's words changed, with no joule in it."""

from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Toggles:
    """Bit changes of one run from step to step, or of several added with ``+``.

    All words are 0 before the first step. In a cycle without a step nothing changes, so that counts
    depend on the order of steps alone. A word without a register (see `ArrayConfig.pipeline`)
    counts like one with a register: once settled, without glitches.

    Attributes
    ----------
    operands
        The register of prepared activations, which all lanes share, or its copies.
    weights
        The weight tile in use, as the lanes have it, and registers on its way to them.
    tree
        Of all lanes: the terms, then each level of the tree, with what its sums still lack
        (carries of `carry-fold`, signs of `grouped`) where that has a word of its own.
    accumulators
        The words of the accumulator bank, as they are written.
    """

    operands: int
    weights: int
    tree: tuple[int, ...]
    accumulators: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.operands + self.weights + sum(self.tree) + self.accumulators

    def as_dict(self) -> dict[str, Any]:
        """Return the counts by name, `tree` as a list."""
        return {
            "operands": self.operands,
            "weights": self.weights,
            "tree": list(self.tree),
            "accumulators": self.accumulators,
        }

    def __add__(self, other: Self) -> Self:
        return type(self)(
            operands=self.operands + other.operands,
            weights=self.weights + other.weights,
            tree=tuple(a + b for a, b in zip_longest(self.tree, other.tree, fillvalue=0)),
            accumulators=self.accumulators + other.accumulators,
        )
