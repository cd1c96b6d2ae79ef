"""`Supply`: when the memory system has a word for a port, or takes one from it.

The memory moves bursts of `burst_bytes`, at the bandwidth of the port.

* A source starts with the command, in cycle 0. Its first burst has arrived one period after the
  latency, each further one a period later. A word can be offered once the burst with its last byte
  is there; what has arrived waits in a queue that is always long enough.
* A sink takes the words of a burst as they come, but begins the next burst one period after this
  one at the earliest. Nobody waits for a write to end, so it has no latency.

Words lie behind each other in memory, with the bytes that fill them. Without a bandwidth the period
is 0. Points in time are integers, in cycles / 2**`FRACTION`, so that all engines agree; functions
here are plain arithmetic, which the compiled ones compile too.
"""

from typing import NamedTuple

from hwsim.config import ArrayConfig

FRACTION = 20
"""Bits of a period below the cycle: bandwidths are exact to a millionth of a burst a cycle."""

_BELOW = (1 << FRACTION) - 1


class Supply(NamedTuple):
    """The memory behind one port.

    Attributes
    ----------
    latency
        Cycles until a source can have anything.
    period
        Cycles / 2**FRACTION from burst to burst; 0: no limit.
    burst_bytes, word_bytes
        Of a burst, and of a word of the bus.
    """

    latency: int
    period: int
    burst_bytes: int
    word_bytes: int

    @classmethod
    def of(cls, config: ArrayConfig, port: str) -> "Supply":
        """Return the memory behind the port `weight`, `activation` or `result`."""
        bandwidth = getattr(config, f"{port}_bandwidth_gb_s")
        # GB/s at MHz: 1000 bytes a cycle for each
        cycles = config.burst_bytes * config.clock_mhz / (1000 * bandwidth) if bandwidth else 0
        return cls(
            latency=config.memory_latency_cycles,
            period=max(1, round(cycles * (1 << FRACTION))) if bandwidth else 0,
            burst_bytes=config.burst_bytes,
            word_bytes=getattr(config, f"{port}_bus_bits") // 8,
        )


def arrival(supply: Supply, word: int) -> int:
    """Return the cycle from which a source can offer its `word`-th word, counted from 0."""
    if supply.period == 0:
        return supply.latency
    bursts = -(-(word + 1) * supply.word_bytes // supply.burst_bytes)
    return supply.latency + ((bursts * supply.period + _BELOW) >> FRACTION)


def begun(supply: Supply, word: int) -> int:
    """Return how many bursts a sink begins when it takes its `word`-th word."""
    if supply.period == 0:
        return 0
    before = -(-word * supply.word_bytes // supply.burst_bytes)
    return -(-(word + 1) * supply.word_bytes // supply.burst_bytes) - before


def opening(bursts: int, free: int) -> int:
    """Return the cycle from which a sink takes a word that begins so many bursts.

    `free` is the point in time from which it can begin one: 0, then what `after` returned.
    """
    return (free + _BELOW) >> FRACTION if bursts else 0


def after(supply: Supply, bursts: int, cycle: int, free: int) -> int:
    """Return when a sink that begins so many bursts in `cycle` can begin one again."""
    if bursts == 0:
        return free
    # Less than a cycle of waiting is not lost: only the word had to wait for the clock.
    return max(free, (cycle << FRACTION) - _BELOW) + bursts * supply.period
