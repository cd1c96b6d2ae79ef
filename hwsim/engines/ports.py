"""What passes between an engine and its caller: what the ports are fed, and what they do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hwsim import streams
from hwsim.activity import Cycles
from hwsim.engines.stalls import PORTS, Stalls
from hwsim.gates.activity import GateActivity
from hwsim.operands import Operands
from hwsim.schedule import Schedule
from hwsim.streams import Words
from hwsim.supply import Supply, arrival
from hwsim.toggles import Toggles

PATIENCE_CYCLES = 20_000
"""A tile computes for up to 4,096 cycles (`batch`) in which nothing need move."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Stimulus:
    """One layer, and how it comes to the ports.

    The words of a layer are made when they are asked for, and piece by piece: an engine that works
    on numbers does without, and none has to hold all of them.

    Attributes
    ----------
    schedule
        Its loops; also the command.
    operands
        Its weights and activations.
    stalls
        When the ports wait.
    """

    schedule: Schedule
    operands: Operands
    stalls: Stalls = field(default_factory=Stalls)

    def weight_pieces(self, row_blocks: range | None = None) -> Iterator[Words]:
        """Give the tiles of one token block, or of some of its row blocks, some at a time."""
        schedule, weight = self.schedule, self.operands.weight
        if row_blocks is not None:
            rows = schedule.config.rows
            weight = weight[row_blocks.start * rows : row_blocks.stop * rows]
            schedule = replace(schedule, out_features=len(weight))
        return streams.weight_pieces(weight, schedule)

    def weights(self) -> Iterator[Words]:
        """Give what comes over the weight port, some at a time: all tiles for each token block."""
        return _repeated(self.weight_pieces, self.schedule.token_blocks)

    def activations(self) -> Iterator[Words]:
        """Give what comes over the activation port, some at a time."""
        return streams.activation_pieces(self.operands.activation, self.schedule)

    def supply(self, port: str) -> Supply:
        """Return the memory behind a port, one of `PORTS`."""
        return Supply.of(self.schedule.config, port)

    @property
    def patience(self) -> int:
        """Cycles without any transfer after which an engine gives up."""
        longest = max(arrival(self.supply(port), 0) for port in PORTS)
        return int((PATIENCE_CYCLES + 2 * longest) / (1 - self.stalls.rate))


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What the hardware did.

    Attributes
    ----------
    outputs
        The sums that left the result port, shape (tokens, out_features), as `streams.Results` has
        them; what never came is 0.
    result_words
        Words that left it, to the one marked as the last.
    cycles
        The hardware's own counters.
    weight_words, activation_words
        Words that were taken.
    error
        Whether the error flag was raised.
    engine_s
        Seconds of simulation, without compilation and input.
    fault
        What an engine that checks every step found wrong; empty if nothing.
    gates
        Toggles of the engine that counts them gate by gate.
    toggles
        Bits that changed, where an engine counts them and was asked to.
    """

    outputs: NDArray[np.generic]
    result_words: int
    cycles: Cycles
    weight_words: int
    activation_words: int
    error: bool
    engine_s: float
    fault: str = ""
    gates: GateActivity | None = None
    toggles: Toggles | None = None


def _repeated(make: Callable[[], Iterator[Words]], times: int) -> Iterator[Words]:
    """Give pieces so many times over; if there is only one, it is made once."""
    for _ in range(times):
        pieces = 0
        for piece in make():
            yield piece
            pieces += 1
        if pieces == 1:
            yield from [piece] * (times - 1)
            return


class HardwareHang(RuntimeError):
    """Nothing moves on any port any more: a defect of the hardware or its driver."""
