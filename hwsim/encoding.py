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
    digits_of
        Turns trits into digits, the first of a byte the lowest.
    trits_of
        For each of the 256 codes, its trits; illegal ones hold zeros.
    illegal
        For each of the 256 codes, whether no trits have it.
    """

    trits_per_byte: int
    base: int
    digits_of: Callable[[Trits], Bytes]
    trits_of: Trits
    illegal: NDArray[np.bool_]

    @property
    def zero(self) -> int:
        """The digit of a zero trit."""
        return int(self.digits_of(np.zeros((), np.int8)))

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
        shape = *trits.shape[:-1], self.row_bytes(trits.shape[-1])
        digits = np.full((*shape[:-1], shape[-1] * self.trits_per_byte), self.zero, np.uint8)
        digits[..., : trits.shape[-1]] = self.digits_of(trits)
        digits = digits.reshape(-1, self.trits_per_byte)
        # Horner's rule on bytes: as numbers of 64 bits the digits of a layer would fill the memory.
        packed = digits[:, -1].copy()
        for place in range(self.trits_per_byte - 1)[::-1]:
            packed *= np.uint8(self.base)
            packed += digits[:, place]
        return packed.reshape(shape)

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
        digits_of=lambda trits: (trits < 0).astype(np.uint8),
        trits_of=(1 - 2 * _bits(1)).astype(np.int8),
        illegal=np.zeros(256, bool),
    )


def _make_2bit() -> Encoding:
    codes = _bits(2)
    return Encoding(
        trits_per_byte=TRITS_PER_BYTE["2bit"],
        base=4,
        digits_of=lambda trits: (trits & 3).astype(np.uint8),
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
        digits_of=lambda trits: (trits + 1).astype(np.uint8),
        trits_of=np.where(legal[:, None], trits, 0).astype(np.int8),
        illegal=~legal,
    )


ENCODINGS = {"1bit": _make_1bit(), "2bit": _make_2bit(), "base3": _make_base3()}
"""`1bit`: -1 and +1 only, bit 1 is negative. `2bit`: two's complement. `base3`: digit = trit + 1,
the lowest power first, so 121 is five zeros."""
