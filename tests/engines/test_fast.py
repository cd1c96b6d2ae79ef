from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from layers import make_layer
from numpy.typing import NDArray
from strategies import FLOATS, LANE_FIELDS, arrays, examples, memories
from vcd.reader import TokenKind, tokenize

from hwsim import operands
from hwsim.config import ArrayConfig
from hwsim.engines import fast, run, schedule_of
from hwsim.engines.control import Control
from hwsim.engines.ports import Stimulus
from hwsim.engines.stalls import Stalls
from hwsim.engines.words import Words
from hwsim.layer import Layer
from hwsim.operands import operands_of
from hwsim.predict import predict_cycles
from hwsim.toggles import Toggles

ALL_LANES = [*LANE_FIELDS, FLOATS]
SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 20), st.integers(1, 8))
STALLS = st.builds(Stalls, st.sampled_from([0.0, 0.1, 0.5, 0.8]), st.integers(0, 2**32))


def layer_for(config: ArrayConfig, shape: tuple[int, int, int], seed: int) -> Layer:
    return make_layer(*shape, seed, zero=0.0 if config.weight_encoding == "1bit" else 0.4)


def stimulus_of(layer: Layer, config: ArrayConfig, stalls: Stalls) -> Stimulus:
    return Stimulus(
        schedule=schedule_of(layer, config), operands=operands_of(layer, config), stalls=stalls
    )


@examples(10)
@given(arrays(lanes=ALL_LANES), memories(), SHAPES, STALLS)
def test_fast_and_pysim_agree_cycle_for_cycle(
    config: ArrayConfig, memory: dict[str, Any], shape: tuple[int, int, int], stalls: Stalls
) -> None:
    config = config.replace(**memory)
    layer = layer_for(config, shape, stalls.seed)
    simulated = run(layer, config, engine="pysim", stalls=stalls)
    result = run(layer, config, engine="fast", stalls=stalls)
    assert result.activity == simulated.activity
    assert result.outputs.dtype == simulated.outputs.dtype
    assert np.array_equal(result.outputs, simulated.outputs, equal_nan=config.lane == "fp16")


@settings(max_examples=200)
@given(arrays(most=20), memories(), st.data())
def test_the_state_machine_takes_the_cycles_that_are_predicted(
    config: ArrayConfig, memory: dict[str, Any], data: st.DataObject
) -> None:
    limited = data.draw(st.booleans())
    config = config.replace(max_in_features=512, **memory if limited else {})
    rows, columns, tokens = (
        data.draw(st.integers(1, 8 * side)) for side in (config.rows, config.columns, config.batch)
    )
    layer = layer_for(config, (rows, columns, tokens), 0)
    stimulus = stimulus_of(layer, config, Stalls())
    control = Control(stimulus)
    logged = sum(map(len, control))
    assert control.cycles == predict_cycles(stimulus.schedule)
    assert control.cycles.total == logged
    assert control.weight_words == stimulus.schedule.weight_words
    assert control.activation_words == stimulus.schedule.activation_words


def waveforms(file: Path, cycles: int) -> dict[str, list[int]]:
    """Return what the signals of a run hold in every cycle: before its rising clock edge."""
    names = defaultdict(list)
    scope: list[str] = []
    now: dict[str, int] = {}
    waves: dict[str, list[int]] = defaultdict(list)
    pending: dict[str, int] = {}
    with open(file, "rb") as stream:
        for token in tokenize(stream):
            if token.kind is TokenKind.SCOPE:
                scope.append(token.scope.ident)
            elif token.kind is TokenKind.UPSCOPE:
                scope.pop()
            elif token.kind is TokenKind.VAR:
                names[token.var.id_code].append(".".join([*scope[2:], token.var.ref_str]))
            elif token.kind is TokenKind.CHANGE_TIME:
                (clock,) = [code for code, known in names.items() if "clk" in known]
                if pending.get(clock) and len(waves["clk"]) < cycles:
                    for code, known in names.items():
                        for name in known:
                            waves[name].append(now.get(code, 0))
                now |= pending
                pending = {}
            elif token.kind in (TokenKind.CHANGE_SCALAR, TokenKind.CHANGE_VECTOR):
                change = token.data
                pending[change.id_code] = int(change.value)
    return waves


def joined(words: NDArray[np.generic], widths: list[int]) -> list[int]:
    """Join words, the first one lowest, in every cycle: (cycles, words) to wide numbers."""
    places = np.cumsum([0, *widths[:-1]]).tolist()
    return [
        sum(int(word) << place for word, place in zip(line, places, strict=True)) for line in words
    ]


def level_name(config: ArrayConfig, level: int) -> str:
    if level == 0 and config.lane != "carry-fold":
        return "term"
    return f"level{level + (config.lane in ('carry-fold', 'grouped'))}"


@examples(6)
@given(config=arrays(most=5, lanes=ALL_LANES), memory=memories(), shape=SHAPES, stalls=STALLS)
# Six terms: the last sums lack some of theirs, and the last term lacks columns.
@example(
    config=ArrayConfig(rows=2, columns=16, batch=2, lane="carry-fold"),
    memory={},
    shape=(5, 32, 3),
    stalls=Stalls(),
)
def test_registers_hold_what_those_of_the_hardware_do(
    tmp_path_factory: pytest.TempPathFactory,
    config: ArrayConfig,
    memory: dict[str, Any],
    shape: tuple[int, int, int],
    stalls: Stalls,
) -> None:
    config = config.replace(max_in_features=32, **memory)
    layer = layer_for(config, shape, stalls.seed)
    trace = fast.registers(stimulus_of(layer, config, stalls))
    file = tmp_path_factory.mktemp("waves") / "run.vcd"
    total = run(layer, config, engine="pysim", stalls=stalls, vcd=file).activity.cycles.total
    waves = waveforms(file, total)

    for stage in range(1, config.step_latency):
        assert waves[f"core.valid_{stage}"] == trace[f"valid_{stage}"].tolist()
    widths = trace["operand_bits"].tolist()
    assert waves["core.lane_0.operands"] == joined(trace["operands"], widths)
    code_bits = [config.weight_bits * (config.group or 1)] * trace["weights"].shape[1]
    levels = sum(name.startswith("level") for name in trace)
    for row in range(config.rows):
        lane = f"core.lane_{row}"
        assert waves[f"{lane}.weights"] == joined(trace["weights"][:, :, row], code_bits)
        for level in range(levels):
            words, owed = trace[f"level_{level}"], trace[f"owed_{level}"]
            name = level_name(config, level)
            result = "_result" if config.lane == "fp16" and not level else ""
            for node in range(words.shape[1]):
                assert waves[f"{lane}.{name}_{node}{result}"] == words[:, node, row].tolist()
            for node in range(owed.shape[1]):
                assert waves[f"{lane}.{name}_{node}_1"] == owed[:, node, row].tolist()
    for word, copy in product(range(2 * config.batch), range(config.operand_copies)):
        first = copy * config.operand_rows
        rows = trace["bank"][:, word, first : first + config.operand_rows]
        sums = joined(rows, [config.accumulator_bits] * rows.shape[1])
        assert waves[f"core.accumulators.memory_{copy}[{word}]"] == sums


def changes(words: NDArray[np.generic]) -> int:
    """Count the bits that change from cycle to cycle."""
    return int(np.bitwise_count(words[1:] ^ words[:-1]).sum())


@settings(max_examples=60)
@given(arrays(lanes=ALL_LANES), SHAPES, STALLS)
def test_toggles_are_the_changes_of_the_registers(
    config: ArrayConfig, shape: tuple[int, int, int], stalls: Stalls
) -> None:
    layer = layer_for(config, shape, stalls.seed)
    trace = fast.registers(stimulus_of(layer, config, stalls))
    levels = sum(name.startswith("level") for name in trace)
    expected = Toggles(
        operands=config.operand_copies * changes(trace["operands"]),
        weights=changes(trace["weights"]),
        tree=tuple(
            changes(trace[f"level_{level}"]) + changes(trace[f"owed_{level}"])
            for level in range(levels)
        ),
        accumulators=changes(trace["bank"]),
    )
    result = run(layer, config, engine="fast", stalls=stalls, toggles=True)
    assert result.toggles == expected
    plain = run(layer, config, engine="fast", stalls=stalls)
    assert plain.toggles is None
    assert np.array_equal(result.outputs, plain.outputs, equal_nan=config.lane == "fp16")


def test_fp16_rounds_as_numpy_does() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    config = ArrayConfig(rows=4, columns=2, batch=2, lane="fp16", max_in_features=1 << 16)
    rng = np.random.default_rng(0)
    weight = rng.permuted(np.tile(every, (3, 1)), axis=1)
    activation = rng.permuted(np.tile(every, (2, 1)), axis=1)
    for bits_ in (16, 32):
        array = config.replace(accumulator_bits=bits_)
        # Short layers, or every sum would be a NaN.
        for start in range(0, 1 << 16, 1 << 11):
            part = slice(start, start + 4)
            fed = operands.Operands(
                weight=weight[:, part], activation=activation[:, part], source="trace"
            )
            sums = run(make_layer(3, 4, 2, 0), array, engine="fast", operands=fed).outputs
            assert np.array_equal(sums, operands.reference(fed, array), equal_nan=True)


def test_every_weight_of_fp16_is_read_as_it_is() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    config = ArrayConfig(rows=64, columns=1, batch=1, lane="fp16")
    one = np.ones((1, 1), np.float16)
    fed = operands.Operands(weight=every[:, None], activation=one, source="trace")
    sums = run(make_layer(1 << 16, 1, 1, 0), config, engine="fast", operands=fed).outputs
    assert np.array_equal(sums[0], every, equal_nan=True)


@pytest.mark.parametrize("lane", ["carry-fold", "grouped", "int8", "fp16"])
def test_weights_that_fill_their_tiles_are_not_copied(lane: str) -> None:
    config = ArrayConfig(rows=4, columns=8).baseline(lane)
    layer = make_layer(8, 16, 1, seed=0)
    fed = operands_of(layer, config)
    made = Words(schedule_of(layer, config), fed)._layer
    assert np.shares_memory(made.weight, fed.weight)
    assert np.shares_memory(made.stored, fed.weight)


def test_toggles_add() -> None:
    one = Toggles(operands=1, weights=2, tree=(3, 4), accumulators=5)
    both = one + Toggles(operands=10, weights=20, tree=(30,), accumulators=50)
    assert both == Toggles(operands=11, weights=22, tree=(33, 4), accumulators=55)
    assert both.total == 11 + 22 + 33 + 4 + 55
    assert both.as_dict()["tree"] == [33, 4]


@pytest.mark.parametrize("shape", [(48, 64, 3), (33, 50, 5), (5, 7, 2)])
@pytest.mark.parametrize("encoding", ["1bit", "base3"])
@pytest.mark.parametrize("lane", ["carry-fold", "grouped"])
def test_tiles_read_in_squares_are_those_read_number_by_number(
    lane: str, encoding: str, shape: tuple[int, int, int]
) -> None:
    config = ArrayConfig(rows=16, columns=32, batch=2, lane=lane, weight_encoding=encoding)
    layer = layer_for(config, shape, seed=3)
    words = Words(schedule_of(layer, config), operands_of(layer, config))
    assert words._core.squares
    in_squares, sums = words.toggles()
    words._core = words._core._replace(squares=False)
    by_number, same_sums = words.toggles()
    assert in_squares == by_number
    assert np.array_equal(sums, same_sums)
    assert np.array_equal(sums, operands.reference(operands_of(layer, config), config))


@pytest.mark.parametrize("rows", [1, 3])
def test_sums_of_floats_are_the_same_in_spans(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ArrayConfig(rows=rows, columns=5, batch=2).baseline("fp16")
    layer = make_layer(11, 13, 3, seed=4)
    monkeypatch.setattr(fast, "_SPAN", 2 * rows * 13)
    made: list[int] = []

    class Noted(Words):
        def __init__(self, schedule: Any, fed: Any):
            made.append(schedule.out_features)
            super().__init__(schedule, fed)

    monkeypatch.setattr(fast, "Words", Noted)
    result = run(layer, config, engine="fast")
    height = 2 * rows
    spans = [height] * (11 // height) + [11 % height]
    assert made[-len(spans) :] == spans
    assert operands.matches(result.outputs, operands_of(layer, config), config)
