"""What hypothesis draws: arrays of all widths."""

import os
from collections.abc import Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from hwsim.config import ArrayConfig

LANE_FIELDS: list[dict[str, Any]] = [
    {"lane": "negate"},
    {"lane": "carry-fold"},
    {"lane": "grouped", "group": 2},
    {"lane": "grouped", "group": 3},
    {"lane": "int8"},
]
"""All lanes whose sums are integers."""


FLOATS: dict[str, Any] = {"lane": "fp16"}


def examples(count: int) -> settings:
    """Ask for so many slow examples; ``HWSIM_EXAMPLES=5`` makes them 5 times as many."""
    return settings(max_examples=count * int(os.environ.get("HWSIM_EXAMPLES", "1")))


def _array(lane: dict[str, Any], **fields: Any) -> ArrayConfig:
    if lane["lane"] in ("int8", "fp16"):
        fields |= {"weight_encoding": None, "accumulator_bits": 32}
    if lane["lane"] == "fp16":
        fields["activation_bus_bits"] *= 2
    return ArrayConfig(**lane, **fields)


def arrays(
    *, most: int = 9, lanes: Sequence[dict[str, Any]] = LANE_FIELDS
) -> st.SearchStrategy[ArrayConfig]:
    """Return arrays of up to `most` rows, columns and tokens a batch, awkward buses included."""
    return st.builds(
        _array,
        lane=st.sampled_from(lanes),
        rows=st.integers(1, most),
        columns=st.integers(1, most),
        batch=st.integers(1, most),
        weight_bus_bits=st.sampled_from([8, 16, 24, 64, 128]),
        activation_bus_bits=st.sampled_from([8, 16, 24, 64, 128]),
        result_bus_bits=st.sampled_from([32, 40, 64, 96, 128]),
        accumulator_bits=st.sampled_from([17, 24, 32]),
        weight_encoding=st.sampled_from(["1bit", "2bit", "base3"]),
        pipeline=st.integers(0, 4),
        broadcast_rows=st.sampled_from([None, 1, 4]),
        max_in_features=st.just(128),
    )


def memories() -> st.SearchStrategy[dict[str, Any]]:
    """Return memory systems, most of which keep ports waiting, as fields of an `ArrayConfig`."""
    bandwidth = st.one_of(st.none(), st.floats(0.3, 4))
    return st.fixed_dictionaries(
        {
            "weight_bandwidth_gb_s": bandwidth,
            "activation_bandwidth_gb_s": bandwidth,
            "result_bandwidth_gb_s": bandwidth,
            "burst_bytes": st.sampled_from([1, 5, 8, 64]),
            "memory_latency_cycles": st.sampled_from([0, 3, 50]),
        }
    )
