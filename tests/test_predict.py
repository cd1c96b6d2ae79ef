from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import arrays

import hwsim.predict
from hwsim.activity import Cycles
from hwsim.config import ArrayConfig, preset
from hwsim.predict import predict, predict_cycles, timeline
from hwsim.schedule import Schedule


def loop(body: Callable[..., Any], sizes: Any, state: Any, tokens: int, times: int) -> Any:
    for _ in range(times):
        state = body(sizes, state, tokens)
    return state


def by_the_loop(schedule: Schedule) -> Cycles:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hwsim.predict, "repeat", loop)
        return predict_cycles(schedule)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Layers of many blocks; the last block of each loop may be short."""
    config = draw(arrays(most=20))
    rows, columns, tokens = (
        draw(st.integers(1, most)) * side - draw(st.integers(0, side - 1))
        for side, most in ((config.rows, 25), (config.columns, 12), (config.batch, 25))
    )
    return Schedule(config=config, out_features=rows, in_features=columns, tokens=tokens)


@settings(max_examples=200)
@given(schedules())
def test_the_shortcut_gives_what_the_loop_gives(schedule: Schedule) -> None:
    assert predict_cycles(schedule) == by_the_loop(schedule)


@settings(max_examples=200)
@given(schedules())
def test_causes_are_counts_and_sum_to_the_total(schedule: Schedule) -> None:
    cycles = predict_cycles(schedule)
    causes = cycles.as_dict()
    total = causes.pop("total")
    assert all(count >= 0 for count in causes.values())
    assert total == sum(causes.values())
    assert cycles.compute == schedule.row_blocks * schedule.column_blocks * schedule.tokens
    assert total >= max(schedule.weight_words, schedule.activation_words, schedule.result_words)


@settings(max_examples=100)
@given(schedules())
def test_the_timeline_adds_up(schedule: Schedule) -> None:
    slices = timeline(schedule)
    assert len(slices) == schedule.token_blocks * schedule.row_blocks
    assert sum(slices[1:], start=slices[0]) == predict_cycles(schedule)
    assert all(count >= 0 for cycles in slices for count in cycles.as_dict().values())


def test_the_timeline_of_some_tokens_is_the_start_of_that_of_more() -> None:
    """So that what an engine measures for the first tokens is measured for the picture, too."""
    shape = {"config": preset("default-16x16"), "out_features": 100, "in_features": 70}
    some, more = (timeline(Schedule(**shape, tokens=tokens)) for tokens in (16, 32))
    assert some[:-1] == more[: len(some) - 1]
    drained = some[-1] - more[len(some) - 1]
    assert drained.total == drained.fill_drain > 0


def test_the_shortcut_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    tile = hwsim.predict.tile

    def counted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        return tile(*args)

    monkeypatch.setattr(hwsim.predict, "tile", counted)
    activity = predict(ArrayConfig(), out_features=16_000, in_features=16, tokens=80_000)
    assert activity.cycles.compute == 1000 * 80_000
    assert calls < 1000  # of 10 million


@pytest.mark.parametrize(
    ("config", "steps"),
    [(preset("tiny"), 4 * 3 * 5), (ArrayConfig(rows=1, columns=1), 13 * 17 * 5)],
    ids=["tiny", "1x1"],
)
def test_counts_follow_from_the_shape(config: ArrayConfig, steps: int) -> None:
    activity = predict(config, out_features=13, in_features=17, tokens=5, nonzero=100)
    assert activity.macs == 13 * 17 * 5
    assert activity.nonzero_macs == 500
    assert activity.cycles.compute == steps
    assert activity.padded_macs == steps * config.rows * config.columns
    assert activity.accumulator_updates == steps * config.rows
    assert activity.activation_bits == 5 * 17 * 8
    assert activity.result_bits == 5 * 13 * 32
    assert activity.weight_tiles * config.batch >= steps
    assert activity.scales == 5 * (13 + 17)


def test_without_a_count_all_weights_are_nonzero() -> None:
    activity = predict(ArrayConfig(), out_features=3, in_features=4, tokens=5)
    assert activity.nonzero_macs == activity.macs == 60
