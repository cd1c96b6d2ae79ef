from dataclasses import replace
from importlib import resources

import numpy as np
import pytest
from numpy.typing import NDArray

from hwsim import trace
from hwsim.adder import DIGITS, Adder, held_out, held_out_questions, number, parse, reference
from hwsim.errors import InputError
from hwsim.layer import Layer

DATA = resources.files("hwsim.data")


@pytest.fixture(scope="module")
def adder() -> Adder:
    return Adder.load()


@pytest.fixture(scope="module")
def shipped() -> trace.Trace:
    return trace.read(str(DATA / "adder-trace.safetensors"))


def test_held_out_sums_come_out_right(adder):
    questions = held_out_questions(1000, seed=11)
    assert len(questions) == 1000
    assert all(held_out(*np.array([parse(question)]).T) for question in questions)
    right = sum(
        answer == sum(parse(question))
        for question, answer in zip(questions, adder.answers(questions), strict=True)
    )
    assert right >= 995


def test_held_out_does_not_depend_on_the_order_of_operands():
    first, second = np.random.default_rng(0).integers(0, 10**DIGITS, (2, 10_000))
    assert (held_out(first, second) == held_out(second, first)).all()
    assert 0.05 < held_out(first, second).mean() < 0.08


def test_one_digit_at_a_time_gives_the_same_as_a_batch(adder):
    questions = [*held_out_questions(20, seed=12), "0+0", "99999+99999", " 123 + 45 "]
    one_by_one = [number(adder.generate(question)) for question in questions]
    assert one_by_one == adder.answers(questions)
    assert one_by_one[-1] == adder.answer("123+45") == 168


def test_prompt_in_one_pass_then_one_token_per_step(adder):
    tokens = []

    def linear(layer: Layer) -> NDArray[np.int32]:
        if layer.name == "blocks.1.ffn.down":
            tokens.append(layer.tokens)
        return reference(layer)

    steps = adder.generate("123+45", linear)
    assert tokens == []
    assert next(steps) == 8
    assert tokens == [12]
    assert list(steps) == [6, 1, 0, 0, 0]
    assert tokens == [12, 1, 1, 1, 1, 1]


def test_every_linear_layer_goes_through_the_function(adder):
    seen = set()

    def linear(layer: Layer) -> NDArray[np.int32]:
        seen.add(layer.name)
        return reference(layer)

    adder.answer("1+1", linear)
    assert seen == set(adder.layers)


@pytest.mark.parametrize("name", ["blocks.0.attention.v", "blocks.1.ffn.up", "head"])
def test_wrong_sums_change_the_answer(adder, name):
    def linear(layer: Layer) -> NDArray[np.int32]:
        return -reference(layer) if layer.name == name else reference(layer)

    questions = held_out_questions(20, seed=13)
    assert adder.answers(questions, linear) != adder.answers(questions)


def test_widths_are_not_multiples_of_64(adder):
    assert len(adder.layers) > 6
    for layer in adder.layers.values():
        assert layer.in_features % 64
        assert layer.out_features % 64


def test_trace_holds_the_layers_of_the_model(adder, shipped):
    assert set(shipped.names) == set(adder.layers)
    for layer in shipped:
        own = adder.layers[layer.name]
        assert (layer.weight == own.weight).all()
        assert layer.weight_scale == own.weight_scale
        assert layer.tokens == 32


def test_trits_are_the_rounded_latent_weights(shipped):
    for layer in shipped:
        assert layer.weight_latent is not None
        latent = layer.weight_latent.astype(np.float32)
        assert layer.weight_scale == pytest.approx(np.abs(latent).mean())
        assert (layer.weight == np.clip(np.rint(latent / layer.weight_scale), -1, 1)).all()


def test_trace_is_what_answering_a_held_out_sum_gives(adder, shipped):
    seen: dict[str, Layer] = {}

    def linear(layer: Layer) -> NDArray[np.int32]:
        seen.setdefault(layer.name, layer)
        return reference(layer)

    adder.answer(held_out_questions(1, seed=1)[0], linear)
    for layer in shipped:
        first = seen[layer.name]
        # Another machine's matrix products may round a last bit otherwise.
        difference = first.activation.astype(int) - layer.activation[: first.tokens]
        assert np.abs(difference).max() <= 1


def test_files_are_small():
    files = ("adder.safetensors", "adder-trace.safetensors")
    assert sum(len((DATA / file).read_bytes()) for file in files) < 3_000_000


def test_reference_is_exact_at_the_extremes():
    weight = np.where(np.arange(4096) % 3, 1, -1).astype(np.int8)[None]
    activation = np.full((2, 4096), -128, np.int8)
    layer = Layer(name="x", weight=weight, weight_scale=1.0)
    layer = replace(layer, activation=activation, activation_scale=np.ones(2, np.float32))
    expected = activation.astype(np.int64) @ weight.T.astype(np.int64)
    assert reference(layer).dtype == np.int32
    assert (reference(layer) == expected).all()


@pytest.mark.parametrize(
    "question",
    ["", "1", "1+", "+1", "-1+2", "1.5+2", "1+2+3", "123456+1", "1+000001", "1 2+3", "a+b", "٣+٤"],
)
def test_bad_questions_are_refused(adder, question):
    with pytest.raises(InputError, match=r"^question must be two integers of 1 to 5 digits"):
        adder.generate(question)
    with pytest.raises(InputError, match=r", not '.*'$"):
        adder.answers(["1+1", question])
