"""`Stalls`: when sources and sinks wait, the same for every engine."""

from dataclasses import dataclass

from hwsim.errors import InputError

PORTS = ("weight", "activation", "result")
"""Ports that can wait. The command is always offered at once: cycle 0 is its acceptance."""

_MASK = (1 << 64) - 1
STEP = 0x9E3779B97F4A7C15
"""From the state of one cycle to that of the next, before it is mixed."""


def mix(x: int) -> int:
    """Mix 64 bits, so that every bit of the input reaches every bit of the result.

    The finalizer of SplitMix64: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number
    Generators", OOPSLA 2014.
    """
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & _MASK
    return x ^ x >> 31


@dataclass(frozen=True)
class Stalls:
    """A pattern of waiting, a function of seed, port and cycle alone.

    In each cycle, with probability `rate`, a source that offers nothing yet keeps waiting (what it
    has offered stays until it is taken), and a sink holds ready low.

    Parameters
    ----------
    rate
        Probability, 0 <= rate < 1.
    seed
        Of the pattern, 0 <= seed < 2**63.

    Raises
    ------
    InputError
        If one is out of range.
    """

    rate: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.rate < 1:
            raise InputError(f"stall-rate must be at least 0 and below 1, not {self.rate}")
        if not 0 <= self.seed < 1 << 63:
            raise InputError(f"stall-seed must be from 0 to 2^63 - 1, not {self.seed}")

    @property
    def threshold(self) -> int:
        """The rate as a 32-bit number: a port waits when its draw is below."""
        return int(self.rate * (1 << 32))

    def start(self, port: int) -> int:
        """Return the 64-bit state in which the draws of a port begin."""
        return mix(self.seed * len(PORTS) + port + 1 & _MASK)

    def waits(self, port: int, cycle: int) -> bool:
        """Return whether a port (index into `PORTS`) waits in a cycle."""
        return mix(self.start(port) + cycle * STEP & _MASK) >> 32 < self.threshold
