"""Shapes of what moves between the blocks."""

from amaranth.lib import data


class Trit(data.Struct):
    """One ternary weight; a negative trit is always nonzero."""

    nonzero: 1
    negative: 1


class Command(data.Struct):
    """What the core runs: the shape of a layer, in the array's own terms.

    The host divides: `row_blocks` is ceil(out_features / R) and `column_blocks` is
    ceil(in_features / N), so the hardware needs no divider.
    """

    row_blocks: 32
    column_blocks: 32
    tokens: 32
    out_features: 32
    in_features: 32
