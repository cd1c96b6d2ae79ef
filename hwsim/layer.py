"""`Layer`: the quantized data of one linear layer."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hwsim.errors import InputError


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer:
    """One linear layer with ternary weights and, usually, the activations that went into it.

    The real value of an output is ``sum * weight_scale * activation_scale[token]``, where ``sum``
    is the integer dot product that the hardware computes.

    Parameters
    ----------
    name
        Address of the layer in its model.
    weight
        Trits, int8, shape (out_features, in_features).
    weight_scale
        Factor of the weights.
    activation
        int8, shape (tokens, in_features), or None if the trace holds weights only.
    activation_scale
        float32, shape (tokens,); present exactly when `activation` is.
    weight_latent
        float16, shape (out_features, in_features): the weights before quantization, which the
        baselines' energy is measured with. Optional.

    Raises
    ------
    InputError
        If dtypes, shapes or values are not as said here, naming the layer.
    """

    name: str
    weight: NDArray[np.int8]
    weight_scale: float
    activation: NDArray[np.int8] | None = None
    activation_scale: NDArray[np.float32] | None = None
    weight_latent: NDArray[np.float16] | None = None

    def __post_init__(self) -> None:
        """Check everything once, so that nobody downstream has to."""
        weight = self.weight
        self._array("weight", weight, np.int8, 2)
        if 0 in weight.shape:
            self._refuse(f"weight has shape {weight.shape}; both sides must be at least 1")
        # Two reductions instead of a comparison per element: weights can be hundreds of MB.
        if weight.min() < -1 or weight.max() > 1:
            row, column = np.argwhere((weight < -1) | (weight > 1))[0]
            self._refuse(
                f"weight must be -1, 0 or 1, not {weight[row, column]} (row {row}, column {column})"
            )
        self._scale("weight_scale", np.asarray([self.weight_scale], np.float32))
        if (self.activation is None) != (self.activation_scale is None):
            self._refuse("activation and activation_scale must both be there, or both be missing")
        if self.activation is not None and self.activation_scale is not None:
            self._array("activation", self.activation, np.int8, 2)
            tokens, in_features = self.activation.shape
            if in_features != self.in_features:
                self._refuse(
                    f"activation has {in_features} features, but weight has {self.in_features}"
                )
            if tokens == 0:
                self._refuse("activation has 0 tokens; at least 1 is needed")
            self._array("activation_scale", self.activation_scale, np.float32, 1)
            if self.activation_scale.shape != (tokens,):
                self._refuse(
                    f"activation_scale has {self.activation_scale.size} values, but activation "
                    f"has {tokens} tokens"
                )
            self._scale("activation_scale", self.activation_scale)
        if self.weight_latent is not None:
            self._array("weight_latent", self.weight_latent, np.float16, 2)
            if self.weight_latent.shape != weight.shape:
                self._refuse(
                    f"weight_latent has shape {self.weight_latent.shape}, but weight has "
                    f"{weight.shape}"
                )
            if not np.isfinite(self.weight_latent).all():
                self._refuse("weight_latent has values that are not finite")

    def _refuse(self, what: str) -> None:
        raise InputError(f"layer {self.name}: {what}")

    def _array(self, what: str, value: object, dtype: type, ndim: int) -> None:
        if not isinstance(value, np.ndarray) or value.dtype != dtype or value.ndim != ndim:
            found = (
                f"{value.dtype} with {value.ndim} dimensions"
                if isinstance(value, np.ndarray)
                else type(value).__name__
            )
            self._refuse(
                f"{what} must be {np.dtype(dtype)} with {ndim} dimension"
                f"{'s' if ndim > 1 else ''}, not {found}"
            )

    def _scale(self, what: str, values: NDArray[np.float32]) -> None:
        wrong = ~(np.isfinite(values) & (values >= 0))
        if wrong.any():
            at = int(np.argmax(wrong))
            self._refuse(f"{what} must be finite and at least 0, not {values[at]} (index {at})")

    @property
    def out_features(self) -> int:
        """Outputs of the layer."""
        return int(self.weight.shape[0])

    @property
    def in_features(self) -> int:
        """Inputs of the layer."""
        return int(self.weight.shape[1])

    @property
    def tokens(self) -> int:
        """Tokens of the activations; 0 if there are none."""
        return 0 if self.activation is None else int(self.activation.shape[0])

    @property
    def zero_fraction(self) -> float:
        """Share of zero trits among the weights."""
        return 1 - np.count_nonzero(self.weight) / self.weight.size

    def take(self, tokens: int) -> Self:
        """Return the layer with its first `tokens` tokens.

        Raises
        ------
        InputError
            If it has fewer, or `tokens` is below 1.
        """
        if not 1 <= tokens <= self.tokens:
            self._refuse(f"tokens must be from 1 to {self.tokens}, not {tokens}")
        if self.activation is None or self.activation_scale is None:
            self._refuse("has no activations")
            raise AssertionError
        return replace(
            self,
            activation=self.activation[:tokens],
            activation_scale=self.activation_scale[:tokens],
        )

    def with_random_activation(self, tokens: int, seed: int) -> Self:
        """Return the layer with seeded activations instead of its own.

        Uniform over all of int8, -128 included, with a scale of 1: data that exercises the
        hardware, not data of a model.
        """
        if tokens < 1:
            self._refuse(f"tokens must be at least 1, not {tokens}")
        rng = np.random.default_rng(seed)
        return replace(
            self,
            activation=rng.integers(-128, 128, (tokens, self.in_features), dtype=np.int8),
            activation_scale=np.ones(tokens, np.float32),
        )
