"""What the words of the array hold in every step, and how many of their bits change.

The lanes' adders are the same tree whatever the lane; lanes differ in the terms, and in what a sum
still lacks in the form in which it is held:

========== ==================== ==========================================
lane       term                 a node with partial sum p is held as
========== ==================== ==========================================
negate     t x                  p
carry-fold sum of three t x     p - (its last trit is negative)
grouped    sum of t x in group  p or -p, as its first group is picked; the
                                nodes over the first group of all as p - 1
                                where that group is picked negative
int8       w x                  p
fp16       w x, rounded         p, every sum rounded, lone ones + 0
========== ==================== ==========================================

Row blocks are walked side by side: where one begins, the words hold what the last step of the one
before left there, and the bank what the row block before that did. Compiled with numba.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array
from numpy.typing import NDArray

from hwsim.config import ArrayConfig, tree_levels
from hwsim.groups import patterns, sum_bits
from hwsim.operands import Operands
from hwsim.parallel import side_by_side
from hwsim.schedule import Schedule
from hwsim.streams import padded
from hwsim.toggles import Toggles

Array = NDArray[Any]

_compiled = njit(cache=True, nogil=True)

_PLAIN, _CARRY, _SIGN = range(3)
_SQUARE = 16
"""Rows and columns of weights that are transposed together."""

_PIECE = 1024
"""Words whose changes are counted in a word of 16 bits."""

_OWED = {"carry-fold": _CARRY, "grouped": _SIGN}
"""How a partial sum is held."""


class _Core(NamedTuple):
    """What does not change in a run; see `ArrayConfig` and `Schedule`."""

    rows: int
    columns: int
    batch: int
    group: int
    inputs: int
    levels: int
    leaves: int
    owed: int
    accumulator_mask: int
    wide: bool
    fill: int
    squares: bool
    row_blocks: int
    column_blocks: int
    tokens: int


class _Layer(NamedTuple):
    """The data of a layer.

    Terms stand in bit-reversed order, of as many as a full tree has, so that neighbours of a level
    are its two halves. `places` says where each term stands; those that are missing are 0 and
    change nothing. A level's words, and the rows in each of them, lie behind each other. `targets`
    says where the weights of a column go: the first of every group, then the second. `lasts` says
    where the weights stand whose signs are owed by the last term, and by those that would be the
    last of a level's last word, if they are not there: all have the sign of the last weight.
    `weight` are the weights, those of binary16 as their bits; `stored` are they as they are in
    memory, several in a word where tiles are made of whole words; `stored_mask` has the bits of
    their codes.
    """

    weight: Array
    activation: Array
    bank: Array
    masks: Array
    code_masks: Array
    places: Array
    targets: Array
    lasts: Array
    picks: Array
    stored: Array
    stored_mask: np.unsignedinteger[Any]


class _Now(NamedTuple):
    """What the words of the array hold, and the counts so far."""

    tile: Array
    picks: Array
    codes: Array
    negative: Array
    partial: Array
    held: Array
    counts: Array
    changes: Array
    owed: Array


class _Seen(NamedTuple):
    """The sums, and the words of every step where there is room for them."""

    sums: Array
    held: Array
    negative: Array
    codes: Array
    stored: Array


@dataclass(frozen=True, eq=False, kw_only=True)
class Steps:
    """The words after every step, as bit patterns: shape (steps, words[, rows]).

    Attributes
    ----------
    operands
        The prepared activations, one after the other.
    weights
        The recoded weights, one for each term.
    levels
        For the terms and each level of sums: the words as they are held, and what they owe.
    accumulators
        The words that are written to the bank, shape (steps, rows).
    """

    operands: Array
    weights: Array
    levels: list[tuple[Array, Array]]
    accumulators: Array


class Words:
    """All words of one layer.

    Parameters
    ----------
    schedule
        Of the layer.
    operands
        Of the layer, as numbers of the array's lane.

    Attributes
    ----------
    widths
        For each level of the tree, the terms first, the width of each of its words.
    """

    def __init__(self, schedule: Schedule, operands: Operands):
        self._schedule = schedule
        self._operands = operands
        config = schedule.config
        is_float = config.lane == "fp16"
        group = config.leaf_columns
        terms = -(-config.columns // group)
        levels = tree_levels(terms)
        self.widths = _tree_widths(config, group)
        self._core = _Core(
            rows=config.rows,
            columns=config.columns,
            batch=config.batch,
            group=group,
            inputs=terms,
            levels=levels,
            leaves=1 << levels,
            owed=_OWED.get(config.lane, _PLAIN),
            accumulator_mask=(1 << config.accumulator_bits) - 1,
            wide=is_float and config.accumulator_bits == 32,
            fill=config.filling_weight,
            squares=operands.weight.dtype == np.int8
            and config.rows % _SQUARE == config.columns % _SQUARE == 0,
            row_blocks=schedule.row_blocks,
            column_blocks=schedule.column_blocks,
            tokens=schedule.tokens,
        )
        # The narrower a word of the machine, the more of them are added at once.
        held = np.dtype(np.int16 if max(map(max, self.widths)) <= 16 else np.int32)
        value = np.dtype(np.float32) if is_float else held
        columns = schedule.column_blocks * config.columns
        activation = np.zeros((schedule.tokens, columns + self._core.group), value)
        activation[:, : schedule.in_features] = operands.activation
        places = _reversed_bits(levels)
        column = np.arange(config.columns)
        # The places of rows: of the weights of a column, of codes, and of the code of a term that
        # says whether it owes a correction.
        self._targets = column % group << levels | places[column // group]
        self._codes = places[:terms] if self._core.owed == _SIGN else self._targets
        # The last terms of each level's words: that of the last word is the last one there is.
        ends = [(len(words) << level) - 1 for level, words in enumerate(self.widths)]
        lasts = (group - 1 << levels) + places[np.unique([terms - 1, *ends])]
        code_masks = np.zeros((1 if self._core.owed == _SIGN else group) << levels, np.int64)
        code_masks[self._codes] = (1 << config.weight_bits * (config.group or 1)) - 1
        weight = padded(
            operands.weight,
            rows=self._core.row_blocks * config.rows,
            columns=self._core.column_blocks * config.columns,
            fill=config.filling_weight,
        )
        self._layer = _Layer(
            weight=weight.view(np.uint16) if is_float else weight,
            activation=activation,
            bank=np.zeros((schedule.tokens, schedule.row_blocks * config.rows), np.int32),
            masks=np.repeat(self._masks(), config.rows).astype(held),
            code_masks=np.repeat(code_masks, config.rows).astype(held),
            places=places,
            targets=self._targets * config.rows,
            lasts=lasts * config.rows,
            picks=_pick_codes(config),
            **_stored(weight, config),
        )

    def sums(self) -> Array:
        """Return the sums, shape (tokens, out_features): int32, float16, or a wide float32."""
        return self._outputs(self._walk(count=False)[0].sums)

    def toggles(self) -> tuple[Toggles, Array]:
        """Count all bits that change; return them and the sums."""
        seen, counts, owed = self._walk(count=True, bank=self._bank())
        levels, config = self._core.levels, self._schedule.config
        tree = counts[: levels + 1]
        for level in range(levels + 1):
            tree[level] += owed[self._owed_places(level)].sum()
        toggles = Toggles(
            operands=config.operand_copies * self._operand_toggles(),
            weights=int(counts[-1]),
            tree=tuple(map(int, tree)),
            accumulators=int(counts[-2]),
        )
        return toggles, self._outputs(seen.sums)

    def steps(self) -> Steps:
        """Return the words of every step; meant for small layers."""
        core = self._core
        seen, _, _ = self._walk(count=True, bank=self._bank(), steps=self._schedule.steps)
        prepared, widths = self._prepared()
        blocks = self._operand_blocks(prepared)
        operands = np.concatenate([np.tile(block, (core.row_blocks, 1)) for block in blocks])

        def by_row(words: Array, masks: Array | int, places: Array) -> Array:
            bits = (words & masks).view(f"u{words.itemsize}")
            return bits.reshape(len(words), -1, core.rows)[:, places]

        nodes = by_row(seen.held, self._layer.masks, self._node_places())
        ends = np.cumsum([len(level) for level in self.widths])
        levels = [
            (words, by_row(seen.negative, 1, self._owed_places(level)))
            for level, words in enumerate(np.split(nodes, ends[:-1], axis=1))
        ]
        return Steps(
            operands=operands & (1 << np.array(widths)) - 1,
            weights=by_row(seen.codes, self._layer.code_masks, self._codes),
            levels=levels,
            accumulators=seen.stored.view(np.uint32) & core.accumulator_mask,
        )

    @property
    def operand_widths(self) -> list[int]:
        """Widths of the words of prepared activations."""
        return self._prepared()[1]

    def bank_words(self) -> Iterator[int]:
        """Give for each step the word of the bank that it writes."""
        core = self._core
        for block in range(self._schedule.token_blocks * core.row_blocks):
            half = block % 2 * core.batch
            tokens = min(core.batch, core.tokens - block // core.row_blocks * core.batch)
            for _ in range(core.column_blocks):
                yield from range(half, half + tokens)

    def _walk(
        self, *, count: bool, bank: Array | None = None, steps: int = 0
    ) -> tuple[_Seen, Array, Array]:
        """Return what was seen; toggles of levels, bank and weights; toggles of what is owed."""
        core, layer = self._core, self._layer
        words = core.leaves * core.rows
        number = np.float32 if layer.activation.dtype == np.float32 else np.int32
        held = layer.masks.dtype
        layer = layer._replace(bank=layer.bank.astype(number) if bank is None else bank)
        seen = _Seen(
            sums=np.zeros(layer.bank.shape, number),
            held=np.zeros((steps, len(layer.masks)), held),
            negative=np.zeros((steps, words), held),
            codes=np.zeros((steps, len(layer.code_masks)), held),
            stored=np.zeros((steps, core.rows), np.int32),
        )

        def walk(start: int, end: int) -> tuple[Array, Array]:
            now = _Now(
                tile=np.zeros(core.group * words, layer.activation.dtype),
                picks=np.zeros(words, held),
                codes=np.zeros(len(layer.code_masks), held),
                negative=np.zeros(words, held),
                partial=np.zeros(words, layer.activation.dtype),
                held=np.zeros(len(layer.masks), held),
                counts=np.zeros(core.levels + 3, np.int64),
                changes=np.zeros(words, held),
                owed=np.zeros(core.leaves, np.int64),
            )
            if layer.bank.dtype == np.int32:
                self._recall(layer.bank, start)
            _walk(core, layer, now, seen, count, start, end)
            return now.counts, now.owed

        blocks = self._schedule.token_blocks * core.row_blocks
        counts, owed = zip(*side_by_side(walk, blocks), strict=True)
        return seen, sum(counts), sum(owed)

    def _bank(self) -> Array:
        """Return the sums that walks may begin with: all of floats, of integers those of fill."""
        if self._layer.activation.dtype == np.float32:
            return self._walk(count=False)[0].sums
        bank = self._layer.bank.copy()
        bank[:] = self._core.fill * self._operands.activation.sum(axis=1, dtype=np.int32)[:, None]
        return bank

    def _recall(self, bank: Array, start: int) -> None:
        """Put the sums of the two row blocks before `start`, which are integers, into a bank."""
        core, operands = self._core, self._operands
        for block in range(max(0, start - 2), start):
            first = block % core.row_blocks * core.rows
            end = min(first + core.rows, len(operands.weight))
            _dot_products(operands.weight, operands.activation, bank, first, end)

    def _outputs(self, sums: Array) -> Array:
        sums = sums[:, : self._schedule.out_features]
        is_narrow = sums.dtype == np.float32 and not self._core.wide
        return sums.astype(np.float16) if is_narrow else sums

    def _masks(self) -> Array:
        """Return the masks of all words of a full tree, in the order of `_Layer`; 0: not there."""
        masks = []
        for level, widths in enumerate(self.widths):
            places = _reversed_bits(self._core.levels - level)
            row = np.zeros(len(places), np.int64)
            row[places[: len(widths)]] = (1 << np.array(widths)) - 1
            masks.append(row)
        return np.concatenate(masks)

    def _node_places(self) -> Array:
        """Return where the words of all levels are held, level after level, left to right."""
        start = 0
        places = []
        for level, widths in enumerate(self.widths):
            row = _reversed_bits(self._core.levels - level)
            places.append(start + row[: len(widths)])
            start += len(row)
        return np.concatenate(places)

    def _owed_places(self, level: int) -> Array:
        """Return for each word of a level where the term stands that it owes a correction for."""
        places: Array = self._layer.places
        nodes = np.arange(len(self.widths[level]))
        if self._core.owed == _SIGN:
            above: Array = places[nodes << level]
            return above
        if self._core.owed == _CARRY:
            last: Array = places[np.minimum(nodes + 1 << level, self._core.inputs) - 1]
            return last
        return nodes[:0]

    def _prepared(self) -> tuple[Array, list[int]]:
        """Return the prepared activations, shape (tokens, column blocks, words), and widths."""
        config = self._schedule.config
        core = self._core
        values = self._layer.activation[:, : core.column_blocks * core.columns]
        values = values.reshape(core.tokens, core.column_blocks, core.columns)
        if values.dtype == np.float32:
            return values.astype(np.float16).view(np.uint16), [16] * core.columns
        if config.group is None:
            return values, [config.activation_bits] * core.columns
        fill = -core.columns % config.group
        groups = np.pad(values, [(0, 0), (0, 0), (0, fill)])
        groups = groups.reshape(*values.shape[:2], core.inputs, config.group)
        signs = np.array(patterns(config.group), groups.dtype)
        widths = [sum_bits(config.activation_bits, pattern) for pattern in patterns(config.group)]
        sums = groups @ signs.T
        return sums.reshape(*values.shape[:2], -1), widths * core.inputs

    def _operand_blocks(self, prepared: Array) -> Iterator[Array]:
        """Give the words of the steps of one row block, for each token block."""
        for first in range(0, self._core.tokens, self._core.batch):
            block = prepared[first : first + self._core.batch]
            yield block.swapaxes(0, 1).reshape(-1, block.shape[-1])

    def _operand_toggles(self) -> int:
        """Count without walking: all row blocks of a token block have the same operands."""
        prepared, widths = self._prepared()
        masks = (1 << np.array(widths)) - 1
        before = np.zeros_like(prepared[0, :1])
        count = 0
        for block in self._operand_blocks(prepared):
            steps = np.concatenate([before, block])
            changes = np.bitwise_count((steps[1:] ^ steps[:-1]) & masks).sum(axis=1, dtype=np.int64)
            again = np.bitwise_count((block[0] ^ block[-1]) & masks).sum(dtype=np.int64)
            others = self._core.row_blocks - 1
            count += int(changes.sum() + others * (changes[1:].sum() + again))
            before = block[-1:]
        return count


def integer_sums(operands: Operands) -> NDArray[np.int32]:
    """Return what `Words.sums` would, for integers, which may be added in any order."""
    weight, activation = operands.weight, operands.activation
    sums = np.empty((len(activation), len(weight)), np.int32)
    side_by_side(partial(_dot_products, weight, activation, sums), len(weight))
    return sums


def _reversed_bits(bits: int) -> NDArray[np.int64]:
    """Return the numbers below 2**bits with their bits reversed."""
    order = np.zeros(1, np.int64)
    for _ in range(bits):
        order = np.concatenate([2 * order, 2 * order + 1])
    return order


def _tree_widths(config: ArrayConfig, group: int) -> list[list[int]]:
    """Return the widths of the words of each level: a sum is a bit wider than what is summed."""
    term = {
        "negate": config.activation_bits + 1,
        "carry-fold": config.activation_bits + group - 1,
        "grouped": config.activation_bits + tree_levels(config.group or 1),
        "int8": 2 * config.activation_bits,
        "fp16": config.activation_bits,
    }[config.lane]
    growth = 0 if config.lane == "fp16" else 1
    widths = [[term] * -(-config.columns // group)]
    if config.lane == "carry-fold":
        widths[0][-1] -= -config.columns % group
    while len(widths[-1]) > 1:
        last = widths[-1]
        pairs = [last[at : at + 2] for at in range(0, len(last), 2)]
        widths.append([max(pair) + growth * (len(pair) - 1) for pair in pairs])
    return widths


def _pick_codes(config: ArrayConfig) -> NDArray[np.uint16]:
    """Return the pick of each group of trits (see `GroupedLane`), by its number in base 3.

    A digit is trit + 1, the first trit's the lowest.
    """
    if config.group is None:
        return np.zeros(1, np.uint16)
    codes = []
    for reverse in product((-1, 0, 1), repeat=config.group):
        trits = reverse[::-1]
        sign = next((trit for trit in trits if trit), 0)
        index = patterns(config.group).index(tuple(sign * t for t in trits)) if sign else 0
        codes.append((sign != 0) | (sign < 0) << 1 | index << 2)
    return np.array(codes, np.uint16)


def _stored(weight: Array, config: ArrayConfig) -> dict[str, Any]:
    """Return `stored` and `stored_mask` of `_Layer`, in words as wide as tiles allow."""
    size = weight.itemsize
    word = np.dtype(np.uint64)
    if config.columns * size % word.itemsize:
        word = np.dtype(f"u{size}")
    mask = np.full(word.itemsize // size, (1 << config.weight_bits) - 1, f"u{size}")
    return {"stored": weight.view(word), "stored_mask": mask.view(word)[0]}


def _counting(typing_context: Any, count: Any, new: Any, old: Any, mask: Any) -> Any:
    """Return `count` plus the bits in which two words differ, all in the type of `old`.

    Plain Python would widen them to 64 bits.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        count, new, old, mask = (
            context.cast(builder, value, kind, signature.return_type)
            for value, kind in zip(arguments, signature.args, strict=True)
        )
        changes = builder.ctpop(builder.and_(builder.xor(new, old), mask))
        return builder.add(count, changes)

    return old(count, new, old, mask), generate


_counted: Any = intrinsic(_counting)


def _transposing(
    typing_context: Any, source: Any, stride: Any, target: Any, targets: Any, element: Any
) -> Any:
    """Store the columns of a square of bytes as numbers of the type of `element`.

    Column i goes to the address `target`, `targets[i]` elements on. LLVM makes of each exchange of
    bytes one instruction; a loop over bytes takes five times as long.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, stride, target, targets, _ = arguments
        vector = ir.VectorType(ir.IntType(8), _SQUARE)
        number = context.get_value_type(element)
        wide = ir.VectorType(number, _SQUARE)
        convert = builder.sitofp if isinstance(element, types.Float) else builder.sext
        word = source.type

        def at(base: Any, index: Any, scale: Any, kind: Any) -> Any:
            address = builder.add(base, builder.mul(index, scale))
            return builder.inttoptr(address, kind.as_pointer())

        lines = [
            builder.load(at(source, word(place), stride, vector), align=1)
            for place in range(_SQUARE)
        ]
        half = _SQUARE // 2
        low = [half_way for i in range(half) for half_way in (i, _SQUARE + i)]
        masks = [
            ir.Constant(ir.VectorType(ir.IntType(32), _SQUARE), [i + more for i in low])
            for more in (0, half)
        ]
        # Four times each line is shuffled into that half a square away, like cards.
        for _ in range(_SQUARE.bit_length() - 1):
            lines = [
                builder.shuffle_vector(lines[place], lines[place + half], mask)
                for place in range(half)
                for mask in masks
            ]
        array: Any = make_array(signature.args[3])  # type: ignore[no-untyped-call]
        column_of = array(context, builder, targets).data
        size = word(context.get_abi_sizeof(number))
        for place, line in enumerate(lines):
            index = builder.load(builder.gep(column_of, [word(place)]))
            builder.store(convert(line, wide), at(target, index, size, wide), align=1)
        return context.get_dummy_value()

    return types.void(source, stride, target, targets, element), generate


_put_square: Any = intrinsic(_transposing)


def _weight(value: Any) -> Any:
    """Return a weight as a number; one of 16 bits is a binary16, which numba does not have."""


def _bits(value: Any) -> Any:
    """Return the bits that hold a partial sum: of a float32 those of the nearest binary16."""


def _rounded(value: Any) -> Any:
    """Round a float32 to the nearest binary16; integers stay."""


def _sum_bits(value: Any, wide: bool) -> Any:
    """Return the bits that hold an accumulator."""


@_compiled
def _half_bits(value: np.float32) -> np.uint32:
    bits = np.float32(value).view(np.uint32)
    sign = (bits >> np.uint32(16)) & np.uint32(0x8000)
    size = bits & np.uint32(0x7FFFFFFF)
    if size > np.uint32(0x7F800000):
        return np.uint32(0x7E00)  # the hardware has one NaN
    if size >= np.uint32(0x477FF000):  # 65520 is half way beyond the greatest number
        return sign | np.uint32(0x7C00)
    if size < np.uint32(0x38800000):
        # Subnormal: below 0.5 a float32 ends where a subnormal binary16 does.
        aligned = abs(value) + np.float32(0.5)
        return sign | (np.float32(aligned).view(np.uint32) - np.uint32(0x3F000000))
    odd = (size >> np.uint32(13)) & np.uint32(1)
    return sign | ((size + np.uint32(0xFFF) + odd - np.uint32(0x38000000)) >> np.uint32(13))


@_compiled
def _from_half_bits(bits: np.uint32) -> Any:
    sign = np.uint32(bits & 0x8000) << np.uint32(16)
    size = np.uint32(bits & 0x7FFF)
    if size >= np.uint32(0x7C00):
        size = (size << np.uint32(13)) | np.uint32(0x7F800000)
    elif size >= np.uint32(0x0400):
        size = (size << np.uint32(13)) + np.uint32(0x38000000)
    else:
        tiny = np.float32(size) * np.float32(2.0**-24)
        size = np.float32(tiny).view(np.uint32)
    return np.uint32(sign | size).view(np.float32)


@overload(_weight, strict=False)
def _overload_weight(value: Any) -> Any:
    if value == types.uint16:
        return lambda value: _from_half_bits(np.uint32(value))
    return lambda value: value


@overload(_bits, strict=False)
def _overload_bits(value: Any) -> Any:
    if isinstance(value, types.Float):
        return lambda value: _half_bits(np.float32(value))
    return lambda value: value


@overload(_rounded, strict=False)
def _overload_rounded(value: Any) -> Any:
    if isinstance(value, types.Float):
        return lambda value: _from_half_bits(_half_bits(np.float32(value)))
    return lambda value: value


@overload(_sum_bits, strict=False)
def _overload_sum_bits(value: Any, wide: bool) -> Any:
    if isinstance(value, types.Float):
        return lambda value, wide: (
            np.float32(value).view(np.uint32) if wide else _half_bits(np.float32(value))
        )
    return lambda value, wide: np.uint32(value)


@_compiled
def _dot_products(weight: Array, activation: Array, sums: Array, start: int, end: int) -> None:
    """Put the columns from `start` up to `end` of activation @ weight.T into sums."""
    for row in range(start, end):
        for token in range(len(activation)):
            total = np.int32(0)
            for column in range(weight.shape[1]):
                product = np.int32(weight[row, column]) * np.int32(activation[token, column])
                total = np.int32(total + product)
            sums[token, row] = total


@_compiled
def _weight_changes(c: _Core, layer: _Layer, row_block: int, after_none: bool) -> Any:
    """Return the bits of the weight register that change as the tiles of a row block come."""
    stored, mask = layer.stored, layer.stored_mask
    width = stored.shape[1] // c.column_blocks
    count = np.uint64(0)
    for row in range(row_block * c.rows, (row_block + 1) * c.rows):
        line = stored[row]
        for at in range(width, len(line)):
            count = _counted(count, line[at], np.uint64(line[at - width]), mask)
        before = stored[row - c.rows, len(line) - width :]  # of the first row block: the last one's
        for at in range(width):
            old = np.uint64(0) if after_none else np.uint64(before[at])
            count = _counted(count, line[at], old, mask)
    return count


@_compiled
def _put_numbers(c: _Core, layer: _Layer, row: int, column: int, now: _Now) -> None:
    """Put the tile that begins at a row and column into `now.tile`, number by number."""
    # Column by column: to gather bytes is four times as fast as to scatter words.
    for at in range(c.columns):
        words = now.tile[layer.targets[at] : layer.targets[at] + c.rows]
        for place in range(c.rows):
            words[place] = _weight(layer.weight[row + place, column + at])


@_compiled
def _put_squares(c: _Core, layer: _Layer, row: int, column: int, now: _Now) -> None:
    """Do the same with a tile of bytes that is made of whole squares."""
    width = layer.weight.shape[1]
    source = layer.weight.ctypes.data + row * width + column
    size = now.tile.itemsize
    for first in range(0, c.columns, _SQUARE):
        targets = layer.targets[first : first + _SQUARE]
        for line in range(0, c.rows, _SQUARE):
            there = source + line * width + first
            _put_square(there, width, now.tile.ctypes.data + line * size, targets, now.tile[0])


@_compiled
def _load_tile(c: _Core, layer: _Layer, row_block: int, column_block: int, now: _Now) -> None:
    """Put a tile into the array; count the bits of picks, and of what terms owe, that change."""
    if c.squares:
        _put_squares(c, layer, row_block * c.rows, column_block * c.columns, now)
    else:
        _put_numbers(c, layer, row_block * c.rows, column_block * c.columns, now)
    if c.owed == _SIGN:
        every = len(now.picks)
        for place in layer.places[: c.inputs] * c.rows:
            for at in range(place, place + c.rows):
                digits = 0
                for trit in range(c.group - 1, -1, -1):
                    digits = digits * 3 + int(now.tile[trit * every + at]) + 1
                now.picks[at] = layer.picks[digits]
        now.counts[-1] += _hold(_PLAIN, now.picks, now.negative, layer.code_masks, now.codes)
    if c.owed == _PLAIN:
        return
    if c.owed == _SIGN:
        _owe(now.codes, True, now)
    else:
        at = layer.targets[-1]
        last = now.tile[at : at + c.rows]
        for place in layer.lasts:
            same = now.tile[place : place + c.rows]
            for row in range(c.rows):
                same[row] = last[row]
        _owe(now.tile[-len(now.negative) :], False, now)


@_compiled
def _owe(signs: Array, are_picks: bool, now: _Now) -> None:
    """Take over which terms owe a correction; count the changes of each."""
    negative, changes = now.negative, now.changes
    if are_picks:
        for at in range(len(negative)):
            minus = int(signs[at]) >> 1 & 1  # what is no pick may be a float
            changes[at] = _counted(changes[at], minus, negative[at], 1)
            negative[at] = minus
    else:
        for at in range(len(negative)):
            minus = signs[at] < 0
            changes[at] = _counted(changes[at], minus, negative[at], 1)
            negative[at] = minus


@_compiled
def _sum_up(c: _Core, now: _Now) -> None:
    """Add the changes of what terms owe to the counts, before they are too many for a word."""
    for place in range(c.leaves):
        now.owed[place] += now.changes[place * c.rows : (place + 1) * c.rows].sum()
    now.changes[:] = 0


@_compiled
def _hold(owed: int, partial: Array, negative: Array, masks: Array, held: Array) -> int:
    """Hold partial sums, or what else changes; return the bits that do."""
    count = 0
    for start in range(0, len(held), _PIECE):
        end = min(start + _PIECE, len(held))
        sums, minus = partial[start:end], negative[start:end]
        words, used = held[start:end], masks[start:end]
        changed = _counted(0, 0, words[0], 0)
        if owed == _SIGN:
            for at in range(len(words)):
                new = (_bits(sums[at]) ^ -minus[at]) + minus[at]
                changed = _counted(changed, new, words[at], used[at])
                words[at] = new
        elif owed == _CARRY:
            for at in range(len(words)):
                new = _bits(sums[at]) - minus[at]
                changed = _counted(changed, new, words[at], used[at])
                words[at] = new
        else:
            for at in range(len(words)):
                new = _bits(sums[at])
                changed = _counted(changed, new, words[at], used[at])
                words[at] = new
        count += int(changed)
    return count


@_compiled
def _step(c: _Core, layer: _Layer, token: int, column_block: int, now: _Now, count: bool) -> None:
    """Sum the products of a token and the tile by neighbours; the sum is the first that is left."""
    values = layer.activation[token, column_block * c.columns :]
    partial = now.partial
    for index in range(c.inputs):
        first = index * c.group
        at = layer.targets[first]
        sums, weights, value = partial[at : at + c.rows], now.tile[at : at + c.rows], values[first]
        for row in range(len(sums)):
            sums[row] = _rounded(weights[row] * value)
        for column in range(first + 1, min(first + c.group, c.columns)):
            at = layer.targets[column]
            weights, value = now.tile[at : at + c.rows], values[column]
            for row in range(len(sums)):
                sums[row] += weights[row] * value
    for place in layer.places[c.inputs :]:
        partial[place * c.rows : (place + 1) * c.rows] = 0
    size, start, level = len(partial), 0, 0
    while True:
        if count:
            end = start + size
            owed = now.negative[-size:] if c.owed == _CARRY else now.negative[:size]
            masks, held, first = layer.masks[start:end], now.held[start:end], 0
            if c.owed == _SIGN:
                # The first group owes a carry.
                first = c.rows
                now.counts[level] += _hold(
                    _CARRY, partial[:first], owed[:first], masks[:first], held[:first]
                )
            now.counts[level] += _hold(
                c.owed, partial[first:size], owed[first:], masks[first:], held[first:]
            )
            start = end
        if size == c.rows:
            return
        size //= 2
        level += 1
        left, right = partial[:size], partial[size : 2 * size]
        for at in range(size):
            left[at] = _rounded(left[at] + right[at])


@_compiled
def _accumulate(c: _Core, total: Array, first: bool, sums: Array, stored: Array) -> int:
    """Add the sum of a step to that of the steps before; return the bits that change."""
    count = 0
    for row in range(c.rows):
        if first:
            sums[row] = total[row]
        elif c.wide:
            sums[row] += total[row]
        else:
            sums[row] = _rounded(sums[row] + total[row])
        new = _sum_bits(sums[row], c.wide)
        count += int(_counted(0, new, stored[row], c.accumulator_mask))
        stored[row] = new
    return count


@_compiled
def _walk(
    c: _Core, layer: _Layer, now: _Now, seen: _Seen, count: bool, start: int, end: int
) -> None:
    """Walk the row blocks from number `start` up to `end`, all token blocks on end."""
    stored = np.zeros((2, c.batch, c.rows), np.int32)  # the bank
    if start > 0:
        if count:
            before, row_block = divmod(start - 1, c.row_blocks)
            last = min((before + 1) * c.batch, c.tokens) - 1
            _load_tile(c, layer, row_block, c.column_blocks - 1, now)
            _step(c, layer, last, c.column_blocks - 1, now, count)
            now.counts[:] = 0
            now.changes[:] = 0
        for block in range(max(0, start - 2), start):
            before, row_block = divmod(block, c.row_blocks)
            for token in range(before * c.batch, min((before + 1) * c.batch, c.tokens)):
                for row in range(c.rows):
                    final = layer.bank[token, row_block * c.rows + row]
                    stored[block % 2, token % c.batch, row] = _sum_bits(final, c.wide)

    for block in range(start, end):
        token_block, row_block = divmod(block, c.row_blocks)
        first = token_block * c.batch
        tokens = min(c.batch, c.tokens - first)
        index = c.column_blocks * (first * c.row_blocks + row_block * tokens)
        rows = slice(row_block * c.rows, (row_block + 1) * c.rows)
        if count and c.owed != _SIGN:
            now.counts[-1] += np.int64(_weight_changes(c, layer, row_block, block == 0))
        for column_block in range(c.column_blocks):
            if c.owed != _PLAIN and column_block % _PIECE == 0:
                _sum_up(c, now)
            _load_tile(c, layer, row_block, column_block, now)
            for token in range(tokens):
                sums, word = seen.sums[first + token, rows], stored[block % 2, token]
                _step(c, layer, first + token, column_block, now, count)
                now.counts[-2] += _accumulate(c, now.partial, column_block == 0, sums, word)
                if len(seen.held):
                    seen.held[index] = now.held
                    seen.negative[index] = now.negative
                    if c.owed == _SIGN:
                        seen.codes[index] = now.codes
                    else:
                        for at in range(len(now.codes)):
                            seen.codes[index, at] = _bits(now.tile[at])
                    seen.stored[index] = word
                index += 1
    _sum_up(c, now)
