import signal
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layers import make_layer
from strategies import arrays, examples, memories

from hwsim import engines, parallel, split
from hwsim.activity import Cycles
from hwsim.config import ArrayConfig
from hwsim.engines import HardwareFault, schedule_of
from hwsim.engines.stalls import Stalls
from hwsim.errors import InputError
from hwsim.operands import matches, operands_of
from hwsim.predict import predict
from hwsim.split import executor_for, joined, run_split
from hwsim.toggles import Toggles

ARRAY = ArrayConfig(rows=3, columns=7, batch=2, max_in_features=64)
STALLS = st.builds(Stalls, st.sampled_from([0.0, 0.4]), st.integers(0, 99))


@examples(12)
@given(
    arrays(),
    memories(),
    st.tuples(st.integers(1, 40), st.integers(1, 30), st.integers(1, 8)),
    STALLS,
    st.data(),
)
def test_parts_are_runs_of_their_rows_and_joined_the_layer(
    config: ArrayConfig,
    memory: dict[str, Any],
    shape: tuple[int, int, int],
    stalls: Stalls,
    data: st.DataObject,
) -> None:
    config = config.replace(**memory)
    layer = make_layer(*shape, seed=1, zero=0.0 if config.weight_encoding == "1bit" else 0.4)
    count = data.draw(st.integers(1, schedule_of(layer, config).row_blocks))
    told: list[int] = []
    with ThreadPoolExecutor(2) as executor:
        parts = run_split(
            *(layer, config),
            engine="fast",
            parts=count,
            executor=executor,
            stalls=stalls,
            progress=told.append,
            toggles=True,
        )
    assert len(parts) == count
    assert [part.rows.start for part in parts[1:]] == [part.rows.stop for part in parts[:-1]]
    blocks = [-(-(part.rows.stop - part.rows.start) // config.rows) for part in parts]
    assert max(blocks) - min(blocks) <= 1
    whole = joined(parts)
    assert matches(whole.outputs, operands_of(layer, config), config)
    alone = [
        engines.run(
            replace(layer, weight=layer.weight[part.rows]),
            config,
            engine="fast",
            stalls=stalls,
            toggles=True,
        )
        for part in parts
    ]
    assert [part.run.activity for part in parts] == [run.activity for run in alone]
    for field in ("weight_bits", "nonzero_macs", "accumulator_updates"):
        counts = [getattr(run.activity, field) for run in alone]
        assert getattr(whole.activity, field) == sum(counts)
    assert whole.activity.macs == layer.weight.size * layer.tokens
    first, *others = [run.toggles for run in alone]
    assert isinstance(first, Toggles)
    assert whole.toggles == sum(others, first)
    assert told[-1] == whole.activity.cycles.compute
    if not stalls.rate:
        for part in parts:
            expected = predict(
                config.for_in_features(layer.in_features),
                out_features=part.rows.stop - part.rows.start,
                in_features=layer.in_features,
                tokens=layer.tokens,
            )
            assert part.predicted == part.run.activity.cycles == expected.cycles


@pytest.mark.parametrize("engine", ["rtl", "pysim"])
@pytest.mark.parametrize("stalls", [Stalls(), Stalls(0.4, 1)], ids=str)
def test_engines_agree_on_parts(engine: str, stalls: Stalls) -> None:
    layer = make_layer(14, 17, 3, seed=2)
    with executor_for(engine, 2) as executor:
        assert isinstance(executor, ProcessPoolExecutor) == (engine == "pysim")
        parts = run_split(layer, ARRAY, parts=3, executor=executor, engine=engine, stalls=stalls)
    with executor_for("fast", 1) as executor:
        same = run_split(layer, ARRAY, parts=3, executor=executor, engine="fast", stalls=stalls)
    for part, other in zip(parts, same, strict=True):
        assert part.run.activity == other.run.activity
        assert np.array_equal(part.run.outputs, other.run.outputs)


def test_a_part_is_held_against_its_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Cycles(compute=1, weight_stall=0, activation_stall=0, result_stall=0, fill_drain=0)
    monkeypatch.setattr(split, "predict_cycles", lambda schedule: wrong)
    with (
        executor_for("fast", 1) as executor,
        pytest.raises(HardwareFault, match=r"layer test: rows 0 to 2 took \d+ cycles, not the 1 p"),
    ):
        run_split(make_layer(6, 5, 1, seed=1), ARRAY, parts=2, executor=executor, engine="fast")


def test_a_part_that_fails_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    def run(part: Any, config: Any, *, progress: Any, **options: Any) -> None:
        if part.name == "test[0:3]":
            raise HardwareFault("the first")
        try:
            while True:
                progress(0)
        except InterruptedError:
            ended.append(part.name)

    monkeypatch.setattr(engines, "run", run)
    with executor_for("rtl", 2) as executor, pytest.raises(HardwareFault, match="the first"):
        run_split(make_layer(9, 5, 1, seed=1), ARRAY, parts=3, executor=executor)
    assert ended
    assert set(ended) <= {"test[3:6]", "test[6:9]"}


@pytest.mark.parametrize("parts", [0, 4])
def test_there_are_no_more_parts_than_row_blocks(parts: int) -> None:
    with (
        executor_for("fast", 1) as executor,
        pytest.raises(InputError, match="layer test: has 3 row blocks; it cannot be split into"),
    ):
        run_split(make_layer(9, 5, 1, seed=1), ARRAY, parts=parts, executor=executor)


def test_an_interrupt_ends_processes_at_once() -> None:
    with parallel.Processes(1) as pool:
        assert pool.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_DFL
