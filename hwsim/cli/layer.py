"""Options that say which layer a command is about, and what is fed to the array."""

from enum import StrEnum
from importlib import resources
from typing import TYPE_CHECKING, Annotated

import typer

from hwsim.errors import InputError

if TYPE_CHECKING:
    from hwsim.layer import Layer

SHIPPED = "shipped"
"""Stands for the layer that ships with hwsim, in place of a file."""

_MOST = 1 << 31
"""Activations that are made at once."""

_TRACE = "adder-trace.safetensors"
_LAYER = "blocks.0.ffn.up"


class Activations(StrEnum):
    """Where activations come from."""

    trace = "trace"
    random = "random"


class OperandKind(StrEnum):
    """What the baselines' lanes are fed with."""

    trace = "trace"
    full = "full"


Tokens = Annotated[
    int | None, typer.Option(help="take the first TOKENS tokens", show_default=False)
]
ActivationsOption = Annotated[Activations, typer.Option(help="the trace's own, or random int8")]
Seed = Annotated[int, typer.Option(help="of random activations and weights", min=0)]
OperandsOption = Annotated[
    OperandKind,
    typer.Option(help="for int8 and fp16: the trace's values, or weights that are not ternary"),
]


def check_size(tokens: int | None, in_features: int) -> None:
    """Refuse to make more activations than fit into memory.

    Raises
    ------
    InputError
        If they are too many.
    """
    if tokens is not None and tokens * in_features > _MOST:
        raise InputError(
            f"--tokens: that many tokens of {in_features} activations are more than {_MOST:,}"
        )


def layer_files(address: str | None) -> list[str]:
    """Return the file that a layer is read from, if it is one of the user's."""
    from hwsim.trace import split_address

    return [] if address in (None, SHIPPED) else [split_address(address)[0]]


def read_layer(
    address: str,
    tokens: int | None = None,
    activations: Activations = Activations.trace,
    seed: int = 0,
) -> "Layer":
    """Return the layer that a command is about; the one that ships with hwsim is `SHIPPED`."""
    from hwsim import trace

    if address == SHIPPED:
        with resources.as_file(resources.files("hwsim.data") / _TRACE) as file:
            layer = trace.read(file).layer(_LAYER)
    else:
        layer = trace.read_layer(address)
    if activations is Activations.random:
        check_size(tokens, layer.in_features)
        return layer.with_random_activation(1 if tokens is None else tokens, seed)
    if layer.activation is None:
        raise InputError(
            f"layer {layer.name}: has no activations; --activations random --seed S makes some"
        )
    return layer if tokens is None else layer.take(tokens)
