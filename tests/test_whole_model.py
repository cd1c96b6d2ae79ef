import json
import math
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from layers import make_layer

from hwsim import engines, operands, trace, whole_model
from hwsim.config import ArrayConfig, preset
from hwsim.errors import InputError
from hwsim.models import parse_config
from hwsim.predict import predict
from hwsim.whole_model import Plan, SeededSource, run_layer, run_model, sources_of_shape, summary

TINY = preset("tiny").replace(max_in_features=64)
PLAN = Plan(config=TINY, engine="rtl", check=True)
MODEL = parse_config(
    {
        "model_type": "llama", "hidden_size": 16, "intermediate_size": 24,
        "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
        "vocab_size": 32,
    },
    where="test",
)  # fmt: skip
SOURCES = sources_of_shape(MODEL, tokens=3, seed=5)


def without_times(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in r.items() if k != "engine_s"} for r in results]


def test_seeded_layers_have_the_models_shapes_and_zeros() -> None:
    assert [s.name for s in SOURCES[:3]] == ["blocks.0.q", "blocks.0.k", "blocks.0.v"]
    assert len(SOURCES) == 2 * 7
    weights = sum(s.load().weight.size for s in SOURCES)
    assert weights == MODEL.linear_weights
    large = SeededSource(
        name="x", out_features=500, in_features=600, tokens=50, zero_fraction=0.3, seed=1
    )
    layer = large.load()
    assert layer.zero_fraction == pytest.approx(0.3, abs=0.005)
    assert (layer.weight == 1).sum() == pytest.approx((layer.weight == -1).sum(), rel=0.02)
    assert layer.activation is not None
    assert layer.activation.std() == pytest.approx(32, rel=0.02)
    assert np.array_equal(layer.weight, large.load().weight)
    assert not np.array_equal(SOURCES[0].load().weight, SOURCES[7].load().weight)


def test_seeded_layers_are_made_in_the_memory_that_they_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    large = SeededSource(
        name="x", out_features=2001, in_features=4097, tokens=1, zero_fraction=0.3, seed=1
    )
    tracemalloc.start()
    layer = large.load()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < layer.weight.nbytes + 12 * operands._SPAN
    monkeypatch.setattr(operands, "_SPAN", 10 * layer.weight.size)
    assert np.array_equal(large.load().weight, layer.weight)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"tokens": 0}, "tokens must be at least 1"), ({"zero_fraction": 1.5}, "zero_fraction must")],
)
def test_numbers_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sources_of_shape(MODEL, **{"tokens": 1, **options})


def test_every_layer_is_run_and_the_sums_are_theirs() -> None:
    results = run_model(SOURCES, PLAN)
    assert [r["layer"]["name"] for r in results] == [s.name for s in SOURCES]
    whole = summary("tiny", results)
    assert whole["checked"] is True
    assert whole["activity"]["macs"] == MODEL.linear_weights * 3
    cycles = [
        predict(TINY, out_features=n.out_features, in_features=n.in_features, tokens=3).cycles.total
        for n in MODEL.linears
    ]
    assert whole["cycles"]["total"] == whole["predicted_cycles"] == 2 * sum(cycles)
    assert whole["energy_pj"]["core"]["total"] == pytest.approx(
        sum(r["energy_pj"]["core"]["total"] for r in results)
    )


def test_a_traces_layers_are_run_on_their_own_data() -> None:
    with resources.as_file(resources.files("hwsim.data") / "adder-trace.safetensors") as file:
        sources = whole_model.sources_of_trace(file, tokens=1)[:2]
        (first, second) = run_model(sources, Plan(config=ArrayConfig(), engine="rtl", check=True))
        layer = trace.read(file).layer(sources[1].name).take(1)
    alone = engines.run(layer, ArrayConfig(), engine="rtl")
    assert second["activity"] == alone.activity.as_dict()
    assert first["checked"]
    assert first["layer"]["name"] == sources[0].name


def test_any_executor_gives_the_same_results_in_the_same_order() -> None:
    with ThreadPoolExecutor(2) as executor:
        beside = run_model(SOURCES, PLAN, executor=executor)
    assert without_times(beside) == without_times(run_model(SOURCES, PLAN))


def test_an_interrupted_run_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def counted(source: whole_model.Source, plan: Plan) -> dict[str, Any]:
        if len(ran) == 3:
            raise KeyboardInterrupt
        ran.append(source.name)
        return run_layer(source, plan)

    monkeypatch.setattr(whole_model, "run_layer", counted)
    with pytest.raises(KeyboardInterrupt):
        run_model(SOURCES, PLAN, folder=tmp_path)
    monkeypatch.setattr(whole_model, "run_layer", run_layer)
    told: list[str] = []
    results = run_model(SOURCES, PLAN, folder=tmp_path, progress=told.append)
    assert told[:3] == ran
    assert sorted(told) == sorted(s.name for s in SOURCES)
    assert without_times(results) == without_times(run_model(SOURCES, PLAN))
    # Another plan has nothing to go on from.
    monkeypatch.setattr(whole_model, "run_layer", lambda source, plan: pytest.fail("ran again"))
    assert run_model(SOURCES, PLAN, folder=tmp_path) == results
    with pytest.raises(pytest.fail.Exception):
        run_model(SOURCES, Plan(config=TINY, engine="pysim"), folder=tmp_path)


def test_a_trace_that_has_changed_is_run_again(tmp_path: Path) -> None:
    file = tmp_path / "t.safetensors"
    for rows in (5, 9):
        layer = make_layer(rows, 11, 3, seed=rows, name="a")
        trace.write(file, [layer], model="test", source="test")
        (found,) = run_model(whole_model.sources_of_trace(file), PLAN, folder=tmp_path / "kept")
        assert found["layer"]["out_features"] == rows


def test_results_are_written_as_json_and_parquet(tmp_path: Path) -> None:
    content = summary("tiny", run_model(SOURCES[:2], PLAN))
    whole_model.write_results(tmp_path, content)
    assert json.loads((tmp_path / "results.json").read_text())["model"] == "tiny"
    table = pd.read_parquet(tmp_path / "layers.parquet")
    assert table["layer.name"].tolist() == ["blocks.0.q", "blocks.0.k"]
    assert table["cycles.total"].sum() == content["cycles"]["total"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["layers.parquet", "results.json"]


def test_a_kept_result_that_is_damaged_is_made_again(tmp_path: Path) -> None:
    (first,) = run_model(SOURCES[:1], PLAN, folder=tmp_path)
    (kept,) = (tmp_path / "layers").iterdir()
    written = kept.read_text()
    total = f'"total": {first["cycles"]["total"]}'
    assert total in written
    deep = "[" * 200_000
    for damage in ("", "[]", '{"result": 1}', written.replace(total, '"total": 1'), deep):
        kept.write_text(damage)
        (again,) = run_model(SOURCES[:1], PLAN, folder=tmp_path)
        assert again["cycles"] == first["cycles"]


class TestSample:
    SOURCE = SeededSource(
        name="x", out_features=78, in_features=20, tokens=2, zero_fraction=0.4, seed=3
    )

    def sampled(self, sample: int, seed: int) -> dict[str, Any]:
        plan = Plan(config=TINY, engine="rtl", check=True, sample=sample, seed=seed)
        return run_layer(self.SOURCE, plan)

    def test_all_row_blocks_are_the_layer_itself(self) -> None:
        full = run_layer(self.SOURCE, PLAN)
        sampled = self.sampled(1000, seed=0)
        assert sampled["sampled"]["row_blocks"] == 20
        assert sampled["cycles"] == full["cycles"]
        assert sampled["activity"] == full["activity"]
        interval = sampled["sampled"]["nonzero_macs"]
        assert interval["low"] == interval["high"] == full["activity"]["nonzero_macs"]

    def test_the_interval_holds_the_full_run_about_as_often_as_it_says(self) -> None:
        full = run_layer(self.SOURCE, PLAN)["activity"]
        inside = 0
        for seed in range(60):
            result = self.sampled(8, seed)
            assert result["checked"] is True
            assert result["activity"]["padded_macs"] == full["padded_macs"]
            interval = result["sampled"]["nonzero_macs"]
            inside += interval["low"] <= full["nonzero_macs"] <= interval["high"]
        assert 52 <= inside < 60

    def test_one_row_block_says_nothing_about_the_spread(self) -> None:
        interval = self.sampled(1, seed=0)["sampled"]["nonzero_macs"]
        assert interval["value"] > 0
        assert (interval["low"], interval["high"]) == (None, None)

    @pytest.mark.parametrize("engine", ["fast", "gates"])
    def test_toggles_of_a_model_are_sampled_and_added(self, engine: str) -> None:
        sources = [replace(self.SOURCE, name=name) for name in ("x", "y")]
        plan = Plan(config=TINY, engine=engine, toggles=engine == "fast", check=True)
        full, sampled = (
            summary("test", run_model(sources, p)) for p in (plan, replace(plan, sample=10))
        )
        name = "word_toggles" if engine == "fast" else "toggles"
        assert sampled["checked"] is True
        assert sampled["sampled"]["row_blocks"] == 2 * 11  # the last one is short
        assert sampled["sampled"]["of_row_blocks"] == 2 * 20
        assert sampled[name].keys() == full[name].keys()
        total = sampled["sampled"][name]["total"]
        assert total["low"] <= full[name]["total"] <= total["high"]
        assert total["high"] - total["low"] < full[name]["total"] / 10
        widths = [
            layer["sampled"][name]["total"]["high"] - layer["sampled"][name]["total"]["value"]
            for layer in sampled["layers"]
        ]
        assert total["high"] - total["value"] == pytest.approx(math.hypot(*widths))
        assert full[name]["total"] == sum(layer[name]["total"] for layer in full["layers"])
