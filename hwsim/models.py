"""Shapes of language models: a zoo of named ones, and whatever a ``config.json`` describes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from hwsim.errors import InputError


class Linear(NamedTuple):
    """A linear layer that every transformer block has once."""

    name: str
    out_features: int
    in_features: int

    @property
    def weights(self) -> int:
        """Its weights."""
        return self.out_features * self.in_features


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """The sizes of a decoder-only transformer, as far as work and memory follow from them.

    Attributes
    ----------
    name
        Name in the zoo, or of the file.
    source
        Where the sizes are from.
    hidden, ffn, layers
        Width of the residual stream, of the FFN, and number of transformer blocks.
    heads, kv_heads, head_dim
        Query heads, heads of keys and values, and the width of each.
    vocab
        Tokens of the vocabulary.
    gated
        Whether the FFN has a gate, hence three matrices, or only two.
    tied
        Whether the LM head is the embedding.
    activation
        ``silu``, ``gelu``, ``relu`` or ``relu2``.
    ternary
        Whether the model was trained with ternary (or binary) weights.
    embedding_dim
        Width of an embedding; below `hidden` there are projections between the two.
    positions
        Learned position embeddings.
    inner_norms
        Whether there are norms before the output and down projections too (SubLN of BitNet).
    block_norms
        Norms of the residual stream in a block: 4 where attention and FFN are normed at their
        outputs too, 1 where both start from the same.
    qk_norms
        Whether queries and keys are normed: ``head``, with the same gains for all heads, ``all``,
        with their own, or not.
    layer_norms
        Whether norms subtract the mean and add a bias.
    biases
        Names of the linear layers that have biases.
    head_bias
        Whether the LM head has one.
    rotary
        Whether queries and keys are rotated by position.
    """

    name: str
    source: str
    hidden: int
    ffn: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    gated: bool = True
    tied: bool = False
    activation: str = "silu"
    ternary: bool = False
    embedding_dim: int
    positions: int = 0
    inner_norms: bool = False
    block_norms: int = 2
    qk_norms: str | None = None
    layer_norms: bool = False
    biases: tuple[str, ...] = ()
    head_bias: bool = False
    rotary: bool = True

    @property
    def q_dim(self) -> int:
        """Width of all queries of a token."""
        return self.heads * self.head_dim

    @property
    def kv_dim(self) -> int:
        """Width of all keys of a token, and of all values."""
        return self.kv_heads * self.head_dim

    @property
    def linears(self) -> tuple[Linear, ...]:
        """The linear layers of one block; the model has each `layers` times."""
        gate = (Linear("gate", self.ffn, self.hidden),) if self.gated else ()
        return (
            Linear("q", self.q_dim, self.hidden),
            Linear("k", self.kv_dim, self.hidden),
            Linear("v", self.kv_dim, self.hidden),
            Linear("o", self.hidden, self.q_dim),
            *gate,
            Linear("up", self.ffn, self.hidden),
            Linear("down", self.hidden, self.ffn),
        )

    @property
    def linear_weights(self) -> int:
        """Weights of all linear layers in the blocks."""
        return self.layers * sum(linear.weights for linear in self.linears)

    @property
    def longest_in_features(self) -> int:
        """Inputs of the longest linear layer."""
        return max(linear.in_features for linear in self.linears)

    @property
    def embedding_weights(self) -> int:
        """Weights of token and position embeddings, and of projections from and to them."""
        projections = 0 if self.embedding_dim == self.hidden else 2 * self.embedding_dim
        return self.vocab * self.embedding_dim + (self.positions + projections) * self.hidden

    @property
    def head_weights(self) -> int:
        """Weights that the LM head multiplies, whether they are its own or the embedding's."""
        return self.vocab * self.embedding_dim

    @property
    def block_normed(self) -> int:
        """Elements that the norms of one block take, a token."""
        inner = self.q_dim + self.ffn if self.inner_norms else 0
        qk = self.q_dim + self.kv_dim if self.qk_norms else 0
        return self.block_norms * self.hidden + inner + qk

    @property
    def vector_parameters(self) -> int:
        """Gains of norms and biases of the whole model."""
        gains = self.block_normed
        if self.qk_norms == "head":
            gains += 2 * self.head_dim - self.q_dim - self.kv_dim
        each = 2 if self.layer_norms else 1
        biases = sum(linear.out_features for linear in self.linears if linear.name in self.biases)
        head = self.vocab if self.head_bias else 0
        return self.layers * (each * gains + biases) + each * self.hidden + head

    @property
    def kv_entry_values(self) -> int:
        """Values that the KV cache holds for one token."""
        return 2 * self.layers * self.kv_dim


_ERA = "The Era of 1-bit LLMs, arXiv 2402.17764"
_BITNET = "BitNet, arXiv 2310.11453, table of model sizes"
_QKV = ("q", "k", "v")
_ATTENTION = (*_QKV, "o")
_FFN = ("gate", "up", "down")
_LLAMA_VOCAB = 32_000
_BITNET_VOCAB = 16_000


def _llama(
    name: str, source: str, hidden: int, ffn: int, layers: int, heads: int, **more: Any
) -> ModelShape:
    """Return a shape in which everything not said is as in LLaMA."""
    defaults = {"kv_heads": heads, "head_dim": hidden // heads, "embedding_dim": hidden}
    return ModelShape(
        name=name,
        source=source,
        hidden=hidden,
        ffn=ffn,
        layers=layers,
        heads=heads,
        **{**defaults, **more},
    )


def _era(
    size: str, hidden: int, ffn: int, layers: int, heads: int, source: str = _ERA
) -> ModelShape:
    return _llama(
        f"bitnet-b1.58-{size}", source, hidden, ffn, layers, heads, vocab=_LLAMA_VOCAB, ternary=True
    )


def _bitnet(size: str, hidden: int, layers: int, heads: int) -> ModelShape:
    return _llama(
        f"bitnet-{size}",
        _BITNET,
        hidden,
        4 * hidden,
        layers,
        heads,
        vocab=_BITNET_VOCAB,
        gated=False,
        activation="gelu",
        ternary=True,
        inner_norms=True,
        rotary=False,
    )


ZOO: dict[str, ModelShape] = {
    shape.name: shape
    for shape in (
        _era("700m", 1536, 4096, 24, 16, source="1bitLLM/bitnet_b1_58-large, config.json"),
        _era("1.3b", 2048, 5504, 24, 32),
        _era("3b", 2560, 6912, 32, 20),
        _era("7b", 4096, 11008, 32, 32),
        _era("13b", 5120, 13824, 40, 40),
        _era("70b", 8192, 22016, 80, 64),
        _llama(
            "bitnet-b1.58-2b-4t",
            "microsoft/bitnet-b1.58-2B-4T, config.json",
            2560,
            6912,
            30,
            20,
            kv_heads=5,
            vocab=128_256,
            tied=True,
            activation="relu2",
            ternary=True,
            inner_norms=True,
        ),
        _bitnet("125m", 768, 12, 12),
        _bitnet("350m", 1024, 24, 16),
        _bitnet("760m", 1536, 24, 16),
        _bitnet("1.3b", 2048, 24, 32),
        _bitnet("2.7b", 2560, 32, 32),
        _bitnet("6.7b", 4096, 32, 32),
        _bitnet("13b", 5120, 40, 40),
        _bitnet("30b", 7168, 48, 56),
        _llama(
            "llama-3.2-1b",
            "meta-llama/Llama-3.2-1B, config.json",
            2048,
            8192,
            16,
            32,
            kv_heads=8,
            vocab=128_256,
            tied=True,
        ),
        _llama(
            "llama-3.1-8b",
            "meta-llama/Llama-3.1-8B, config.json",
            4096,
            14336,
            32,
            32,
            kv_heads=8,
            vocab=128_256,
        ),
        _llama(
            "gemma-3-1b",
            "google/gemma-3-1b-pt, config.json",
            1152,
            6912,
            26,
            4,
            kv_heads=1,
            head_dim=256,
            vocab=262_144,
            tied=True,
            activation="gelu",
            block_norms=4,
            qk_norms="head",
        ),
        _llama(
            "qwen2.5-1.5b",
            "Qwen/Qwen2.5-1.5B, config.json",
            1536,
            8960,
            28,
            12,
            kv_heads=2,
            vocab=151_936,
            tied=True,
            biases=_QKV,
        ),
        _llama(
            "smollm2-1.7b",
            "HuggingFaceTB/SmolLM2-1.7B, config.json",
            2048,
            8192,
            24,
            32,
            vocab=49_152,
            tied=True,
        ),
        _llama(
            "minicpm-2b",
            "openbmb/MiniCPM-2B-sft-bf16, config.json",
            2304,
            5760,
            40,
            36,
            vocab=122_753,
            tied=True,
        ),
    )
}
"""Models by name. The vocabularies of the two BitNet families are LLaMA's 32,000 and "16K"."""


def find_model(name_or_file: str | Path) -> ModelShape:
    """Return the model of the zoo with that name, or read that ``config.json``.

    Raises
    ------
    InputError
        If there is neither, or the file does not describe a model that is known.
    """
    if str(name_or_file) in ZOO:
        return ZOO[str(name_or_file)]
    path = Path(name_or_file)
    if path.is_dir():
        path /= "config.json"
    if path.suffix != ".json" and not path.exists():
        raise InputError(
            f"model {str(name_or_file)!r}: no such model, nor a file; known: {', '.join(ZOO)}"
        )
    return read_config_json(path)


class _Family(NamedTuple):
    """What the configuration class of an architecture implies without saying so.

    `defaults` are those of the class, for keys that a file lacks; ``num_key_value_heads`` and
    ``head_dim`` without a default are those of plain multi-head attention, and sizes without one
    must be there. `names` are those that differ from LLaMA's; None for what the class has no key
    for. `biases` says which flag, with which default, gives biases to which linear layers.
    """

    defaults: Mapping[str, Any] = {}
    traits: Mapping[str, Any] = {}
    names: Mapping[str, str | None] = {}
    biases: tuple["_Bias", ...] = ()


class _Bias(NamedTuple):
    flag: str | None  # None: it is always the default
    default: bool
    linears: tuple[str, ...]


_ON_ATTENTION = _Bias("attention_bias", False, _ATTENTION)
_ON_FFN = _Bias("mlp_bias", False, _FFN)
_ON_QKV = _Bias(None, True, _QKV)
_EVERYWHERE = _Bias(None, True, (*_ATTENTION, *_FFN))
_MULTI_HEAD = {"num_key_value_heads": None, "head_dim": None}

_TIED = {"tie_word_embeddings": True}
_GEMMA = {**_TIED, "head_dim": 256}
_GEMMA_NAMES = {"hidden_act": "hidden_activation"}
_FOUR_NORMS = {"block_norms": 4}
_HEAD_NORMS = {"qk_norms": "head"}
_ALL_NORMS = {"qk_norms": "all"}
_PLAIN = {"gated": False, "layer_norms": True}

FAMILIES: dict[str, _Family] = {
    "llama": _Family(biases=(_ON_ATTENTION, _ON_FFN)),
    "mistral": _Family({"num_key_value_heads": 8}),
    "ministral": _Family({"num_key_value_heads": 8}),
    "minicpm": _Family(_TIED, biases=(_ON_ATTENTION,)),
    "granite": _Family(biases=(_ON_ATTENTION, _ON_FFN)),
    "phi3": _Family(),
    "smollm3": _Family({**_TIED, "num_key_value_heads": 4}, biases=(_ON_ATTENTION, _ON_FFN)),
    "seed_oss": _Family(
        {"num_key_value_heads": 8, "head_dim": 128},
        biases=(
            _Bias("attention_bias", True, _QKV),
            _Bias("attention_out_bias", False, ("o",)),
            _ON_FFN,
        ),
    ),
    "qwen2": _Family({"num_key_value_heads": 32}, biases=(_ON_QKV,)),
    "qwen3": _Family(
        {"num_key_value_heads": 32, "head_dim": 128}, _HEAD_NORMS, biases=(_ON_ATTENTION,)
    ),
    "gemma": _Family(
        {**_GEMMA, "num_key_value_heads": 16, "hidden_act": "gelu"}, biases=(_ON_ATTENTION,)
    ),
    "gemma2": _Family(
        {**_GEMMA, "num_key_value_heads": 4, "hidden_act": "gelu"},
        _FOUR_NORMS,
        _GEMMA_NAMES,
        (_ON_ATTENTION,),
    ),
    "gemma3_text": _Family(
        # Inside a `gemma3` only what differs from the class is written.
        {
            **_GEMMA,
            "hidden_size": 2304,
            "intermediate_size": 9216,
            "num_hidden_layers": 26,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "vocab_size": 262_208,
            "hidden_act": "gelu",
        },
        {**_FOUR_NORMS, **_HEAD_NORMS},
        _GEMMA_NAMES,
        (_ON_ATTENTION,),
    ),
    "olmo2": _Family(traits=_ALL_NORMS, biases=(_ON_ATTENTION,)),
    "olmo3": _Family(traits=_ALL_NORMS, biases=(_ON_ATTENTION,)),
    "bitnet": _Family(
        {"num_key_value_heads": 5, "hidden_act": "relu2"},
        {"ternary": True, "inner_norms": True},
        biases=(_ON_ATTENTION,),
    ),
    "opt": _Family(
        {**_TIED, "hidden_act": "relu"},
        {**_PLAIN, "rotary": False},
        {
            **_MULTI_HEAD,
            "intermediate_size": "ffn_dim",
            "hidden_act": "activation_function",
        },
        (_EVERYWHERE._replace(flag="enable_bias"),),
    ),
    "gpt_neox": _Family(
        {"hidden_act": "gelu"},
        _PLAIN,
        _MULTI_HEAD,
        (_ON_ATTENTION._replace(default=True), _Bias(None, True, _FFN)),
    ),
    "phi": _Family(
        {"hidden_act": "gelu"},
        {**_PLAIN, "block_norms": 1, "head_bias": True},
        biases=(_EVERYWHERE,),
    ),
    "starcoder2": _Family(
        {**_TIED, "num_key_value_heads": 2, "hidden_act": "gelu"},
        _PLAIN,
        biases=(_EVERYWHERE._replace(flag="use_bias"),),
    ),
    "nemotron": _Family(
        {"hidden_act": "relu2"},
        {"gated": False, "layer_norms": True},
        biases=(_ON_ATTENTION, _ON_FFN),
    ),
    "arcee": _Family({"hidden_act": "relu2"}, {"gated": False}, biases=(_ON_ATTENTION, _ON_FFN)),
}
"""Architectures by the ``model_type`` of their ``config.json``."""

_WRAPPED = ("gemma3",)
"""Models that see images, too, and describe their language model in ``text_config``."""

_ACTIVATIONS = {"silu": "silu", "swish": "silu", "relu": "relu", "relu2": "relu2"}
"""Names of activation functions; whatever contains ``gelu`` is ``gelu``."""

_MOST = 1 << 30
"""Sizes beyond this are mistakes."""

_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


def read_config_json(path: str | Path) -> ModelShape:
    """Read the ``config.json`` of a Hugging Face model.

    Raises
    ------
    InputError
        Naming the file, if it is none, its architecture is unknown, or a size is missing or wrong.
    """
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file: {error}") from error
    return parse_config(config, where=str(path))


def parse_config(config: Any, *, where: str) -> ModelShape:
    """Return the shape that the content of a ``config.json`` describes; `where` opens messages.

    Raises
    ------
    InputError
        As `read_config_json`.
    """
    if not isinstance(config, dict):
        raise InputError(f"{where}: must hold an object")
    if config.get("model_type") in _WRAPPED and isinstance(config.get("text_config"), dict):
        # Whether the head is tied, the whole decides.
        tied = {key: config[key] for key in _TIED if key in config}
        config = {**config["text_config"], **tied}
    return _ConfigReader(config, where).shape()


@dataclass
class _ConfigReader:
    config: dict[str, Any]
    where: str
    family: _Family = field(init=False)

    def __post_init__(self) -> None:
        kind = self.config.get("model_type")
        if not isinstance(kind, str) or kind not in FAMILIES:
            raise InputError(
                f"{self.where}: unknown architecture (model_type {kind!r}); "
                f"known: {', '.join(FAMILIES)}"
            )
        for key in _EXPERTS:
            if self.config.get(key):
                raise InputError(f"{self.where}: {key}: mixtures of experts are not supported")
        self.family = FAMILIES[kind]

    def shape(self) -> ModelShape:
        hidden = self.size("hidden_size")
        heads = self.size("num_attention_heads")
        if self.get("head_dim") is None and hidden % heads:
            raise InputError(
                f"{self.where}: hidden_size {hidden} is not divisible by "
                f"num_attention_heads {heads}, and there is no head_dim"
            )
        kv_heads = self.size("num_key_value_heads", heads)
        if heads % kv_heads:
            raise InputError(
                f"{self.where}: num_attention_heads {heads} is not divisible by "
                f"num_key_value_heads {kv_heads}"
            )
        opt = self.config["model_type"] == "opt"
        sizes: dict[str, Any] = {
            "hidden": hidden,
            "ffn": self.size("intermediate_size"),
            "layers": self.size("num_hidden_layers"),
            "heads": heads,
            "kv_heads": kv_heads,
            "head_dim": self.size("head_dim", hidden // heads),
            "vocab": self.size("vocab_size"),
            "embedding_dim": self.size("word_embed_proj_dim", hidden) if opt else hidden,
            "positions": self.size("max_position_embeddings") + 2 if opt else 0,
        }
        return ModelShape(
            name=self.where,
            source=self.where,
            tied=self.flag("tie_word_embeddings"),
            activation=self.activation(),
            biases=tuple(
                name
                for bias in self.family.biases
                if self.flag(bias.flag, default=bias.default)
                for name in bias.linears
            ),
            **sizes,
            **self.traits(),
        )

    def traits(self) -> dict[str, Any]:
        quantized = self.config.get("quantization_config")
        method = quantized.get("quant_method") if isinstance(quantized, dict) else None
        return {**self.family.traits, **({"ternary": True} if method == "bitnet" else {})}

    def get(self, key: str) -> Any:
        """Return the value of a key, or what stands for it; None if nothing does."""
        name = self.family.names.get(key, key)
        return self.config[name] if name in self.config else self.family.defaults.get(key)

    def size(self, key: str, default: int | None = None) -> int:
        value = self.get(key)
        value = default if value is None else value
        name = self.family.names.get(key, key)
        if value is None:
            raise InputError(f"{self.where}: has no {name}")
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST:
            raise InputError(
                f"{self.where}: {name} must be an integer from 1 to {_MOST:,}, not {_shown(value)}"
            )
        return value

    def flag(self, key: str | None, *, default: bool = False) -> bool:
        value = default if key is None else self.config.get(key, self.family.defaults.get(key))
        if not isinstance(value, bool | None):
            raise InputError(f"{self.where}: {key} must be true or false, not {_shown(value)}")
        return default if value is None else value

    def activation(self) -> str:
        name = self.get("hidden_act") or "silu"
        if isinstance(name, str) and "gelu" in name:
            return "gelu"
        if not isinstance(name, str) or name not in _ACTIVATIONS:
            raise InputError(f"{self.where}: unknown activation function {_shown(name)}")
        return _ACTIVATIONS[name]


def _shown(value: object) -> str:
    """Return a value as text that fits into a line."""
    if isinstance(value, int) and abs(value) > 10**30:  # too long, or even refused by Python
        return "one of astronomic size"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
