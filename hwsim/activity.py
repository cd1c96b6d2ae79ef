"""`Cycles` and `Activity`: what happened in the hardware, in counts, with no joule in it."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Self, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Cycles:
    """Cycles of a run by cause; each cycle has exactly one.

    `compute` cycles are those in which a step (one tile and one token) enters the lanes. A cycle
    without a step has the first cause that fits: `fill_drain` if no step has been made yet or all
    have been; `result_stall` if no accumulator half is free; `weight_stall` if the next tile is
    not complete; `activation_stall` if the next word of activations is not there.

    The count begins with the cycle in which the command is accepted and ends with the one in which
    the last result is, both included.
    """

    compute: int
    weight_stall: int
    activation_stall: int
    result_stall: int
    fill_drain: int

    @property
    def total(self) -> int:
        """All cycles of the run."""
        return sum(getattr(self, field.name) for field in fields(self))

    def as_dict(self) -> dict[str, int]:
        """Return total and causes by name."""
        return {"total": self.total, **{f.name: getattr(self, f.name) for f in fields(self)}}

    def __add__(self, other: Self) -> Self:
        return _add(self, other)

    def __sub__(self, other: Self) -> Self:
        values = {f.name: getattr(self, f.name) - getattr(other, f.name) for f in fields(self)}
        return type(self)(**values)


@dataclass(frozen=True, kw_only=True)
class Activity:
    """Counts of one run, or of several added with ``+``.

    `macs` and `nonzero_macs` count the layer itself, `padded_macs` what the array clocked. Bits
    are payload: fill bytes of bus words are in none of them, padding of tiles is in `weight_bits`.

    Attributes
    ----------
    cycles
        Cycles by cause.
    macs, nonzero_macs, padded_macs
        Multiply-accumulates: of the layer, of its non-zero weights, of the array.
    weight_bits, activation_bits, result_bits
        Bits over the three streams.
    weight_words, activation_words, result_words
        Words over the three buses.
    weight_tiles
        Tiles loaded into the weight registers (`rows` x `columns` weights each).
    activation_buffer_write_bits, activation_buffer_read_bits
        Traffic of the activation buffer; a word of `columns` activations is read in every step.
    accumulator_updates
        Accumulators written: `rows` in every step.
    scales
        Multiplications by scales beside the array: of each input, to quantize it, and of each
        output.
    """

    cycles: Cycles
    macs: int
    nonzero_macs: int
    padded_macs: int
    weight_bits: int
    activation_bits: int
    result_bits: int
    weight_words: int
    activation_words: int
    result_words: int
    weight_tiles: int
    activation_buffer_write_bits: int
    activation_buffer_read_bits: int
    accumulator_updates: int
    scales: int

    def as_dict(self) -> dict[str, int]:
        """Return all counts but the cycles by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "cycles"}

    def __add__(self, other: Self) -> Self:
        return _add(self, other)


def _add(a: T, b: T) -> T:
    names = [f.name for f in fields(a)]  # type: ignore[arg-type]
    make: Callable[..., T] = type(a)
    return make(**{name: getattr(a, name) + getattr(b, name) for name in names})
