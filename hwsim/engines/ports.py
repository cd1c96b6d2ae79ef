"""What passes between an engine and its caller: what the ports are fed, and what they do."""

from dataclasses import dataclass, field

from hwsim.activity import Cycles
from hwsim.engines.stalls import Stalls
from hwsim.schedule import Schedule
from hwsim.streams import Words


@dataclass(frozen=True, kw_only=True)
class Stimulus:
    """One layer, as words on the ports.

    Attributes
    ----------
    schedule
        Its loops; also the command.
    weights
        The tiles of one token block. They are streamed again for each.
    activations
        All tokens.
    stalls
        When the ports wait.
    """

    schedule: Schedule
    weights: Words
    activations: Words
    stalls: Stalls = field(default_factory=Stalls)

    @property
    def weight_words(self) -> int:
        """Words to be offered on the weight port, all token blocks together."""
        return len(self.weights) * self.schedule.token_blocks


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
    """

    results: Words
    cycles: Cycles
    weight_words: int
    activation_words: int
    error: bool
    engine_s: float


class HardwareHang(RuntimeError):
    """Nothing moves on any port any more: a defect of the hardware or its driver."""


def patience(stalls: Stalls) -> int:
    """Return the cycles without any transfer after which an engine gives up.

    A tile computes for up to 4,096 cycles (`batch`) in which nothing need move.
    """
    return int(20_000 / (1 - stalls.rate))
