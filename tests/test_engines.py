from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layers import fixed_layer, make_layer, reference
from strategies import arrays, examples, memories

from hwsim import operands, streams
from hwsim.config import ArrayConfig, preset
from hwsim.engines import ENGINES, HardwareFault, Run, ports, pysim, rtl, run
from hwsim.engines.ports import HardwareHang, Stimulus
from hwsim.engines.stalls import Stalls
from hwsim.errors import InputError
from hwsim.layer import Layer
from hwsim.operands import operands_of
from hwsim.predict import predict
from hwsim.schedule import Schedule
from hwsim.streams import Words

# Each is compiled once in a session; layers that are longer than a buffer would make a new one.
ONE = ArrayConfig(rows=1, columns=1, batch=1, weight_bus_bits=8, max_in_features=64)
ODD = ArrayConfig(
    rows=3,
    columns=7,
    batch=5,
    weight_bus_bits=16,
    activation_bus_bits=24,
    result_bus_bits=40,
    accumulator_bits=17,
    pipeline=2,
    max_in_features=64,
)
TINY = preset("tiny").replace(result_bus_bits=64, max_in_features=64)
FOLDED = TINY.replace(lane="carry-fold", weight_encoding="base3", columns=9)
PAIRS = TINY.replace(lane="grouped", rows=3, columns=13, weight_bus_bits=24)
INTEGERS = TINY.baseline("int8")
FLOATS = ArrayConfig(rows=2, columns=3, batch=2, lane="fp16", pipeline=2, max_in_features=64)
COMPILED = pytest.mark.parametrize(
    "config",
    [ONE, ODD, TINY, FOLDED, PAIRS, INTEGERS, FLOATS],
    ids=["1x1", "3x7", "4x8", "carry-fold", "grouped", "int8", "fp16"],
)
EVERY = pytest.mark.parametrize("engine", list(ENGINES))
ON_WORDS = pytest.mark.parametrize("engine", ["pysim", "rtl"])  # fast never sees a code


def predicted(layer: Layer, config: ArrayConfig) -> Any:
    return predict(
        config,
        out_features=layer.out_features,
        in_features=layer.in_features,
        tokens=layer.tokens,
        nonzero=int(np.count_nonzero(layer.weight)),
    )


def zeros(config: ArrayConfig) -> float:
    """Return a share of zero trits that the array's encoding can hold."""
    return 0.0 if config.weight_encoding == "1bit" else 0.4


def right(layer: Layer, config: ArrayConfig, result: Run) -> bool:
    expected = reference(layer)
    if config.lane == "fp16":
        expected = operands.reference(operands_of(layer, config), config)
    return result.outputs.dtype == expected.dtype and np.array_equal(result.outputs, expected)


def stimulus_of(layer: Layer, config: ArrayConfig) -> Stimulus:
    schedule = Schedule(
        config=config,
        out_features=layer.out_features,
        in_features=layer.in_features,
        tokens=layer.tokens,
    )
    return Stimulus(schedule=schedule, operands=operands_of(layer, config))


def tampered(stimulus: Stimulus, **words: Words) -> Stimulus:
    """Return a stimulus whose words are not those of its operands."""
    other = replace(stimulus)
    # In place of the methods that give them.
    vars(other).update({port: partial(iter, [given]) for port, given in words.items()})
    return other


@examples(12)
@given(
    config=arrays(),
    out=st.integers(1, 20),
    inp=st.integers(1, 24),
    tokens=st.integers(1, 12),
    seed=st.integers(0, 2**32),
)
def test_pysim_computes_what_numpy_does_in_the_cycles_that_are_predicted(
    config: ArrayConfig, out: int, inp: int, tokens: int, seed: int
) -> None:
    layer = make_layer(out, inp, tokens, seed, zero=zeros(config))
    result = run(layer, config, engine="pysim")
    assert right(layer, config, result)
    assert result.activity == predicted(layer, config)


@examples(8)
@given(
    config=arrays(most=6),
    out=st.integers(1, 14),
    inp=st.integers(1, 14),
    tokens=st.integers(1, 8),
    seed=st.integers(0, 2**32),
    rate=st.sampled_from([0.1, 0.5, 0.8]),
)
def test_pysim_computes_what_numpy_does_when_its_ports_wait(
    config: ArrayConfig, out: int, inp: int, tokens: int, seed: int, rate: float
) -> None:
    layer = make_layer(out, inp, tokens, seed, zero=zeros(config))
    result = run(layer, config, engine="pysim", stalls=Stalls(rate, seed))
    assert right(layer, config, result)
    counts, expected = result.activity, predicted(layer, config)
    assert counts.cycles.compute == expected.cycles.compute
    assert counts.cycles.total >= expected.cycles.total
    assert replace(counts, cycles=expected.cycles) == expected


@COMPILED
@pytest.mark.parametrize("stalls", [Stalls(), Stalls(0.3, 1), Stalls(0.8, 2)], ids=str)
def test_rtl_and_pysim_agree_cycle_for_cycle(config: ArrayConfig, stalls: Stalls) -> None:
    for seed, shape in enumerate([(1, 1, 1), (3, 7, 5), (4, 8, 2), (7, 15, 6)]):
        layer = make_layer(*shape, seed)
        compiled = run(layer, config, engine="rtl", stalls=stalls)
        simulated = run(layer, config, engine="pysim", stalls=stalls)
        assert right(layer, config, compiled)
        assert np.array_equal(simulated.outputs, compiled.outputs)
        assert simulated.activity == compiled.activity


@COMPILED
@examples(10)
@given(
    memory=memories(),
    shape=st.tuples(st.integers(1, 30), st.integers(1, 64), st.integers(1, 12)),
    stalls=st.sampled_from([Stalls(), Stalls(0.3, 1)]),
)
def test_rtl_and_fast_agree_whatever_the_memory(
    config: ArrayConfig, memory: dict[str, Any], shape: tuple[int, int, int], stalls: Stalls
) -> None:
    layer = make_layer(*shape, seed=sum(shape))
    limited = config.replace(**memory)
    result = run(layer, limited, engine="rtl", stalls=stalls)
    assert right(layer, config, result)
    assert result.activity == run(layer, limited, engine="fast", stalls=stalls).activity
    if not stalls.rate:
        assert result.activity == predicted(layer, limited)
        assert result.activity.cycles.total >= predicted(layer, config).cycles.total


@COMPILED
@settings(max_examples=100)
@given(shape=st.tuples(st.integers(1, 40), st.integers(1, 64), st.integers(1, 30)))
def test_rtl_computes_what_numpy_does_in_the_cycles_that_are_predicted(
    config: ArrayConfig, shape: tuple[int, int, int]
) -> None:
    layer = make_layer(*shape, seed=sum(shape))
    result = run(layer, config, engine="rtl")
    assert right(layer, config, result)
    assert result.activity == predicted(layer, config)
    waiting = run(layer, config, engine="rtl", stalls=Stalls(0.4, shape[0]))
    assert right(layer, config, waiting)


@EVERY
@pytest.mark.parametrize("trit", [-1, 0, 1])
@pytest.mark.parametrize("value", [-128, 127])
def test_extremes_are_summed_exactly(engine: str, trit: int, value: int) -> None:
    layer = fixed_layer(np.full((4, 64), trit, np.int8), np.full((6, 64), value, np.int8))
    result = run(layer, ODD, engine=engine)
    assert np.array_equal(result.outputs, np.full((6, 4), 64 * trit * value))


def test_the_longest_layer_that_an_accumulator_allows_is_summed_exactly() -> None:
    config = ArrayConfig(rows=2, columns=8, accumulator_bits=16, max_in_features=256)
    for trit in (-1, 1):
        layer = fixed_layer(np.full((2, 255), trit, np.int8), np.full((1, 255), -128, np.int8))
        result = run(layer, config, engine="pysim")
        assert result.outputs.tolist() == [[-128 * 255 * trit] * 2]


@pytest.mark.parametrize(("encoding", "code"), [("2bit", 0b10 << 4), ("base3", 243)])
@pytest.mark.parametrize("module", [pysim, rtl], ids=["pysim", "rtl"])
def test_an_illegal_weight_code_raises_the_error_flag(
    module: ModuleType, encoding: str, code: int
) -> None:
    config = ODD.replace(weight_encoding=encoding)
    layer = make_layer(3, 7, 2, seed=0)
    stimulus = stimulus_of(layer, config)
    assert not module.run(stimulus).error
    (weights,) = stimulus.weights()
    weights[1, 0] = code
    observed = module.run(tampered(stimulus, weights=weights))
    assert observed.error
    assert observed.result_words == stimulus.schedule.result_words  # it goes on, with zeros


@ON_WORDS
def test_an_illegal_weight_code_is_reported_with_its_place(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = make_layer(6, 7, 2, seed=0)
    (weights,) = stimulus_of(layer, ODD).weight_pieces()
    weights[ODD.tile_words + 1, 0] = 0xAA
    monkeypatch.setattr(streams, "weight_words", lambda *_: weights)
    with pytest.raises(HardwareFault, match=r"layer test: illegal .* 0xaa in tile 1, row 1$"):
        run(layer, ODD, engine=engine)


def test_a_layer_that_the_array_cannot_run_is_refused() -> None:
    layer = make_layer(2, 300, 1, seed=0)
    with pytest.raises(InputError, match=r"layer test: 300 inputs .* accumulator_bits = 16"):
        run(layer, ArrayConfig(accumulator_bits=16), engine="pysim")
    with pytest.raises(
        InputError, match="engine must be one of pysim, rtl, fast, gates, not 'verilator'"
    ):
        run(layer, ONE, engine="verilator")
    bare = replace(layer, activation=None, activation_scale=None)
    with pytest.raises(InputError, match="layer test: has no activations"):
        run(bare, preset("tiny"), engine="pysim")


@EVERY
def test_a_buffer_that_is_too_short_grows(engine: str) -> None:
    config = ODD.replace(max_in_features=16)
    layer = make_layer(4, 50, 3, seed=1)  # grows to 64: the buffer of ODD
    result = run(layer, config, engine=engine)
    assert right(layer, config, result)
    assert result.activity == predicted(layer, ODD)


@pytest.mark.parametrize(("rate", "seed"), [(-0.1, 0), (1.0, 0), (float("nan"), 0), (0.5, -1)])
def test_stalls_out_of_range_are_refused(rate: float, seed: int) -> None:
    with pytest.raises(InputError, match=r"^stall-(rate|seed) must be [^\n]*$"):
        Stalls(rate, seed)


def test_fp16_keeps_signed_zeros_infinities_and_nans() -> None:
    config = FLOATS.replace(columns=3)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 6e-8, 65504, 1], np.float16)
    weight = np.array(np.meshgrid(special, special)).reshape(2, -1).T.copy()  # 64 rows of 2
    activation = np.array([[1, 1], [-1, 0], [0, -1], [np.inf, 1]], np.float16)
    fed = operands.Operands(weight=weight, activation=activation, source="trace")
    layer = make_layer(64, 2, 4, seed=0)
    result = run(layer, config, engine="rtl", operands=fed)
    expected = operands.reference(fed, config)
    nan = np.isnan(expected)
    assert nan.any()
    assert np.array_equal(np.isnan(result.outputs), nan)
    assert (result.outputs[nan].view(np.uint16) == 0x7E00).all()
    same = result.outputs.view(np.uint16) == expected.view(np.uint16)
    assert (same | nan).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lane", "rows", "columns"),
    [("negate", 64, 64), ("carry-fold", 5, 64), ("grouped", 64, 64), ("int8", 64, 3)],
)
def test_large_arrays_compute_what_numpy_does(lane: str, rows: int, columns: int) -> None:
    config = ArrayConfig(rows=rows, columns=columns, batch=3, max_in_features=256).baseline(lane)
    layer = make_layer(150, 200, 5, seed=rows)
    result = run(layer, config, engine="rtl")
    assert right(layer, config, result)
    assert result.activity == predicted(layer, config)


@pytest.mark.parametrize("module", [pysim, rtl], ids=["pysim", "rtl"])
def test_an_engine_gives_up_when_nothing_moves(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "PATIENCE_CYCLES", 50)
    stimulus = stimulus_of(make_layer(3, 7, 2, seed=0), ODD)
    (activations,) = stimulus.activations()
    starved = tampered(stimulus, activations=activations[:-1])
    with pytest.raises(HardwareHang, match="no transfer since cycle"):
        module.run(starved)
