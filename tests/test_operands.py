import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layers import fixed_layer, make_layer
from layers import reference as integer_sums

from hwsim import operands
from hwsim.config import ArrayConfig
from hwsim.errors import InputError
from hwsim.operands import Kind, operands_of, reference

TERNARY = ArrayConfig(rows=2, columns=3)
INT8 = TERNARY.baseline("int8")
FP16 = TERNARY.baseline("fp16")


@pytest.mark.parametrize("config", [TERNARY, INT8], ids=["ternary", "int8"])
def test_integer_lanes_take_the_traces_own_integers(config: ArrayConfig) -> None:
    layer = make_layer(5, 7, 3, seed=1)
    operands = operands_of(layer, config)
    assert operands.source == "trace"
    assert operands.weight.dtype == np.int8
    assert np.array_equal(operands.weight, layer.weight)
    sums = reference(operands, config)
    assert sums.dtype == np.int32
    assert np.array_equal(sums, integer_sums(layer))


def test_fp16_rounds_the_product_of_value_and_scale_once() -> None:
    layer = fixed_layer(np.array([[-1, 0, 1]], np.int8), np.array([[-128, 3, 101]], np.int8))
    layer = replace(layer, weight_scale=0.1, activation_scale=np.array([0.0371], np.float32))
    operands = operands_of(layer, FP16)
    scale = float(np.float32(0.0371))
    assert operands.activation.tolist() == [[np.float16(x * scale) for x in (-128, 3, 101)]]
    weight_scale = float(np.float32(0.1))
    assert operands.weight.tolist() == [[np.float16(-weight_scale), 0, np.float16(weight_scale)]]


def test_full_operands_are_the_latent_weights() -> None:
    latent = np.array([[0.5, -1.0, 0.25], [0.0, 0.0, 0.0]], np.float16)
    layer = replace(
        fixed_layer(np.array([[1, -1, 0], [0, 0, 0]], np.int8), np.ones((1, 3), np.int8)),
        weight_latent=latent,
    )
    int8 = operands_of(layer, INT8, kind="full")
    assert int8.source == "latent"
    assert int8.weight.tolist() == [[64, -127, 32], [0, 0, 0]]  # 63.5 and 31.75, to even
    assert np.array_equal(operands_of(layer, FP16, kind="full").weight, latent)
    assert np.array_equal(operands_of(layer, TERNARY, kind="full").weight, layer.weight)


@pytest.mark.parametrize("config", [INT8, FP16], ids=["int8", "fp16"])
def test_without_latent_weights_they_are_seeded_with_the_same_absmean(config: ArrayConfig) -> None:
    layer = make_layer(200, 300, 1, seed=2)
    one, again, other = (operands_of(layer, config, kind="full", seed=s) for s in (1, 1, 2))
    assert one.source == "seeded"
    assert np.array_equal(one.weight, again.weight)
    assert not np.array_equal(one.weight, other.weight)
    if config is FP16:
        absmean = np.abs(one.weight.astype(float)).mean()
        assert absmean == pytest.approx(layer.weight_scale, rel=0.02)


@given(
    columns=st.integers(1, 9),
    in_features=st.integers(1, 20),
    bits=st.sampled_from([16, 32]),
    seed=st.integers(0, 2**32),
)
def test_fp16_sums_in_the_arrays_order(
    columns: int, in_features: int, bits: int, seed: int
) -> None:
    config = FP16.replace(columns=columns, accumulator_bits=bits)
    layer = make_layer(3, in_features, 2, seed)
    operands = operands_of(layer, config, kind="full", seed=seed)
    sums = reference(operands, config)
    assert sums.dtype == (np.float16 if bits == 16 else np.float32)

    def tree(values: list[np.float16]) -> np.float16:
        """Add by neighbours, one number after the other."""
        values += [np.float16(0)] * ((1 << (columns - 1).bit_length()) - len(values))
        while len(values) > 1:
            values = [a + b for a, b in zip(values[::2], values[1::2], strict=True)]
        return values[0]

    for token in range(2):
        for row in range(3):
            total = None
            for start in range(0, in_features, columns):
                block = slice(start, start + columns)
                products = operands.weight[row, block] * operands.activation[token, block]
                step = sums.dtype.type(tree(list(products)))
                total = step if total is None else total + step
            assert sums[token, row] == total


def test_zeros_and_missing_activations_are_refused() -> None:
    layer = fixed_layer(np.array([[1, -1], [1, 0]], np.int8), np.ones((1, 2), np.int8))
    signs = TERNARY.replace(weight_encoding="1bit")
    with pytest.raises(InputError, match=r"layer test: weight is 0 \(row 1, column 1\), which"):
        operands_of(layer, signs)
    bare = replace(layer, activation=None, activation_scale=None)
    with pytest.raises(InputError, match="layer test: has no activations"):
        operands_of(bare, TERNARY)


@pytest.mark.parametrize("config", [TERNARY, INT8, FP16], ids=["ternary", "int8", "fp16"])
@pytest.mark.parametrize("kind", ["trace", "full"])
def test_working_in_spans_changes_nothing(
    config: ArrayConfig, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = make_layer(13, 7, 3, seed=1)
    for full in (layer, replace(layer, weight_latent=layer.weight / np.float16(3))):
        whole = operands_of(full, config, kind=kind, seed=4)
        sums = reference(whole, config)
        with monkeypatch.context() as patch:
            patch.setattr(operands, "_SPAN", 20)
            parts = operands_of(full, config, kind=kind, seed=4)
            assert np.array_equal(parts.weight, whole.weight)
            assert np.array_equal(reference(parts, config), sums)


@pytest.mark.parametrize("lane", ["carry-fold", "int8", "fp16"])
def test_memory_beside_the_operands_does_not_grow_with_the_layer(lane: str) -> None:
    config = ArrayConfig(rows=64, columns=64).baseline(lane)
    layer = make_layer(4000, 4096, 2, seed=1)
    tracemalloc.start()
    fed = operands_of(layer, config, kind="full")
    held = 0 if fed.weight is layer.weight else fed.weight.nbytes
    if lane != "fp16":  # whose sums a span of rows would not save
        reference(fed, config)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A conversion takes a few numbers of 64 bits for each weight of a span.
    assert peak - held < 40 * operands._SPAN < 8 * layer.weight.size
