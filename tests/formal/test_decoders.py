"""Decoders and recoders over all codes there are."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from netlists import Netlist

from hwsim.config import ArrayConfig
from hwsim.encoding import ENCODINGS
from hwsim.groups import patterns
from hwsim.rtl.decoder import DECODERS
from hwsim.rtl.lanes import LANES, Recoder

CODES = np.arange(1 << 16, dtype=np.uint16)  # all words of two bytes


def bits_of(values: np.ndarray, width: int) -> np.ndarray:
    return values[..., None] >> np.arange(width) & 1


def evaluated(
    component: wiring.Component, words: np.ndarray, folder: Path
) -> dict[str, np.ndarray]:
    """Return each output's bits, shape (words, bits), for all input words."""
    netlist = Netlist(component, words=len(words) // 64, folder=folder)
    (planes,) = netlist.inputs.values()
    packed = np.packbits(bits_of(words, len(planes)).astype(np.uint8), axis=0, bitorder="little")
    planes[:] = np.ascontiguousarray(packed.T).view(np.uint64)
    return {
        name: np.unpackbits(rows.view(np.uint8), axis=1, bitorder="little").T.astype(int)
        for name, rows in netlist().items()
    }


class Decoding(wiring.Component):
    def __init__(self, encoding: str | None, trit_bits: int):
        self._encoding = encoding
        super().__init__({"word": In(16), "weights": Out(2 * trit_bits), "illegal": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        weights, illegal = DECODERS[self._encoding](m, self.word)
        m.d.comb += [self.weights.eq(weights), self.illegal.eq(illegal)]
        return m


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_word_of_two_bytes_is_decoded_as_the_encoding_says(name: str, tmp_path: Path) -> None:
    encoding = ENCODINGS[name]
    seen = evaluated(Decoding(name, 2 * encoding.trits_per_byte), CODES, tmp_path)
    bytes_ = np.stack([CODES & 0xFF, CODES >> 8], axis=1).astype(np.uint8)
    trits = encoding.unpack(bytes_)
    nonzero, negative = seen["weights"][:, 0::2], seen["weights"][:, 1::2]
    assert np.array_equal(nonzero, trits != 0)
    assert np.array_equal(negative, trits < 0)
    assert np.array_equal(seen["illegal"][:, 0], encoding.illegal[bytes_].any(axis=1))


def test_int8_weights_pass_as_they_are(tmp_path: Path) -> None:
    seen = evaluated(Decoding(None, 8), CODES, tmp_path)
    assert np.array_equal(seen["weights"], bits_of(CODES, 16))
    assert not seen["illegal"].any()


@pytest.mark.parametrize("group", [2, 3])
def test_every_code_of_a_group_picks_its_sum(group: int, tmp_path: Path) -> None:
    config = ArrayConfig(rows=1, columns=2 * group, lane="grouped", group=group)
    width = config.tile_row_bits
    words = np.arange(1 << width, dtype=np.int64)
    recoder = Recoder(config, LANES["grouped"])
    seen = evaluated(recoder, words, tmp_path)["recoded"]
    trit_of = {0b00: 0, 0b01: 1, 0b11: -1}
    pick_bits = 2 * group
    checked = 0
    for codes in product(range(4), repeat=group):
        here = sum(code << 2 * place for place, code in enumerate(codes))
        for at in range(2):
            rows = (words >> at * pick_bits & ((1 << pick_bits) - 1)) == here
            picks = seen[rows, at * pick_bits : (at + 1) * pick_bits]
            assert (picks == picks[0]).all()  # the other group does not matter
            nonzero, negative, *index = picks[0].tolist()
            pattern = patterns(group)[sum(bit << place for place, bit in enumerate(index))]
            picked = [nonzero * (-1 if negative else 1) * sign for sign in pattern]
            trits = [trit_of.get(code) for code in codes]
            assert picked == ([0] * group if None in trits else trits)
            assert nonzero or not negative
            checked += 1
    assert checked == 2 * 4**group
