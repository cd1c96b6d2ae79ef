"""A ternary transformer that adds two numbers: the real workload that comes with the package.

It was trained with the recipe of BitNet b1.58 by ``examples/adder/train.py``; here it runs with
numpy alone. Every linear layer, the output included, has ternary weights and int8 activations and
goes through one function, which hardware can take over. What remains in floating point are the
embeddings, the norms and the attention scores.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from hwsim.encoding import ENCODINGS
from hwsim.errors import InputError
from hwsim.layer import Layer

DIGITS = 5
"""Digits that an operand has at most."""

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

Linear = Callable[[Layer], NDArray[np.int32]]
"""Computes the integer sums of a layer, shape (tokens, out_features), from its activations."""

_OPERAND = rf" *([0-9]{{1,{DIGITS}}}) *"
_QUESTION = re.compile(rf"{_OPERAND}\+{_OPERAND}")
_PLUS, _EQUALS = 10, 11
_BATCH = 500
_HELD_OUT_ONE_IN = 16


def reference(layer: Layer) -> NDArray[np.int32]:
    """Compute the integer sums of a layer with numpy."""
    assert layer.activation is not None
    # Doubles hold these sums exactly, and matrix products of doubles are fast.
    sums: NDArray[np.float64] = layer.activation.astype(float) @ layer.weight.T.astype(float)
    return sums.astype(np.int32)


def parse(question: str) -> tuple[int, int]:
    """Read a question such as ``123+45``.

    Raises
    ------
    InputError
        If it is anything but two non-negative integers of at most `DIGITS` digits.
    """
    match = _QUESTION.fullmatch(question)
    if match is None:
        raise InputError(
            f"question must be two integers of 1 to {DIGITS} digits joined by +, such as 123+45, "
            f"not {question!r}"
        )
    return int(match[1]), int(match[2])


def digits(numbers: Integers, count: int) -> Integers:
    """Return the decimal digits of `numbers`, lowest first, shape (..., count)."""
    return np.asarray(numbers)[..., None] // 10 ** np.arange(count) % 10


def number(digits: Iterable[int]) -> int:
    """Return the number whose digits, lowest first, are these."""
    return sum(int(digit) * 10**place for place, digit in enumerate(digits))


def prompts(first: Integers, second: Integers) -> Integers:
    """Return the model's tokens for sums: zero-padded operands, such as ``00123+00045=``.

    Parameters
    ----------
    first, second
        Operands, shape (sums,).

    Returns
    -------
    Integers
        Tokens, shape (sums, 2 * DIGITS + 2).
    """
    columns = [digits(operand, DIGITS)[:, ::-1] for operand in (first, second)]
    plus, equals = (np.full((len(first), 1), sign) for sign in (_PLUS, _EQUALS))
    return np.hstack([columns[0], plus, columns[1], equals])


def held_out(first: Integers, second: Integers) -> NDArray[np.bool_]:
    """Say which sums training never sees: about one in 16, whichever operand comes first."""
    low, high = np.minimum(first, second), np.maximum(first, second)
    mixed = (low * 10**DIGITS + high).astype(np.uint64)
    for factor in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB):  # the finalizer of splitmix64
        mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(factor)
    mixed = (mixed >> np.uint64(32)) % np.uint64(_HELD_OUT_ONE_IN)
    return np.asarray(mixed == 0)


def held_out_questions(count: int, seed: int) -> list[str]:
    """Draw held-out sums of two numbers below 100,000."""
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, 10**DIGITS, (2 * _HELD_OUT_ONE_IN * count + 1000, 2))
    pairs = pairs[held_out(pairs[:, 0], pairs[:, 1])][:count]
    return [f"{first}+{second}" for first, second in pairs]


@dataclass(frozen=True, eq=False)
class Adder:
    """The model.

    Attributes
    ----------
    heads
        Attention heads.
    layers
        The linear layers by name, without activations.
    embedding
        A vector for each token: the digits, + and =.
    position
        A vector for each place in the text.
    """

    heads: int
    layers: dict[str, Layer]
    embedding: Floats
    position: Floats

    @classmethod
    def load(cls) -> Self:
        """Read the model that comes with the package."""
        source = resources.files("hwsim.data") / "adder.safetensors"
        base3 = ENCODINGS["base3"]
        with resources.as_file(source) as path, safe_open(path, framework="numpy") as file:
            metadata: dict[str, str] = file.metadata()
            tensors: dict[str, NDArray[Any]] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a mapping)
        layers = {}
        for key in [key for key in tensors if key.endswith(".weight_packed")]:
            name = key.removesuffix(".weight_packed")
            trits = base3.unpack(tensors.pop(key))[:, : int(metadata[f"{name}.in_features"])]
            scale = tensors.pop(f"{name}.weight_scale")
            layers[name] = Layer(name=name, weight=trits, weight_scale=float(scale[0]))
        return cls(int(metadata["heads"]), layers, **tensors)

    @property
    def blocks(self) -> int:
        """Transformer blocks."""
        return sum(name.endswith(".ffn.up") for name in self.layers)

    def generate(self, question: str, linear: Linear = reference) -> Iterator[int]:
        """Answer a question digit by digit, the lowest first.

        The first digit comes after a pass over the whole prompt, each other one after a pass over
        the digit before it.

        Parameters
        ----------
        question
            Such as ``123+45``.
        linear
            What computes the linear layers.

        Yields
        ------
        int
            `DIGITS` + 1 digits, leading zeros included.

        Raises
        ------
        InputError
            If the question is not one.
        """
        first, second = parse(question)
        steps = self._decode(prompts(np.array([first]), np.array([second])), linear)
        return (int(step[0]) for step in steps)

    def answer(self, question: str, linear: Linear = reference) -> int:
        """Answer a question."""
        return number(self.generate(question, linear))

    def answers(self, questions: Sequence[str], linear: Linear = reference) -> list[int]:
        """Answer many questions, hundreds at a time."""
        operands = np.array([parse(question) for question in questions], np.int64).reshape(-1, 2)
        found: list[int] = []
        for start in range(0, len(operands), _BATCH):
            first, second = operands[start : start + _BATCH].T
            answers = np.stack(list(self._decode(prompts(first, second), linear)), axis=1)
            found += map(number, answers)
        return found

    def _decode(self, tokens: Integers, linear: Linear) -> Iterator[Integers]:
        """Yield the answers' digits, shape (sums,), place by place."""
        cache: dict[str, Floats] = {}
        for _ in range(DIGITS + 1):
            best = self._forward(tokens, cache, linear).argmax(axis=-1)
            yield best
            tokens = best[:, None]

    def _forward(self, tokens: Integers, cache: dict[str, Floats], linear: Linear) -> Floats:
        """Pass tokens, shape (sums, time), that follow those in `cache` through the model.

        Returns the scores of the next digit, shape (sums, 10).
        """

        def project(name: str, x: Floats) -> Floats:
            rows = x.reshape(-1, x.shape[-1])
            rows = rows / np.sqrt(np.mean(rows * rows, axis=1, keepdims=True) + np.float32(1e-5))
            largest = np.maximum(np.abs(rows).max(axis=1, keepdims=True), np.float32(1e-5))
            quantized = np.clip(np.rint(rows * (127 / largest)), -128, 127).astype(np.int8)
            scale = (largest[:, 0] / 127).astype(np.float32)
            layer = replace(self.layers[name], activation=quantized, activation_scale=scale)
            y: Floats = linear(layer) * np.float32(layer.weight_scale) * scale[:, None]
            return y.astype(np.float32).reshape(*x.shape[:-1], layer.out_features)

        def split(x: Floats) -> Floats:
            return x.reshape(*x.shape[:2], self.heads, -1).swapaxes(1, 2)

        def remember(name: str, x: Floats) -> Floats:
            cache[name] = np.concatenate([cache[name], x], axis=2) if name in cache else x
            return cache[name]

        time = tokens.shape[1]
        past = cache["blocks.0.attention.k"].shape[2] if cache else 0
        places = np.arange(past, past + time)
        x = self.embedding[tokens] + self.position[places]
        unseen = np.arange(past + time) > places[:, None]
        for block in range(self.blocks):
            attention, ffn = f"blocks.{block}.attention", f"blocks.{block}.ffn"
            q, k, v = (split(project(f"{attention}.{part}", x)) for part in "qkv")
            k, v = remember(f"{attention}.k", k), remember(f"{attention}.v", v)
            scores = q @ k.swapaxes(2, 3) / np.float32(np.sqrt(q.shape[-1]))
            scores = np.where(unseen, -np.inf, scores)
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = scores / scores.sum(-1, keepdims=True) @ v
            x = x + project(f"{attention}.o", mixed.swapaxes(1, 2).reshape(x.shape))
            hidden = np.maximum(project(f"{ffn}.up", x), 0) ** 2
            x = x + project(f"{ffn}.down", hidden)
        return project("head", x[:, -1])
