"""What passes between an engine and its caller: what the ports are fed, and what they do."""

from dataclasses import dataclass, field
from functools import cached_property

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

    The words of a layer are made when they are first asked for: an engine that works on numbers
    does without.

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

    @cached_property
    def weights(self) -> Words:
        """The tiles of one token block. They are streamed again for each."""
        return streams.weight_words(self.operands.weight, self.schedule)

    @cached_property
    def activations(self) -> Words:
        """The activations of all tokens."""
        return streams.activation_words(self.operands.activation, self.schedule)

    @property
    def weight_words(self) -> int:
        """Words to be offered on the weight port, all token blocks together."""
        return len(self.weights) * self.schedule.token_blocks

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
    results
        Words that left the result port, to the one marked as the last.
    cycles
        The hardware's own counters.
    weight_words, activation_words
        Words that were taken.
    error
        Whether the error flag was raised.
    engine_s
        Seconds of simulation, without compilation.
    fault
        What an engine that checks every step found wrong; empty if nothing.
    gates
        Toggles of the engine that counts them gate by gate.
    toggles
        Bits that changed, where an engine counts them and was asked to.
    """

    results: Words
    cycles: Cycles
    weight_words: int
    activation_words: int
    error: bool
    engine_s: float
    fault: str = ""
    gates: GateActivity | None = None
    toggles: Toggles | None = None


class HardwareHang(RuntimeError):
    """Nothing moves on any port any more: a defect of the hardware or its driver."""
