"""What hypothesis draws: arrays of all widths."""

from hypothesis import strategies as st

from hwsim.config import ArrayConfig


def arrays(*, most: int = 9) -> st.SearchStrategy[ArrayConfig]:
    """Return arrays of up to `most` rows, columns and tokens a batch, awkward buses included."""
    return st.builds(
        ArrayConfig,
        rows=st.integers(1, most),
        columns=st.integers(1, most),
        batch=st.integers(1, most),
        weight_bus_bits=st.sampled_from([8, 16, 24, 64, 128]),
        activation_bus_bits=st.sampled_from([8, 16, 24, 64, 128]),
        result_bus_bits=st.sampled_from([32, 40, 64, 96, 128]),
        accumulator_bits=st.sampled_from([17, 24, 32]),
        pipeline=st.integers(0, 4),
        max_in_features=st.just(128),
    )
