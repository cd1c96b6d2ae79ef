import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hwsim.config import TRITS_PER_BYTE
from hwsim.encoding import ENCODINGS

LEGAL = {"1bit": 256, "2bit": 3**4, "base3": 3**5}
VALUES = {"1bit": (-1, 1), "2bit": (-1, 0, 1), "base3": (-1, 0, 1)}


@pytest.mark.parametrize("name", list(ENCODINGS))
@given(data=st.data())
def test_unpack_gives_back_what_was_packed(name: str, data: st.DataObject) -> None:
    encoding = ENCODINGS[name]
    shape = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 23)))
    trits = data.draw(hnp.arrays(np.int8, shape, elements=st.sampled_from(VALUES[name])))
    packed = encoding.pack(trits)
    assert packed.dtype == np.uint8
    assert packed.shape == (shape[0], -(-shape[1] // TRITS_PER_BYTE[name]))
    assert packed.shape[1] == encoding.row_bytes(shape[1])
    unpacked = encoding.unpack(packed)
    assert unpacked.dtype == np.int8
    assert np.array_equal(unpacked[:, : shape[1]], trits)
    assert not encoding.illegal[packed].any()
    if name != "1bit":  # which has no zero to fill with
        assert not unpacked[:, shape[1] :].any()


@pytest.mark.parametrize("name", list(ENCODINGS))
def test_each_of_the_256_codes_is_either_illegal_or_one_of_its_trits(name: str) -> None:
    encoding = ENCODINGS[name]
    codes = np.arange(256, dtype=np.uint8)
    legal = codes[~encoding.illegal]
    assert len(legal) == LEGAL[name]
    assert np.array_equal(encoding.pack(encoding.trits_of[legal])[:, 0], legal)
    assert encoding.unpack(codes[:, None]).shape == (256, TRITS_PER_BYTE[name])
    words = itertools.product(VALUES[name], repeat=TRITS_PER_BYTE[name])
    assert {tuple(trits) for trits in encoding.trits_of[legal].tolist()} == set(words)


def test_illegal_codes_are_taken_as_zeros() -> None:
    assert ENCODINGS["2bit"].unpack(np.array([0b10_01_10_11], np.uint8)).tolist() == [-1, 0, 1, 0]
    assert not ENCODINGS["base3"].unpack(np.arange(243, 256, dtype=np.uint8)).any()


def test_base3_codes_five_zeros_as_121_and_the_first_trit_in_the_lowest_power() -> None:
    base3 = ENCODINGS["base3"]
    assert base3.pack(np.zeros((1, 5), np.int8)).tolist() == [[121]]
    assert base3.pack(np.array([1, 0, 0, 0, 0], np.int8)).tolist() == [122]
    assert base3.pack(np.array([0, 0, 0, 0, 1], np.int8)).tolist() == [121 + 81]
    assert base3.pack(np.full(5, -1, np.int8)).tolist() == [0]
    assert base3.pack(np.full(5, 1, np.int8)).tolist() == [242]


def test_the_first_trit_is_in_the_lowest_bits() -> None:
    assert ENCODINGS["2bit"].pack(np.array([1, -1, 0, 0], np.int8)).tolist() == [0b1101]
    assert ENCODINGS["1bit"].pack(np.array([-1] + [1] * 7, np.int8)).tolist() == [1]
