from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from hwsim.compare import BASELINES, FORMATS, run
from hwsim.config import TERNARY_LANES, ArrayConfig, preset
from hwsim.energy import PICOJOULES, SCOPES, Rates, parts_of
from hwsim.energy_tables import EnergyTable
from hwsim.errors import InputError
from hwsim.grid import design_points
from hwsim.models import ZOO, ModelShape
from hwsim.workload import PHASES, Workload

ARRAY = preset("default-64x64")
RATES = Rates(table=EnergyTable.load(), memory="hbm2", extrapolate=True)
WORKLOADS = [
    Workload(phase=phase, tokens=tokens, context=context, batch_size=batch_size)
    for phase in PHASES
    for tokens, context, batch_size in ((1, 0, 1), (3, 10, 2), (17, 0, 1))
]
MODEL = ZOO["qwen2.5-1.5b"]


def check(
    point: dict[str, Any], array: ArrayConfig, baseline: str, model: ModelShape = MODEL
) -> None:
    """Compare a row of the frame with a run."""
    rates = replace(RATES, node=point["node"], memory=array.memory)
    work = Workload(**{n: point[n] for n in ("phase", "tokens", "context", "batch_size")})
    format = FORMATS[point["format"]]
    own = format.array(array, rates, baseline)
    result = run(model, format, own, work, rates, scope=point["scope"])
    assert point["energy_j"] == pytest.approx(result.energy.total_pj / PICOJOULES, rel=1e-12)
    assert point["per_token_j"] == pytest.approx(result.per_token_pj / PICOJOULES, rel=1e-12)
    assert point["cycles"] == result.cycles
    assert point["latency_s"] == pytest.approx(result.latency_s)
    assert point["tokens_per_s"] == pytest.approx(result.tokens_per_s)
    assert point["utilisation"] == pytest.approx(result.utilisation)
    assert point["weight_bytes"] == result.weight_bytes
    assert point["footprint_bytes"] == sum(result.footprint_bytes.values())
    assert point.get("rows", own.rows) == own.rows
    for part in parts_of("system"):
        joules = result.energy.parts.get(part, np.nan) / PICOJOULES
        assert point[f"{part}_j"] == pytest.approx(joules, nan_ok=True)


def test_every_point_is_what_one_run_gives() -> None:
    frame = design_points([MODEL], WORKLOADS, ARRAY, RATES)
    assert len(frame) == len(FORMATS) * 2 * len(SCOPES) * len(WORKLOADS)
    for point in frame.sample(40, random_state=1).to_dict("records"):
        check(point, ARRAY, "equal-peak")


arrays = st.builds(
    ArrayConfig,
    rows=st.integers(1, 1024),
    columns=st.integers(1, 1024),
    batch=st.integers(1, 300),
    lane=st.sampled_from(TERNARY_LANES),
    weight_encoding=st.sampled_from(["1bit", "2bit", "base3"]),
    weight_bus_bits=st.integers(1, 512).map(lambda n: 8 * n),
    activation_bus_bits=st.integers(1, 512).map(lambda n: 8 * n),
    result_bus_bits=st.integers(4, 512).map(lambda n: 8 * n),
    max_in_features=st.integers(1, 40_000),
    accumulator_bits=st.sampled_from([24, 28]),
    pipeline=st.sampled_from([0, 1, 3]),
    clock_mhz=st.floats(1, 3000),
    memory=st.sampled_from(["hbm2", "lpddr5"]),
)


@examples(12)
@given(
    given_arrays=st.lists(arrays, min_size=1, max_size=6),
    baseline=st.sampled_from(BASELINES),
    work=st.sampled_from(WORKLOADS),
    row=st.integers(0, 10_000),
)
def test_every_point_of_many_arrays_is_what_one_run_gives(
    given_arrays: list[ArrayConfig], baseline: str, work: Workload, row: int
) -> None:
    frame = design_points(
        [MODEL], [work, WORKLOADS[0]], given_arrays, RATES, nodes=["7nm"], baseline=baseline
    )
    assert len(frame) == 2 * len(given_arrays) * len(FORMATS) * len(SCOPES)
    assert set(frame["array"]) == set(range(len(given_arrays)))
    points = frame.to_dict("records")
    for at in (row, row + 1, 7 * row):
        point = points[at % len(points)]
        check(point, given_arrays[point["array"]], baseline)


def test_baselines_of_arrays_with_narrow_buses_have_wider_ones() -> None:
    narrow = ARRAY.replace(accumulator_bits=16, activation_bus_bits=8, result_bus_bits=16)
    given_arrays = [narrow, narrow.replace(activation_bus_bits=64, result_bus_bits=64)]
    model = replace(MODEL, hidden=64, ffn=96, head_dim=16, embedding_dim=64)
    frame = design_points([model], WORKLOADS[:1], given_arrays, RATES, nodes=["7nm"])
    for point in frame.to_dict("records"):
        check(point, given_arrays[point["array"]], "equal-peak", model)
    buses = {
        (name, array): tuple(map(int, found.iloc[0]))
        for (name, array), found in frame.groupby(["format", "array"])[
            ["activation_bus_bits", "result_bus_bits"]
        ]
    }
    assert buses["ternary", 0] == (8, 16)
    assert buses["fp16", 0] == (16, 16)
    assert buses["int8", 0] == (8, 32)
    assert buses["fp16", 1] == buses["int8", 1] == (64, 64)


def test_arrays_whose_memory_is_slow_are_points_too() -> None:
    slow = ARRAY.replace(weight_bandwidth_gb_s=5.0, batch=1)
    frame = design_points([MODEL], WORKLOADS[3:4], [ARRAY, slow], RATES, nodes=["7nm"])
    for point in frame[frame["scope"] == "system"].to_dict("records"):
        check(point, [ARRAY, slow][point["array"]], "equal-peak")
    by_array = frame[frame["format"] == "fp16"].groupby("array")["cycles"].max()
    assert by_array[1] > 10 * by_array[0]
    assert set(frame["weight_bandwidth_gb_s"].dropna()) == {5.0}


def test_fields_that_differ_are_columns() -> None:
    frame = design_points(
        [MODEL], WORKLOADS[:1], [ARRAY, ARRAY.replace(rows=32, memory="lpddr5")], RATES
    )
    fp16 = frame[(frame["format"] == "fp16") & (frame["scope"] == "system")]
    assert sorted(zip(fp16["array"], fp16["rows"], fp16["memory"], strict=True)) == [
        (0, 64, "hbm2"), (0, 64, "hbm2"), (1, 32, "lpddr5"), (1, 32, "lpddr5"),
    ]  # fmt: skip
    assert "columns" not in frame


def test_what_cannot_be_evaluated_is_refused() -> None:
    def points(array: ArrayConfig, **work: int) -> None:
        design_points([MODEL], [Workload(**work)], [ARRAY, array], RATES)

    with pytest.raises(InputError, match="lane int8: the array must be a ternary one"):
        points(ARRAY.baseline("int8"))
    with pytest.raises(InputError, match="which does not fit into accumulator_bits = 17"):
        points(ARRAY.replace(accumulator_bits=17))
    with pytest.raises(InputError, match="1000000000000 tokens are too many"):
        points(ARRAY, tokens=10**12)


@pytest.mark.slow
def test_a_hundred_thousand_points_are_one_frame() -> None:
    workloads = [
        Workload(phase=phase, tokens=tokens, context=context, batch_size=batch_size)
        for phase in PHASES
        for tokens in (1, 128, 512, 2048)
        for context in (0, 512, 4096, 32768)
        for batch_size in (1, 4, 16, 64)
    ]
    frame = design_points(ZOO.values(), [*workloads, *workloads[:6]], ARRAY, RATES)
    assert len(frame) > 100_000
    assert set(frame["model"]) == set(ZOO)
