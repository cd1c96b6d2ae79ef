"""Traces: safetensors files with the quantized data of linear layers.

Per layer ``NAME`` a file holds ``NAME.weight`` (int8 trits) or ``NAME.weight_packed`` (uint8, base3
rows, with the file metadata ``NAME.in_features``), ``NAME.weight_scale``, usually
``NAME.activation`` and ``NAME.activation_scale``, and perhaps ``NAME.weight_latent``. Its metadata
are ``format = hwsim-trace``, ``version = 1``, ``model`` and ``source``.

Reading never unpickles and never runs code.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hwsim.encoding import ENCODINGS
from hwsim.errors import InputError
from hwsim.files import write_atomically
from hwsim.layer import Layer

FORMAT = "hwsim-trace"
VERSION = "1"
_TENSORS = (
    "weight",
    "weight_packed",
    "weight_scale",
    "activation",
    "activation_scale",
    "weight_latent",
)


@dataclass(frozen=True)
class Trace:
    """A trace file whose header has been checked; layers are read one at a time.

    Attributes
    ----------
    path
        The file.
    model, source
        What the data are of, and what made the file.
    names
        Addresses of the layers, in the file's order of names.
    """

    path: Path
    model: str
    source: str
    names: tuple[str, ...]

    def __iter__(self) -> Iterator[Layer]:
        """Read the layers, one after the other."""
        return map(self.layer, self.names)

    def layer(self, name: str | None = None) -> Layer:
        """Read one layer; without a name, the only one.

        Raises
        ------
        InputError
            If there is no such layer, if there are several to choose from, or if its data are not
            what a layer must be.
        """
        known = ", ".join(self.names)
        if name is None:
            if len(self.names) > 1:
                raise InputError(
                    f"{self.path}: has {len(self.names)} layers; choose one as "
                    f"{self.path}:NAME, with NAME one of {known}"
                )
            name = self.names[0]
        if name not in self.names:
            raise InputError(f"{self.path}: no layer {name!r}; there are {known}")
        with _opened(self.path) as file:
            return _read_layer(self.path, file, name)


def read(path: str | Path) -> Trace:
    """Open a trace and check its header.

    Raises
    ------
    InputError
        If it is not a trace, naming the file and what is wrong.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is not a file")
    with _opened(path) as file:
        _check_names(path)
        metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise InputError(
                f"{path}: metadata must have format = {FORMAT}, not {metadata.get('format')!r}"
            )
        if metadata.get("version") != VERSION:
            raise InputError(
                f"{path}: metadata must have version = {VERSION}, not {metadata.get('version')!r}"
            )
        names: dict[str, None] = {}
        for key in file.keys():  # noqa: SIM118  (not a mapping)
            name, _, tensor = key.rpartition(".")
            if not key.isprintable():
                raise InputError(f"{path}: tensor name {key!a} must be printable")
            if not name or tensor not in _TENSORS:
                raise InputError(
                    f"{path}: tensor {key!r} is not part of a trace; expected NAME.TENSOR with "
                    f"TENSOR one of {', '.join(_TENSORS)}"
                )
            names[name] = None
    if not names:
        raise InputError(f"{path}: has no layers")
    return Trace(
        path, metadata.get("model", "unknown"), metadata.get("source", "unknown"), tuple(names)
    )


def split_address(address: str) -> tuple[str, str | None]:
    """Return the file of ``FILE`` or ``FILE:NAME``, and the name; both may have colons in them."""
    path, name = address, None
    while not Path(path).exists() and ":" in path:
        path = path.rpartition(":")[0]
        name = address[len(path) + 1 :]
    return (path, name) if Path(path).exists() else (address, None)


def read_layer(address: str) -> Layer:
    """Read the layer at ``FILE`` or ``FILE:NAME``.

    Raises
    ------
    InputError
        If there is none, or its data are wrong.
    """
    if not address:
        raise InputError("a layer is FILE or FILE:NAME, not ''")
    path, name = split_address(address)
    return read(path).layer(name)


def write(
    path: str | Path, layers: Iterable[Layer], *, model: str, source: str, packed: bool = True
) -> None:
    """Write a trace.

    Parameters
    ----------
    path
        The file; it appears complete or not at all.
    layers
        With distinct names.
    model, source
        What the data are of, and what makes the file.
    packed
        Whether weights are packed five to a byte.
    """
    tensors: dict[str, NDArray[Any]] = {}
    metadata = {"format": FORMAT, "version": VERSION, "model": model, "source": source}
    for layer in layers:
        if f"{layer.name}.weight_scale" in tensors:
            raise InputError(f"{path}: two layers are called {layer.name}")
        values: dict[str, NDArray[Any] | None] = {
            "weight": None if packed else layer.weight,
            "weight_packed": ENCODINGS["base3"].pack(layer.weight) if packed else None,
            "weight_scale": np.array([layer.weight_scale], np.float32),
            "activation": layer.activation,
            "activation_scale": layer.activation_scale,
            "weight_latent": layer.weight_latent,
        }
        for tensor, value in values.items():
            if value is not None:
                tensors[f"{layer.name}.{tensor}"] = np.ascontiguousarray(value)
        if packed:
            metadata[f"{layer.name}.in_features"] = str(layer.in_features)
    write_atomically(Path(path), save(tensors, metadata))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file; whatever is wrong with it becomes one line."""
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise InputError(f"{path}: not a readable safetensors file: {error}") from error


def _check_names(path: Path) -> None:
    """Refuse a name that is there twice, of which safetensors would keep one without a word."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        counts = Counter(name for name, _ in pairs)
        for name, count in counts.items():
            if count > 1:
                raise InputError(f"{path}: {name!a} is there twice")
        return dict(pairs)

    with path.open("rb") as file:  # safetensors has found the header to be JSON already
        length = int.from_bytes(file.read(8), "little")
        json.loads(file.read(length), object_pairs_hook=once)


def _read_layer(path: Path, file: Any, name: str) -> Layer:
    where = f"{path}: layer {name}"
    there = set(file.keys())

    def tensor(kind: str) -> Any:
        key = f"{name}.{kind}"
        if key not in there:
            return None
        try:
            return file.get_tensor(key)
        except (TypeError, AttributeError, KeyError) as error:  # a type that numpy does not have
            dtype = file.get_slice(key).get_dtype()
            raise InputError(f"{where}: {kind} has the type {dtype}, which no trace has") from error

    weight, packed = tensor("weight"), tensor("weight_packed")
    if (weight is None) == (packed is None):
        found = "neither" if weight is None else "both"
        raise InputError(f"{where}: one of weight and weight_packed must be there, found {found}")
    if weight is None:
        weight = _unpack(where, packed, (file.metadata() or {}).get(f"{name}.in_features"))
    scale = tensor("weight_scale")
    if scale is None:
        raise InputError(f"{where}: no weight_scale")
    if scale.dtype != np.float32 or scale.shape != (1,):
        raise InputError(
            f"{where}: weight_scale must be float32 of shape (1,), not {scale.dtype} of shape "
            f"{scale.shape}"
        )
    try:
        return Layer(
            name=name,
            weight=weight,
            weight_scale=float(scale[0]),
            activation=tensor("activation"),
            activation_scale=tensor("activation_scale"),
            weight_latent=tensor("weight_latent"),
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _unpack(where: str, packed: NDArray[Any], in_features: str | None) -> NDArray[np.int8]:
    base3 = ENCODINGS["base3"]
    if in_features is None or not re.fullmatch("[0-9]{1,10}", in_features):
        raise InputError(
            f"{where}: weight_packed needs the metadata in_features, a number, not "
            f"{in_features!r:.20}"
        )
    count = int(in_features)
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != base3.row_bytes(count):
        raise InputError(
            f"{where}: weight_packed must be uint8 of shape (out_features, "
            f"{base3.row_bytes(count)}) for in_features = {count}, not {packed.dtype} of shape "
            f"{packed.shape}"
        )
    illegal = base3.illegal[packed]
    if illegal.any():
        row, column = np.argwhere(illegal)[0]
        raise InputError(
            f"{where}: weight_packed must be at most 242, not {packed[row, column]} "
            f"(row {row}, byte {column})"
        )
    trits = base3.unpack(packed)
    fill = trits[:, count:].any(axis=1)
    if fill.any():
        raise InputError(
            f"{where}: weight_packed has non-zero trits beyond in_features (row {fill.argmax()})"
        )
    return np.ascontiguousarray(trits[:, :count])
