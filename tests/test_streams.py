from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layers import make_layer
from strategies import FLOATS, LANE_FIELDS, arrays, examples

from hwsim import streams
from hwsim.config import ArrayConfig
from hwsim.engines import schedule_of
from hwsim.operands import operands_of, reference

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20))


@examples(60)
@given(arrays(lanes=[*LANE_FIELDS, FLOATS]), SHAPES, st.integers(1, 500))
def test_pieces_are_the_stream_and_not_larger_than_asked(
    config: ArrayConfig, shape: tuple[int, int, int], most: int
) -> None:
    layer = make_layer(*shape, seed=1, zero=0.0 if config.weight_encoding == "1bit" else 0.4)
    schedule, fed = schedule_of(layer, config), operands_of(layer, config)
    whole: dict[str, Any] = {
        "weight": streams.weight_words(fed.weight, schedule),
        "activation": streams.activation_words(fed.activation, schedule),
    }
    tiles = most // (config.rows * config.columns)
    tokens = most // layer.in_features
    words = {
        "weight": max(1, tiles) * config.tile_words,
        "activation": max(1, tokens) * schedule.token_activation_words,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "PIECE", most)
        pieces = {
            "weight": list(streams.weight_pieces(fed.weight, schedule)),
            "activation": list(streams.activation_pieces(fed.activation, schedule)),
        }
        results = streams.Results(schedule)
        sent = streams.result_words(reference(fed, config), schedule)
        places = iter(sent)
        for room in results:
            assert len(room) <= max(most, config.batch * config.rows)
            room[:] = [next(places) for _ in room]
    for port, expected in whole.items():
        assert np.array_equal(np.concatenate(pieces[port]), expected)
        assert max(map(len, pieces[port])) <= words[port]
    assert next(places, None) is None
    assert results.sums.dtype == reference(fed, config).dtype
    assert np.array_equal(results.sums, reference(fed, config), equal_nan=True)
