"""What hypothesis draws: arrays of all widths."""

from typing import Any

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


def _array(lane: dict[str, Any], **fields: Any) -> ArrayConfig:
    if lane["lane"] == "int8":
        fields |= {"weight_encoding": None, "accumulator_bits": 32}
    return ArrayConfig(**lane, **fields)


def arrays(*, most: int = 9) -> st.SearchStrategy[ArrayConfig]:
    """Return arrays of up to `most` rows, columns and tokens a batch, awkward buses included."""
    return st.builds(
        _array,
        lane=st.sampled_from(LANE_FIELDS),
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
