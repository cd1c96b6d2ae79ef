"""Layers for tests: seeded, small, with every value that the hardware can meet."""

import numpy as np
from numpy.typing import NDArray

from hwsim.layer import Layer


def make_layer(
    out: int, inp: int, tokens: int, seed: int, zero: float = 0.4, name: str = "test"
) -> Layer:
    """Return a layer whose trits are zero with probability `zero`."""
    rng = np.random.default_rng(seed)
    signs = rng.choice(np.array([-1, 1], np.int8), (out, inp))
    return Layer(
        name=name,
        weight=np.where(rng.random((out, inp)) < zero, np.int8(0), signs),
        weight_scale=0.5,
        activation=rng.integers(-128, 128, (tokens, inp), dtype=np.int8),
        activation_scale=rng.random(tokens, np.float32),
    )


def fixed_layer(weight: NDArray[np.int8], activation: NDArray[np.int8]) -> Layer:
    """Return a layer of exactly these integers."""
    return Layer(
        name="test",
        weight=weight,
        weight_scale=1.0,
        activation=activation,
        activation_scale=np.ones(len(activation), np.float32),
    )


def reference(layer: Layer) -> NDArray[np.int32]:
    """Return the sums of a layer as numpy computes them."""
    assert layer.activation is not None
    return layer.activation.astype(np.int32) @ layer.weight.astype(np.int32).T
