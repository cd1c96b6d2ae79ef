import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layers import make_layer
from numpy.typing import NDArray
from safetensors.numpy import save_file

from hwsim.errors import InputError
from hwsim.layer import Layer
from hwsim.trace import read, read_layer, write

Tensors = dict[str, NDArray[Any]]

METADATA = {"format": "hwsim-trace", "version": "1", "model": "toy", "source": "a test"}


def stranger() -> Tensors:
    """Tensors of one layer `a`, as someone who does not know hwsim would make them."""
    return {
        "a.weight": np.array([[1, -1, 0], [0, 1, 1]], np.int8),
        "a.weight_scale": np.array([0.25], np.float32),
        "a.activation": np.array([[-128, 127, 3]], np.int8),
        "a.activation_scale": np.array([0.5], np.float32),
    }


def packed(codes: list[list[int]]) -> Tensors:
    tensors = stranger()
    del tensors["a.weight"]
    return {**tensors, "a.weight_packed": np.array(codes, np.uint8)}


def same(one: Layer, other: Layer) -> bool:
    arrays = ("weight", "activation", "activation_scale", "weight_latent")
    return (one.name, np.float32(one.weight_scale)) == (other.name, other.weight_scale) and all(
        np.array_equal(getattr(one, a), getattr(other, a)) for a in arrays
    )


def refused(path: Path, message: str, act: Callable[[], object]) -> None:
    with pytest.raises(InputError, match=message) as caught:
        act()
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith(str(path))


@given(
    out=st.integers(1, 9),
    inp=st.integers(1, 23),
    tokens=st.integers(0, 4),
    seed=st.integers(0, 2**32),
    packs=st.booleans(),
    latent=st.booleans(),
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    out: int,
    inp: int,
    tokens: int,
    seed: int,
    packs: bool,
    latent: bool,
) -> None:
    layers = [make_layer(out, inp, max(tokens, 1), seed, name=f"block.{i}") for i in range(2)]
    layers = [
        Layer(
            name=layer.name,
            weight=layer.weight,
            weight_scale=layer.weight_scale,
            activation=layer.activation if tokens else None,
            activation_scale=layer.activation_scale if tokens else None,
            weight_latent=layer.weight.astype(np.float16) / 3 if latent else None,
        )
        for layer in layers
    ]
    path = tmp_path_factory.getbasetemp() / "round-trip.safetensors"
    write(path, layers, model="toy", source="a test", packed=packs)
    trace = read(path)
    assert (trace.model, trace.source) == ("toy", "a test")
    assert sorted(trace.names) == ["block.0", "block.1"]
    back = {layer.name: layer for layer in trace}
    for layer in layers:
        assert same(back[layer.name], layer)
        assert back[layer.name].weight.flags.c_contiguous


@pytest.mark.parametrize(
    "tensors",
    [stranger(), packed([[2 + 0 + 9 + 27 + 81], [1 + 6 + 18 + 27 + 81]])],
    ids=["trits", "base3"],
)
def test_a_trace_by_plain_numpy_and_safetensors_is_read(tmp_path: Path, tensors: Tensors) -> None:
    path = tmp_path / "t.safetensors"
    save_file(tensors, path, {**METADATA, "a.in_features": "3"})
    layer = read_layer(str(path))
    assert layer.name == "a"
    assert layer.weight.tolist() == [[1, -1, 0], [0, 1, 1]]
    assert layer.weight_scale == 0.25
    assert layer.activation is not None
    assert layer.activation.tolist() == [[-128, 127, 3]]
    assert layer.weight_latent is None


def test_a_layer_is_addressed_by_file_and_name(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    layers = [make_layer(2, 3, 1, seed, name=f"block.{seed}") for seed in range(3)]
    write(path, layers, model="toy", source="a test")
    assert same(read_layer(f"{path}:block.1"), layers[1])
    refused(path, "3 layers.*block.0, block.1, block.2", lambda: read_layer(str(path)))
    refused(path, "block.7.*block.0, block.1, block.2", lambda: read_layer(f"{path}:block.7"))
    refused(path, "block.0, block.1, block.2", lambda: read_layer(f"{path}:"))
    write(path, layers[:1], model="toy", source="a test")
    assert same(read_layer(str(path)), layers[0])


def test_colons_in_the_file_or_in_the_name_do_not_confuse_an_address(tmp_path: Path) -> None:
    path = tmp_path / "t:1.safetensors"
    layer = make_layer(2, 3, 1, 0, name="block:0")
    write(path, [layer], model="toy", source="a test")
    assert same(read_layer(f"{path}:block:0"), layer)
    assert same(read_layer(str(path)), layer)


def test_two_layers_of_one_name_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    layer = make_layer(2, 3, 1, 0)
    refused(
        path, "two layers are called test", lambda: write(path, [layer] * 2, model="", source="")
    )
    assert not path.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": np.array([[1, 2, 0]], np.int8)}, r"weight must be .* not 2 \(row 0, column 1"),
        ({"weight": np.array([[1, -128, 0]], np.int8)}, r"weight must be -1, 0 or 1, not -128"),
        ({"weight": np.zeros((2, 3), np.float32)}, "weight must be int8 .*not float32"),
        ({"weight": np.zeros(3, np.int8)}, "weight must be int8 with 2 dim.* with 1 dim"),
        ({"weight": np.zeros((0, 3), np.int8)}, r"weight has shape \(0, 3\).*at least 1"),
        ({"weight": np.zeros((2, 4), np.int8)}, "activation has 3 features, but weight has 4"),
        ({"weight": None}, "one of weight and weight_packed must be there, found neither"),
        ({"weight_packed": np.zeros((2, 1), np.uint8)}, "one of weight and .*found both"),
        ({"weight_scale": np.array([np.nan], np.float32)}, "weight_scale must be finite.*not nan"),
        ({"weight_scale": np.array([-1], np.float32)}, "weight_scale must be .*at least 0, not -1"),
        ({"weight_scale": np.array([1], np.float64)}, "weight_scale must be float32 .* float64"),
        ({"weight_scale": np.ones(2, np.float32)}, r"weight_scale must be .*shape \(1,\), not"),
        ({"weight_scale": None}, "no weight_scale"),
        ({"activation_scale": None}, "activation and activation_scale must both be there"),
        ({"activation": None}, "activation and activation_scale must both be there"),
        ({"activation_scale": np.array([np.inf], np.float32)}, "activation_scale must be finite"),
        ({"activation_scale": np.ones(2, np.float32)}, "2 values, but activation has 1 tokens"),
        (
            {"activation_scale": np.ones((1, 1), np.float32)},
            "activation_scale must be float32 with",
        ),
        ({"activation": np.zeros((1, 3), np.uint8)}, "activation must be int8 .*not uint8"),
        (
            {"activation": np.zeros((0, 3), np.int8), "activation_scale": np.ones(0, np.float32)},
            "activation has 0 tokens",
        ),
        ({"weight_latent": np.zeros((3, 2), np.float16)}, r"weight_latent has shape \(3, 2\)"),
        ({"weight_latent": np.full((2, 3), np.nan, np.float16)}, "weight_latent .*not finite"),
        ({"weight_latent": np.zeros((2, 3), np.float32)}, "weight_latent must be float16"),
        ({"bias": np.zeros(2, np.float32)}, "tensor 'a.bias' is not part of a trace"),
    ],
)
def test_a_layer_that_lies_is_refused_by_name(
    tmp_path: Path, changes: dict[str, NDArray[Any] | None], message: str
) -> None:
    path = tmp_path / "t.safetensors"
    tensors = {**stranger(), **{f"a.{key}": value for key, value in changes.items()}}
    save_file({key: value for key, value in tensors.items() if value is not None}, path, METADATA)
    refused(path, message, lambda: read_layer(str(path)))


@pytest.mark.parametrize(
    ("codes", "in_features", "message"),
    [
        ([[121], [243]], "3", r"weight_packed must be at most 242, not 243 \(row 1, byte 0\)"),
        ([[121], [122 + 27]], "3", r"non-zero trits beyond in_features \(row 1\)"),
        ([[121], [121]], "6", r"uint8 of shape \(out_features, 2\) for in_features = 6"),
        ([[121, 121], [121, 121]], "3", r"uint8 of shape \(out_features, 1\)"),
        ([[121], [121]], None, "needs the metadata in_features, a number, not None"),
        ([[121], [121]], "three", "needs the metadata in_features, a number, not 'three'"),
        ([[121], [121]], "-3", "needs the metadata in_features, a number, not '-3'"),
        ([[121], [121]], "4", "activation has 3 features, but weight has 4"),
        ([[], []], "0", "both sides must be at least 1"),
    ],
)
def test_packed_weights_that_lie_are_refused(
    tmp_path: Path, codes: list[list[int]], in_features: str | None, message: str
) -> None:
    path = tmp_path / "t.safetensors"
    metadata = METADATA if in_features is None else {**METADATA, "a.in_features": in_features}
    save_file(packed(codes), path, metadata)
    refused(path, message, lambda: read_layer(str(path)))


@pytest.mark.parametrize(
    "digits",
    [
        18,
        30,
        5000,
    ],
)
def test_an_absurd_in_features_is_refused(tmp_path: Path, digits: int) -> None:
    path = tmp_path / "t.safetensors"
    save_file(packed([[121], [121]]), path, {**METADATA, "a.in_features": "9" * digits})
    refused(path, "in_features", lambda: read_layer(str(path)))


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\u2028b"], ids=ascii)
def test_a_strange_name_does_not_break_the_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "t.safetensors"
    save_file({f"{name}.weight": np.zeros((1, 1), np.int8)}, path, METADATA)
    refused(path, "must be printable", lambda: read_layer(str(path)))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "metadata must have format = hwsim-trace, not None"),
        ({"format": "pt"}, "metadata must have format = hwsim-trace, not 'pt'"),
        ({"format": "hwsim-trace"}, "metadata must have version = 1, not None"),
        ({"format": "hwsim-trace", "version": "2"}, "metadata must have version = 1, not '2'"),
    ],
)
def test_another_format_or_version_is_refused(
    tmp_path: Path, metadata: dict[str, str] | None, message: str
) -> None:
    path = tmp_path / "t.safetensors"
    save_file(stranger(), path, metadata)
    refused(path, message, lambda: read(path))


@pytest.mark.parametrize("key", ["weight", ".weight", "a.", "a.b", "a.weights"])
def test_a_tensor_of_another_name_is_refused(tmp_path: Path, key: str) -> None:
    path = tmp_path / "t.safetensors"
    save_file({key: np.zeros((1, 1), np.int8)}, path, METADATA)
    refused(path, f"tensor '{key}' is not part of a trace; .*weight_packed", lambda: read(path))


def test_a_trace_without_layers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    save_file({}, path, METADATA)
    refused(path, "has no layers", lambda: read(path))


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 100, -1], ids=lambda kept: f"{kept} bytes")
def test_a_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "t.safetensors"
    save_file(stranger(), path, METADATA)
    path.write_bytes(path.read_bytes()[:kept])
    refused(path, "t.safetensors: ", lambda: read_layer(str(path)))


@pytest.mark.parametrize(
    "content", [b"\x80\x04K\x01.", b"hello, world" * 9, b"\xff" * 64, b"PK\x03\x04" + bytes(99)]
)
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.safetensors"
    path.write_bytes(content)
    refused(path, "not a readable safetensors file", lambda: read_layer(str(path)))


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3"])
def test_a_type_that_numpy_does_not_have_is_refused(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "t.safetensors"
    size = {"BF16": 2, "F8_E4M3": 1}[dtype]
    header = {
        "__metadata__": METADATA,
        "a.weight": {"dtype": dtype, "shape": [1, 1], "data_offsets": [0, size]},
    }
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(size))
    refused(path, f"layer a: weight .*{dtype}", lambda: read_layer(str(path)))


def test_a_folder_or_nothing_at_all_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "is not a file", lambda: read_layer(str(tmp_path)))
    path = tmp_path / "none.safetensors"
    refused(path, "no such file", lambda: read_layer(str(path)))
    refused(path, "no such file", lambda: read_layer(f"{path}:a"))


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.safetensors"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(InputError, match="is not a file"):
            read(path)


def test_a_tensor_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """As JSON allows it, and safetensors takes it if both are the same bytes."""
    metadata = '"__metadata__":{"format":"hwsim-trace","version":"1"}'
    weight = '"a.weight":{"dtype":"I8","shape":%s,"data_offsets":[0,2]}'
    scale = '"a.weight_scale":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}'
    entries = (metadata, weight % "[1,2]", weight % "[2,1]", scale)
    header = f"{{{','.join(entries)}}}".encode()
    file = tmp_path / "t.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(6))
    with pytest.raises(InputError, match=r"t.safetensors: 'a.weight' is there twice"):
        read(file)
