"""Which sums a group of activations has, up to their sign: what `grouped` lanes share."""

from functools import cache
from itertools import product


@cache
def patterns(group: int) -> tuple[tuple[int, ...], ...]:
    """Return the signs with which each sum takes the activations of a group.

    Those with fewer activations come first; the first activation in a sum is positive. A pair has
    a, b, a + b and a - b; a group of three has 13.
    """
    signs = [p for p in product((0, 1, -1), repeat=group) if any(p)]
    positive = [p for p in signs if next(s for s in p if s) == 1]
    return tuple(sorted(positive, key=lambda p: (sum(map(abs, p)), tuple(-s for s in p))))


def sum_bits(activation_bits: int, pattern: tuple[int, ...]) -> int:
    """Return the width of a sum: a bit for every doubling of its activations.

    The sign with the most negative value never makes it longer: -128 - 127 fits like -128 - 128.
    """
    return activation_bits + (sum(map(abs, pattern)) - 1).bit_length()


def without_last(pattern: tuple[int, ...]) -> tuple[int, ...]:
    """Return the sum that lacks the last activation: with it, one adder makes `pattern`."""
    last = max(place for place, sign in enumerate(pattern) if sign)
    return (*pattern[:last], *[0] * (len(pattern) - last))
