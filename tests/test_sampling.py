import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layers import make_layer
from strategies import FLOATS, LANE_FIELDS, arrays, examples

from hwsim import engines
from hwsim.config import ArrayConfig, preset
from hwsim.layer import Layer
from hwsim.operands import Operands, matches, operands_of
from hwsim.sampling import Sampled, counts_of, estimate, sample, sum_of_estimates

TINY = preset("tiny").replace(max_in_features=64)


def run(engine: str, config: ArrayConfig, layer: Layer, fed: Operands) -> Any:
    options = {"toggles": True} if engine == "fast" else {}
    done = engines.run(layer, config, engine=engine, operands=fed, **options)
    return done, matches(done.outputs, fed, config)


def sampled(layer: Layer, config: ArrayConfig, *, engine: str, **options: int) -> Sampled:
    fed = operands_of(layer, config)
    found = sample(
        layer, fed, config, functools.partial(run, engine, config), toggles=True, **options
    )
    assert found.checked
    return found


def full(layer: Layer, config: ArrayConfig, *, engine: str) -> Any:
    (counts,) = counts_of(run(engine, config, layer, operands_of(layer, config))[0]).values()
    return counts


def values(counts: Any) -> Any:
    """Return counts in place of their estimates, each of which has no width."""
    if isinstance(counts, list):
        return list(map(values, counts))
    if "confidence" in counts:
        assert counts["low"] == counts["value"] == counts["high"]
        return counts["value"]
    return {key: values(count) for key, count in counts.items()}


@examples(20)
@given(
    arrays(lanes=[*LANE_FIELDS, FLOATS]),
    st.tuples(st.integers(1, 40), st.integers(1, 30), st.integers(1, 9)),
)
def test_all_row_blocks_in_their_places_toggle_as_the_layer(
    config: ArrayConfig, shape: tuple[int, int, int]
) -> None:
    out, inp, tokens = shape
    layer = make_layer(
        *(out, inp, min(tokens, config.batch)),
        seed=1,
        zero=0.0 if config.weight_encoding == "1bit" else 0.4,
    )
    found = sampled(layer, config, engine="fast", row_blocks=1000, seed=0)
    assert found.row_blocks == found.of_row_blocks
    counts = values(found.counts)
    assert counts.pop("nonzero_macs") == np.count_nonzero(layer.weight) * layer.tokens
    assert counts == {"word_toggles": full(layer, config, engine="fast")}


@pytest.mark.parametrize("out", [16, 22])
def test_all_row_blocks_in_their_places_toggle_as_the_layer_in_gates(out: int) -> None:
    layer = make_layer(out, 20, 2, seed=4)
    found = sampled(layer, TINY, engine="gates", row_blocks=1000, seed=0)
    assert values(found.counts)["toggles"] == full(layer, TINY, engine="gates")


@pytest.mark.parametrize("engine", ["fast", "gates"])
def test_later_token_blocks_are_nearly_the_same(engine: str) -> None:
    layer = make_layer(30, 40, 3 * TINY.batch + 1, seed=5)
    found = sampled(layer, TINY, engine=engine, row_blocks=1000, seed=0)
    (counts,) = (
        values(found.counts)[key] for key in ("word_toggles", "toggles") if key in found.counts
    )
    expected = full(layer, TINY, engine=engine)
    assert counts["total"] == pytest.approx(expected["total"], rel=0.005)


@pytest.mark.parametrize(
    ("engine", "key", "out", "seeds"),
    [
        ("fast", "word_toggles", 80, 300),
        ("fast", "word_toggles", 78, 300),
        ("gates", "toggles", 78, 60),
    ],
)
def test_intervals_hold_the_full_run_about_as_often_as_they_say(
    engine: str, key: str, out: int, seeds: int
) -> None:
    layer = make_layer(out, 20, 2, seed=6)
    fed = operands_of(layer, TINY)
    expected = full(layer, TINY, engine=engine)
    runs: dict[bytes, Any] = {}

    def once(part: Layer, part_fed: Operands) -> Any:
        """Run every part once, however often it is chosen."""
        name = part_fed.weight.tobytes()
        if name not in runs:
            runs[name] = run(engine, TINY, part, part_fed)
        return runs[name]

    inside = {part: 0 for part in expected if part != "tree"}
    totals = []
    for seed in range(seeds):
        found = sample(layer, fed, TINY, once, row_blocks=6, seed=seed, toggles=True)
        assert found.checked
        assert found.row_blocks == 6 + (out == 78)
        totals.append(found.counts[key]["total"])
        for part in inside:
            interval = found.counts[key][part]
            inside[part] += interval["low"] <= expected[part] <= interval["high"]
    assert 0.9 * seeds < inside.pop("total") < seeds
    # Operands are the same for all row blocks but the first one: the sample has it, or no spread.
    for part in ("operands", "shared", "inputs"):
        inside.pop(part, None)
    assert min(inside.values()) > 0.85 * seeds
    # As wide as Student's t with five degrees of freedom has it: 2.57 deviations.
    estimates = [interval["value"] for interval in totals]
    widths = [interval["high"] - interval["value"] for interval in totals]
    assert 2.2 < np.mean(widths) / np.std(estimates) < 3
    assert np.mean(estimates) == pytest.approx(expected["total"], rel=0.003)


def test_an_estimate_is_what_can_be_done_in_the_head() -> None:
    # Mean 2, deviation 1, error 1/sqrt(3) x sqrt(1/2), t(2) = 4.3027
    found = estimate([1, 2, 3], population=5, always=10)
    assert found["value"] == 20
    assert found["high"] - 20 == pytest.approx(5 * 4.302653 / 3**0.5 / 2**0.5)
    assert found["low"] + found["high"] == pytest.approx(40)
    assert estimate([], population=0, always=7)["low"] == 7
    assert estimate([4], population=2)["high"] is None
    assert sum_of_estimates([found, estimate([4], population=2)])["low"] is None
    other = estimate([5, 7], population=2)
    both = sum_of_estimates([found, found, other])
    assert both["value"] == 52
    assert both["high"] - 52 == pytest.approx(2**0.5 * (found["high"] - 20))
