from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toytable import load_toy

from hwsim.compare import (
    BASELINES,
    FORMATS,
    compare,
    footprint_bytes,
    run,
    summary,
    waterfall,
)
from hwsim.config import ArrayConfig, preset
from hwsim.energy import SCOPES, Rates, parts_of
from hwsim.energy_tables import EnergyTable
from hwsim.errors import InputError
from hwsim.models import ZOO, ModelShape, find_model
from hwsim.workload import PHASES, Workload, attention_macs, vector_ops

TABLE = EnergyTable.load()
RATES = Rates(table=TABLE, memory="hbm2")
ARRAY = preset("default-64x64")
BITNET = ZOO["bitnet-b1.58-2b-4t"]

TOY = ModelShape(  # one block: q, o 2 x 2; k, v 1 x 2; up 3 x 2; down 2 x 3
    name="toy",
    source="here",
    hidden=2,
    ffn=3,
    layers=1,
    heads=2,
    kv_heads=1,
    head_dim=1,
    vocab=5,
    embedding_dim=2,
    gated=False,
    activation="relu",
    rotary=False,
)


class TestByHand:
    """Energies of 1 pJ an INT8 add, 3 an FP16 add, 10 an FP16 mul."""

    @pytest.fixture
    def toy(self, tmp_path) -> Rates:
        return Rates(table=load_toy(tmp_path), node="toy", memory="hbm2")

    def test_arithmetic(self, toy) -> None:
        result = run(TOY, FORMATS["ternary"], ARRAY, Workload(tokens=2), toy, scope="arithmetic")
        macs = 2 * (4 + 4 + 2 + 2 + 6 + 6)
        attention = 2 * 2 * 2 * 2  # scores and values, two dimensions, two tokens, two keys
        assert result.energy.linear_add == macs * 1
        assert result.energy.scales == 2 * (4 + 4 + 3 + 3 + 5 + 5) * 10
        assert result.energy.attention_mul == attention * 10
        assert result.energy.attention_add == attention * 3
        assert result.per_token_pj == result.energy.total_pj / 2

    def test_system(self, toy) -> None:
        work = Workload(phase="decode", tokens=2, context=1, batch_size=3)
        result = run(TOY, FORMATS["fp16"], ARRAY.replace(**FP16), work, toy, scope="system")
        # In each of two passes the head's 5 x 2 weights are read once and used by 3 sequences.
        assert result.energy.lm_head == 2 * (10 * 16 * 3 + 3 * 10 * (10 + 3))
        # Two values for each key: reads of 2, then 3 entries, writes of 1 and 1, 3 sequences
        assert result.energy.kv_dram == 3 * (2 + 3 + 1 + 1) * 2 * 16 * 3
        without = run(
            TOY,
            FORMATS["fp16"],
            ARRAY.replace(**FP16),
            replace(work, lm_head=False),
            toy,
            scope="system",
        )
        assert without.energy.lm_head == 0

    def test_vector(self) -> None:
        ops = vector_ops(TOY, Workload(tokens=2))
        normed, activated, scores, added = 2 * (4 + 2), 2 * 3, 4 * 2, 2 * 4
        assert ops.mul == 3 * normed + 4 * scores
        assert ops.add == normed + activated + 5 * scores + added

    def test_footprint(self) -> None:
        work = Workload(tokens=2, context=1, batch_size=3)
        parts = footprint_bytes(TOY, FORMATS["ternary_2bit"], ARRAY.replace(**TWO_BIT), work)
        assert parts == {
            "weights": 2 + 2 + 1 + 1 + 3 + 2,  # rows are packed by themselves
            "scales": 6 * 2,
            "embedding": 20,
            "lm_head": 20,
            "norms": 2 * (2 * 2 + 2),
            "kv_cache": 3 * 3 * 2 * 2,
        }
        tied = replace(TOY, tied=True)
        half = replace(work, head_bits=8)
        parts = footprint_bytes(tied, FORMATS["fp16"], ARRAY.replace(**FP16), half)
        assert (parts["weights"], parts["embedding"], parts["lm_head"]) == (48, 10, 0)
        parts = footprint_bytes(TOY, FORMATS["w4a16"], ARRAY.replace(**FP16), half)
        assert (parts["weights"], parts["scales"]) == (
            2 + 2 + 1 + 1 + 3 + 4,
            2 * (2 + 2 + 1 + 1 + 5),
        )
        assert (parts["embedding"], parts["lm_head"]) == (20, 10)

    def test_expanded_weights_are_read_small(self) -> None:
        array = ArrayConfig.make(rows=2, columns=5, batch=2, lane="fp16")
        model = replace(TOY, hidden=130, heads=130, kv_heads=130, ffn=1)
        result = run(model, FORMATS["w4a16"], array, Workload(tokens=3), RATES, scope="core")
        # 130 x 130: 65 x 26 tiles of 2 rows of 3 bytes, 130 rows with 2 scales; two token blocks
        square = 2 * (65 * 26 * 2 * 3 + 130 * 2 * 2)
        up = 2 * (1 * 26 * 2 * 3 + 1 * 2 * 2)
        down = 2 * (65 * 1 * 2 * 3 + 130 * 2)
        assert result.weight_bytes == 4 * square + up + down
        fp16 = run(model, FORMATS["fp16"], array, Workload(tokens=3), RATES, scope="core")
        assert result.cycles == fp16.cycles
        groups = 3 * (4 * 130 * 2 + 2 + 130)
        pj = TABLE.row("7nm", "mul", "fp16").converted()
        assert result.energy.linear_mul - fp16.energy.linear_mul == pytest.approx(groups * pj)


FP16 = {"lane": "fp16", "weight_encoding": None}
TWO_BIT = {"weight_encoding": "2bit"}


class TestWorkload:
    def test_keys(self) -> None:
        assert Workload(tokens=512).keys_attended == 512 * 512
        assert Workload(tokens=4, causal=True).keys_attended == 1 + 2 + 3 + 4
        assert Workload(tokens=4, context=10, batch_size=2).keys_attended == 2 * 4 * 14
        assert Workload(phase="decode", tokens=3, context=10).keys_attended == 11 + 12 + 13

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"phase": "train"}, "phase 'train': no such phase; known: prefill, decode"),
            ({"tokens": 0}, "tokens must be at least 1, not 0"),
            ({"context": -1}, "context must be at least 0, not -1"),
            ({"batch_size": 0}, "batch_size must be at least 1"),
            ({"head_bits": 4}, "head_bits must be 8 or 16, not 4"),
        ],
    )
    def test_refuses(self, fields, message: str) -> None:
        with pytest.raises(InputError, match=message):
            Workload(**fields)


shapes = st.builds(
    lambda hidden, ffn, kv_heads, groups, head_dim, **fields: ModelShape(
        name="m",
        source="s",
        hidden=hidden,
        ffn=ffn,
        heads=kv_heads * groups,
        kv_heads=kv_heads,
        head_dim=head_dim,
        embedding_dim=hidden,
        vocab=7,
        **fields,
    ),
    hidden=st.integers(1, 200),
    ffn=st.integers(1, 200),
    kv_heads=st.integers(1, 3),
    groups=st.integers(1, 3),
    head_dim=st.integers(1, 20),
    layers=st.integers(1, 3),
    gated=st.booleans(),
    tied=st.booleans(),
    inner_norms=st.booleans(),
)
workloads = st.builds(
    Workload,
    phase=st.sampled_from(PHASES),
    tokens=st.integers(1, 20),
    context=st.integers(0, 20),
    batch_size=st.integers(1, 4),
)


@settings(deadline=None, max_examples=30)
@given(model=shapes, work=workloads)
def test_arithmetic_is_the_published_method(model: ModelShape, work: Workload) -> None:
    int8, add, mul = (
        TABLE.row("7nm", *what).converted()
        for what in (("add", "int8"), ("add", "fp16"), ("mul", "fp16"))
    )
    macs = work.new_tokens * model.linear_weights
    sides = sum(linear.in_features + linear.out_features for linear in model.linears)
    attention = attention_macs(model, work) * (add + mul)
    results = compare(model, ARRAY, work, RATES, scope="arithmetic")
    assert results["fp16"].energy.total_pj == pytest.approx(macs * (add + mul) + attention)
    assert results["ternary"].energy.total_pj == pytest.approx(
        macs * int8 + work.new_tokens * model.layers * sides * mul + attention
    )


@settings(deadline=None, max_examples=20)
@given(model=shapes, work=workloads, baseline=st.sampled_from(BASELINES))
def test_properties_of_all_formats(model: ModelShape, work: Workload, baseline: str) -> None:
    array = ARRAY.replace(rows=24, columns=16, batch=3)
    totals = []
    for scope in SCOPES:
        results = compare(model, array, work, RATES, scope=scope, baseline=baseline)
        totals.append({name: result.energy.total_pj for name, result in results.items()})
    for name, result in results.items():
        assert totals[0][name] <= totals[1][name] <= totals[2][name]
        assert list(result.energy.parts) == list(parts_of("system"))
        footprint = result.footprint_bytes
        # No weight is read less than once, and nothing is faster than its bounds.
        assert result.weight_bytes >= work.passes * (footprint["weights"])
        bounds = {k: v for k, v in result.bounds_s.items() if k != "memory"}
        assert max(bounds.values()) <= result.latency_s
        assert 0 < result.utilisation <= 1
        room = sum(footprint.values())
        assert result.largest_batch(room) == work.batch_size
        assert result.largest_batch(room - 1) == work.batch_size - 1
    assert results["ternary"].bill == results["ternary_base3"].bill


@settings(deadline=None, max_examples=10)
@given(model=shapes, tokens=st.integers(2, 6), context=st.integers(0, 9))
def test_decoding_is_a_sum_over_tokens(model: ModelShape, tokens: int, context: int) -> None:
    def totals(tokens: int, context: int) -> tuple[float, int]:
        work = Workload(phase="decode", tokens=tokens, context=context)
        result = run(model, FORMATS["ternary"], ARRAY, work, RATES, scope="system")
        return result.energy.total_pj, result.cycles

    alone = [totals(1, context + k) for k in range(tokens)]
    together = totals(tokens, context)
    assert together[0] == pytest.approx(sum(pj for pj, _ in alone))
    assert together[1] == sum(cycles for _, cycles in alone)


def test_equal_area_gives_the_baselines_fewer_rows() -> None:
    results = compare(BITNET, ARRAY, Workload(), RATES, baseline="equal-area")
    rows = {name: result.array.rows for name, result in results.items()}
    assert rows["ternary"] == rows["ternary_2bit"] == 64
    assert rows["fp16"] == rows["w4a16"] == 64 * 585 // 11660
    assert rows["int8"] == 64 * 585 // 4330
    with pytest.raises(InputError, match="no row for area ternary at 45nm"):
        compare(BITNET, ARRAY, Workload(), Rates(table=TABLE, node="45nm"), baseline="equal-area")
    with pytest.raises(InputError, match="baseline 'fair': not known"):
        compare(BITNET, ARRAY, Workload(), RATES, baseline="fair")


def test_where_the_published_ratio_goes() -> None:
    """A whole model has about 4.5, since its LM head is not ternary."""
    work = Workload(phase="decode", tokens=1)
    results = compare(BITNET, ARRAY, work, RATES, scope="system")
    steps = waterfall(results["fp16"], results["ternary"])
    assert [step.part for step in steps][1:] == [*parts_of("system")[2:]]
    assert len({step.cause for step in steps}) == len(steps) - 1  # attention has two parts
    assert steps[0].ratio == pytest.approx(71.4, abs=0.05)
    total = results["fp16"].energy.total_pj / results["ternary"].energy.total_pj
    assert steps[-1].ratio == pytest.approx(total)
    assert total == pytest.approx(4.5, abs=0.2)
    # Without the head it comes close to the ratio of the weights' bits.
    work = replace(work, lm_head=False)
    results = compare(BITNET, ARRAY, work, RATES, scope="system")
    linear = results["fp16"].energy.weights_dram / results["ternary"].energy.weights_dram
    assert linear == pytest.approx(16 / 1.6, rel=0.02)


def test_footprint_of_a_checkpoint() -> None:
    """2B4T: 417 to 521 MB of trits, a head of 657 MB, and 77 kB a token of context."""
    results = compare(BITNET, ARRAY, Workload(tokens=1), RATES)
    base3, two_bit = (results[f"ternary_{e}"].footprint_bytes for e in ("base3", "2bit"))
    assert round(base3["weights"] / 1e6) == 417
    assert round(two_bit["weights"] / 1e6) == 521
    assert round(base3["embedding"] / 1e6) == 657
    assert base3["kv_cache"] == 76_800


def test_a_baseline_cannot_be_the_array() -> None:
    with pytest.raises(InputError, match="lane int8: the array must be a ternary one"):
        compare(BITNET, ARRAY.replace(lane="int8", weight_encoding=None), Workload(), RATES)


def test_a_measured_board_streams_what_its_array_says() -> None:
    """bitnet-kv260 (open RTL): 4 rows of 80 trits in 16 bytes each, decoding BitNet 2B4T.

    Its row of 2560 trits takes 32 beats of 16 bytes, one of 6912 takes 87: 417.5 MB a token.
    """
    array = ArrayConfig.make(
        rows=4, columns=80, batch=1, weight_encoding="base3", weight_bus_bits=512, clock_mhz=250
    )
    work = Workload(phase="decode", tokens=1)
    result = run(
        find_model("bitnet-b1.58-2b-4t"), FORMATS["ternary"], array, work, RATES, scope="core"
    )
    rows_2560 = 2 * 2560 + 2 * 640 + 2 * 6912
    assert result.weight_bytes == 30 * 16 * (rows_2560 * 32 + 2560 * 87)


def test_summary_is_consistent() -> None:
    results = compare(BITNET, ARRAY, Workload(), RATES, scope="system")
    found = summary(results)
    assert not found["as_if"]
    assert summary(compare(ZOO["llama-3.2-1b"], ARRAY, Workload(), RATES))["as_if"]
    for result in found["formats"].values():
        assert sum(result["parts_j"].values()) == pytest.approx(result["total_j"])
        low, high = result["total_j_interval"]
        assert low <= result["total_j"] <= high
        assert set(result["parts_kind"]) >= {p for p, joules in result["parts_j"].items() if joules}
    low, high = found["ratio_fp16_over_ternary_interval"]
    assert low < found["ratio_fp16_over_ternary"] < high
    assert found["formats"]["ternary"]["parts_kind"]["linear_add"] == "published"
    assert found["formats"]["ternary"]["parts_kind"]["registers"] == "derived"


def test_what_has_no_row_is_said() -> None:
    old = Rates(table=TABLE, node="45nm", memory="hbm2")
    found = summary(compare(BITNET, ARRAY, Workload(), old, scope="system"))
    assert found["formats"]["ternary"]["parts_j"]["leakage"] == 0
    assert "leakage: there is no row for it at 45nm" in found["not_modelled"]
    assert not any(
        "row" in line for line in summary(compare(BITNET, ARRAY, Workload(), old))["not_modelled"]
    )
