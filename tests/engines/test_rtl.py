import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layers import make_layer
from strategies import examples, memories

from hwsim import streams
from hwsim.config import ArrayConfig
from hwsim.engines import rtl, run, schedule_of
from hwsim.engines.lanes import Lanes
from hwsim.engines.ports import Stimulus
from hwsim.engines.stalls import Stalls
from hwsim.native import CompilerError
from hwsim.operands import matches, operands_of
from hwsim.predict import predict_cycles

SHAPES: dict[str, dict[str, Any]] = {
    # More rows than a vector has elements, and ports of several words.
    "carry-fold": {"rows": 17, "columns": 20},
    "negate": {"rows": 3, "columns": 5, "pipeline": 0},
    "grouped": {"rows": 18, "columns": 7, "group": 3, "pipeline": 2},
    "int8": {"rows": 2, "columns": 9},
    "fp16": {"rows": 17, "columns": 3},
}


def is_right(config: ArrayConfig) -> bool:
    layer = make_layer(2 * config.rows + 1, 3 * config.columns - 1, 5, seed=1)
    result = run(layer, config, engine="rtl")
    return matches(result.outputs, operands_of(layer, config), config)


@pytest.mark.parametrize("lane", SHAPES)
def test_lanes_side_by_side_compute_what_each_would(lane: str) -> None:
    assert is_right(ArrayConfig(lane=lane, batch=2, **SHAPES[lane]))


def test_copies_of_the_operands_go_to_their_rows() -> None:
    assert is_right(ArrayConfig(rows=20, columns=4, batch=2, broadcast_rows=5))


PIECES = ArrayConfig(rows=3, columns=5, batch=2, result_bus_bits=40, max_in_features=64)


@examples(12)
@given(
    memory=memories(),
    shape=st.tuples(st.integers(1, 20), st.integers(1, 40), st.integers(1, 9)),
    stalls=st.builds(Stalls, st.sampled_from([0.0, 0.3, 0.8]), st.integers(0, 99)),
    most=st.integers(1, 200),
)
def test_pieces_change_no_cycle(
    memory: dict[str, Any], shape: tuple[int, int, int], stalls: Stalls, most: int
) -> None:
    config = PIECES.replace(**memory)
    layer = make_layer(*shape, seed=most)
    whole = run(layer, config, engine="fast", stalls=stalls)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "PIECE", most)
        result = run(layer, config, engine="rtl", stalls=stalls)
    assert np.array_equal(result.outputs, whole.outputs)
    assert result.activity == whole.activity
    if not stalls.rate:
        assert result.activity.cycles == predict_cycles(schedule_of(layer, config))


@pytest.mark.parametrize("most", [1, 40])
@pytest.mark.parametrize("stalls", [Stalls(), Stalls(0.5, 3)], ids=str)
def test_pieces_change_no_cycle_of_pysim(
    most: int, stalls: Stalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = make_layer(8, 21, 5, seed=3)
    whole = run(layer, PIECES, engine="pysim", stalls=stalls)
    monkeypatch.setattr(streams, "PIECE", most)
    for engine in ("pysim", "rtl"):
        result = run(layer, PIECES, engine=engine, stalls=stalls)
        assert np.array_equal(result.outputs, whole.outputs)
        assert result.activity == whole.activity


def test_memory_does_not_grow_with_the_layer() -> None:
    config = PIECES.replace(rows=64, columns=64, max_in_features=4096)
    layer = make_layer(20_000, 640, 1, seed=1)
    stimulus = Stimulus(schedule=schedule_of(layer, config), operands=operands_of(layer, config))
    sizes = []
    tracemalloc.start()
    for words in stimulus.weights():
        sizes.append(words.nbytes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(sizes) > 5
    assert peak < 10 * streams.PIECE < 2 * layer.weight.nbytes


def changed(modules: Any, before: str, after: str) -> Any:
    """Give the first cell of a type in a lane another type."""
    cells = modules["hwsim_lane"]["cells"].values()
    next(cell for cell in cells if cell["type"] == before)["type"] = after
    return modules


@pytest.mark.parametrize(("before", "after"), [("$add", "$sub"), ("$neg", "$not")])
def test_one_wrong_cell_is_noticed(
    before: str, after: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def wrong(modules: Any, **names: str) -> Lanes:
        return Lanes(changed(modules, before, after), **names)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(rtl, "Lanes", wrong)
    config = ArrayConfig(rows=3, columns=4, batch=2, lane="negate")
    rtl._load.cache_clear()
    assert not is_right(config)
    rtl._load.cache_clear()


def test_a_cell_without_a_translation_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def wrong(modules: Any, **names: str) -> Lanes:
        return Lanes(changed(modules, "$add", "$div"), **names)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(rtl, "Lanes", wrong)
    with pytest.raises(CompilerError, match=r"no translation of a cell \$div"):
        is_right(ArrayConfig(rows=3, columns=4, batch=2, pipeline=3))
