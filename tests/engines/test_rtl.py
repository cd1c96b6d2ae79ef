from pathlib import Path
from typing import Any

import pytest
from layers import make_layer

from hwsim.config import ArrayConfig
from hwsim.engines import rtl, run
from hwsim.engines.lanes import Lanes
from hwsim.native import CompilerError
from hwsim.operands import matches, operands_of

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
