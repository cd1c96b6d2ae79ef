"""How trits are packed into bytes: the formats of weight streams and of packed traces."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.config import TRITS_PER_BYTE

Trits = NDArray[np.int8]
Bytes = NDArray[np.uint8]

_POWERS = 3 ** np.arange(TRITS_PER_BYTE["base3"])


@dataclass(frozen=True)
class Encoding:
    """A format of ternary weights, in which every row is packed by itself.

    Attributes
    ----------
    trits_per_byte
        Weights in one byte, the first one in its lowest bits or power.
    base
        Of the number that a byte is.
    write_digits
        Gets trits, and where their digits go; the first one of a byte is its lowest.
    trits_of
        For each of the 256 codes, its trits; illegal ones hold zeros.
    illegal
        For each of the 256 codes, whether no trits have it.
    """

    trits_per_byte: int
    base: int
    write_digits: Callable[[Trits, Bytes], object]
    trits_of: Trits
    illegal: NDArray[np.bool_]

    def row_bytes(self, trits: int) -> int:
        """Return the bytes that a row of `trits` takes."""
        return -(-trits // self.trits_per_byte)

    def pack(self, trits: Trits) -> Bytes:
        """Pack rows of trits; short last bytes are filled with zero trits.

        Parameters
        ----------
        trits
            int8, shape (..., n).

        Returns
        -------
        Bytes
            uint8, shape (..., ceil(n / trits_per_byte)).
        """
        per_byte, count = self.trits_per_byte, trits.shape[-1]
        packed = np.empty((*trits.shape[:-1], self.row_bytes(count)), np.uint8)
        # A digit a byte, with room for what the last load reads beyond them.
        digits = np.empty(packed.size * per_byte + 8, np.uint8)
        rows = digits[:-8].reshape(*packed.shape[:-1], -1)
        self.write_digits(trits, rows[..., :count])
        self.write_digits(np.zeros((), np.int8), rows[..., count:])
        # The powers of the base stand in the factor the other way round. So byte `per_byte - 1` of
        # the product is the whole sum of digits and powers; the bytes below are parts of such sums,
        # too small to carry. Per-digit loops over strides took twice as long.
        loads = np.ndarray(packed.size, "<u8", digits, strides=(per_byte,))
        factor = sum(self.base ** (per_byte - 1 - byte) << 8 * byte for byte in range(per_byte))
        sums = (loads * np.uint64(factor)).astype("<u8", copy=False).view(np.uint8)
        packed.ravel()[:] = sums[per_byte - 1 :: 8]
        return packed

    def unpack(self, packed: Bytes) -> Trits:
        """Unpack rows of bytes, fill included; an illegal code is taken as zeros, as in hardware.

        Parameters
        ----------
        packed
            uint8, shape (..., m).

        Returns
        -------
        Trits
            int8, shape (..., m * trits_per_byte).
        """
        return self.trits_of[packed].reshape(*packed.shape[:-1], -1)


def _bits(width: int) -> NDArray[np.int64]:
    """Return the `width`-bit fields of every byte, lowest first: shape (256, 8 / width)."""
    shifts = np.arange(0, 8, width)
    return np.arange(256)[:, None] >> shifts & ((1 << width) - 1)


def _make_1bit() -> Encoding:
    # There is no zero: a zero trit (only ever padding) takes the code of +1, bit 0.
    return Encoding(
        trits_per_byte=TRITS_PER_BYTE["1bit"],
        base=2,
        write_digits=lambda trits, digits: np.less(trits, 0, out=digits.view(np.bool_)),
        trits_of=(1 - 2 * _bits(1)).astype(np.int8),
        illegal=np.zeros(256, bool),
    )


def _make_2bit() -> Encoding:
    codes = _bits(2)
    return Encoding(
        trits_per_byte=TRITS_PER_BYTE["2bit"],
        base=4,
        write_digits=lambda trits, digits: np.bitwise_and(trits, 3, out=digits.view(np.int8)),
        trits_of=np.array([0, 1, 0, -1], np.int8)[codes],
        illegal=(codes == 0b10).any(axis=1),
    )


def _make_base3() -> Encoding:
    codes = np.arange(256)
    legal = codes < 3**5
    trits = codes[:, None] // _POWERS % 3 - 1
    return Encoding(
        trits_per_byte=TRITS_PER_BYTE["base3"],
        base=3,
        write_digits=lambda trits, digits: np.add(trits, 1, out=digits.view(np.int8)),
        trits_of=np.where(legal[:, None], trits, 0).astype(np.int8),
        illegal=~legal,
    )


ENCODINGS = {"1bit": _make_1bit(), "2bit": _make_2bit(), "base3": _make_base3()}
"""`1bit`: -1 and +1 only, bit 1 is negative. `2bit`: two's complement. `base3`: digit = trit + 1,
the lowest power first, so 121 is five zeros."""
