"""What a model is asked to do, and what that takes beside its linear layers, in counts."""

from dataclasses import dataclass
from typing import NamedTuple

from hwsim.errors import InputError
from hwsim.models import ModelShape

PHASES = ("prefill", "decode")
"""Kinds of work."""


_MOST = 10**12
"""Of tokens and sequences: more are a mistake."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What a model is asked to do.

    Parameters
    ----------
    phase
        ``prefill``: one pass over `tokens` new tokens of each sequence. ``decode``: `tokens` passes
        over one token of each.
    tokens
        New tokens of each sequence.
    context
        Tokens of each sequence that are in the KV cache before.
    batch_size
        Sequences; they share the weights.
    causal
        Leave out the attention of a token to those after it; the papers count it.
    kv_bits, head_bits
        Bits of a value in the KV cache, and of a weight in the LM head.
    lm_head
        Whether there is an LM head: once per pass, for the last token of each sequence.

    Raises
    ------
    InputError
        If a number is too small or astronomic, or there is no such phase.
    """

    phase: str = "prefill"
    tokens: int = 512
    context: int = 0
    batch_size: int = 1
    causal: bool = False
    kv_bits: int = 16
    head_bits: int = 16
    lm_head: bool = True

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise InputError(f"phase {self.phase!r}: no such phase; known: {', '.join(PHASES)}")
        for name, least in (("tokens", 1), ("context", 0), ("batch_size", 1), ("kv_bits", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, not {getattr(self, name)}")
            if getattr(self, name) > _MOST:
                raise InputError(f"{name} must be at most {_MOST:,}")
        if self.head_bits not in (8, 16):
            raise InputError(f"head_bits must be 8 or 16, not {self.head_bits}")

    @property
    def passes(self) -> int:
        """Times that all layers run."""
        return self.tokens if self.phase == "decode" else 1

    @property
    def tokens_per_pass(self) -> int:
        """Tokens that all sequences together have in one pass."""
        return self.new_tokens // self.passes

    @property
    def new_tokens(self) -> int:
        """Tokens of all sequences together."""
        return self.tokens * self.batch_size

    @property
    def keys_attended(self) -> int:
        """Keys that each new token meets, summed over all of them, for one layer and head."""
        earlier = self.tokens * self.context
        if self.phase == "decode" or self.causal:
            each = earlier + self.tokens * (self.tokens + 1) // 2
        else:
            each = earlier + self.tokens**2
        return self.batch_size * each

    @property
    def kv_entries_read(self) -> int:
        """Entries of the KV cache (a token's, of all layers) that are read."""
        if self.phase == "decode":
            return self.keys_attended
        return self.batch_size * self.context


def attention_macs(model: ModelShape, workload: Workload) -> int:
    """Return the MACs of scores and values."""
    return 2 * model.q_dim * model.layers * workload.keys_attended


def kv_bits(model: ModelShape, workload: Workload) -> int:
    """Return the bits of the KV cache that are read or written."""
    entries = workload.kv_entries_read + workload.new_tokens
    return entries * model.kv_entry_values * workload.kv_bits


class Ops(NamedTuple):
    """FP16 operations."""

    mul: int
    add: int


VECTOR_OPS = {
    "norm": Ops(mul=3, add=1),  # square, scale, gain; sum
    "silu": Ops(mul=5, add=4),  # an exponential as a cubic, a reciprocal step, the product
    "gelu": Ops(mul=5, add=4),  # likewise
    "relu": Ops(mul=0, add=1),
    "relu2": Ops(mul=1, add=1),
    "gate": Ops(mul=1, add=0),
    "softmax": Ops(mul=4, add=5),  # maximum, difference, exponential as a cubic; sum, quotient
    "rotary": Ops(mul=2, add=1),
    "residual": Ops(mul=0, add=1),
}
"""FP16 operations per element of what stands between linear layers; functions are *assumed* to be
evaluated as cubic polynomials. Comparing and rounding, where activations are quantized, belong to
the linear layers."""


def vector_ops(model: ModelShape, workload: Workload) -> Ops:
    """Return the FP16 operations between linear layers: `VECTOR_OPS` times elements."""
    tokens, layers = workload.new_tokens, model.layers
    elements = {
        "norm": tokens * (layers * model.block_normed + model.hidden),
        model.activation: tokens * layers * model.ffn,
        "gate": tokens * layers * model.ffn * model.gated,
        "softmax": workload.keys_attended * layers * model.heads,
        "rotary": tokens * layers * (model.q_dim + model.kv_dim) * model.rotary,
        "residual": tokens * layers * 2 * model.hidden,
    }
    return Ops(
        mul=sum(VECTOR_OPS[name].mul * count for name, count in elements.items()),
        add=sum(VECTOR_OPS[name].add * count for name, count in elements.items()),
    )
