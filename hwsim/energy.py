"""`price`: from an `Activity` to an `EnergyReport`, in picojoules by named parts.

In between stands a `Bill`: how often each row of the energy tables is used, by part. Energies are
linear in the rows, so a bill is all that is needed for prices, ranges and sensitivities, and for
saying which rows priced a number. There is no energy in this file.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from numbers import Number
from typing import NamedTuple, Self

import numpy as np

from hwsim.activity import Activity
from hwsim.config import TRITS_PER_BYTE, ArrayConfig
from hwsim.energy_tables import KINDS, Bound, EnergyTable, Key
from hwsim.errors import InputError
from hwsim.groups import patterns, sum_bits

PICOJOULES = 1e12
"""In one joule. Reports are in joules, everything else in picojoules."""

SCOPES = {
    "arithmetic": ("linear_mul", "linear_add", "scales", "attention_mul", "attention_add"),
    "core": (
        "wider_adders",
        "registers",
        "decode",
        "weight_buffer",
        "activation_buffer",
        "result",
        "vector",
    ),
    "system": ("weights_dram", "activations_dram", "kv_dram", "lm_head", "leakage"),
}
"""The scopes, each containing those before it, and the parts that each adds."""


def parts_of(scope: str) -> tuple[str, ...]:
    """Return the names of all parts in a scope, those of the scopes inside it first.

    Raises
    ------
    InputError
        If there is no such scope.
    """
    if scope not in SCOPES:
        raise InputError(f"scope {scope!r}: no such scope; known: {', '.join(SCOPES)}")
    names = list(SCOPES)
    return tuple(part for name in names[: names.index(scope) + 1] for part in SCOPES[name])


@dataclass(frozen=True, kw_only=True)
class EnergyReport:
    """Energies in picojoules by part; reports of one scope add with ``+``.

    Attributes
    ----------
    scope
        What is counted: one of `SCOPES`. Parts outside of it are 0.
    linear_mul, linear_add
        Multiplications and additions of the linear layers, as the papers count them.
    scales
        Multiplications by the scales of activations and weights.
    attention_mul, attention_add
        Scores and values.
    wider_adders
        What the array's adders, at their real number and width, need beyond `linear_add`.
    registers
        Operands, adder trees and accumulators.
    decode
        From the weight encoding to what lanes want.
    weight_buffer
        The two weight tiles.
    activation_buffer
        Both halves.
    result
        The register from which results are sent.
    vector
        What stands between linear layers: absmax and rounding, norms, activation function.
    weights_dram, activations_dram, kv_dram
        Off-chip traffic: weights, activations and results, keys and values.
    lm_head
        The LM head, traffic and arithmetic.
    leakage
        Of the lanes, over the whole run.
    """

    scope: str
    linear_mul: float = 0.0
    linear_add: float = 0.0
    scales: float = 0.0
    attention_mul: float = 0.0
    attention_add: float = 0.0
    wider_adders: float = 0.0
    registers: float = 0.0
    decode: float = 0.0
    weight_buffer: float = 0.0
    activation_buffer: float = 0.0
    result: float = 0.0
    vector: float = 0.0
    weights_dram: float = 0.0
    activations_dram: float = 0.0
    kv_dram: float = 0.0
    lm_head: float = 0.0
    leakage: float = 0.0

    def __post_init__(self) -> None:
        inside = parts_of(self.scope)
        for field in fields(self):
            if field.name not in ("scope", *inside) and getattr(self, field.name):
                raise ValueError(f"{field.name} is not a part of scope {self.scope}")

    @property
    def parts(self) -> dict[str, float]:
        """The parts of the scope by name, in pJ."""
        return {part: getattr(self, part) for part in parts_of(self.scope)}

    @property
    def total_pj(self) -> float:
        """Sum of the parts."""
        return math.fsum(self.parts.values())

    def as_dict(self) -> dict[str, float]:
        """Return the parts of the scope by name, then their `total`, in pJ."""
        return {**self.parts, "total": self.total_pj}

    def __add__(self, other: Self) -> Self:
        if self.scope != other.scope:
            raise ValueError(f"scopes {self.scope} and {other.scope} do not add")
        parts = {part: pj + getattr(other, part) for part, pj in self.parts.items()}
        return type(self)(scope=self.scope, **parts)


class Charge(NamedTuple):
    """One use of a row: `times` its figure, in `part`.

    Times are counts of operations, bits, bits x cycles or MACs x seconds, whichever the unit in
    `hwsim.energy_tables.OPERATIONS` asks for.
    """

    part: str
    key: Key
    times: float


@dataclass(frozen=True)
class Bill:
    """How often each row of the tables is used, by part. Adds with ``+``, scales with ``*``.

    Attributes
    ----------
    scope
        One of `SCOPES`.
    counts
        For each part and row, the factor of the row's figure. Factors of one row can be negative in
        one part (a wide adder, interpolated between two rows, replaces a narrow one), but never in
        the sum over all parts of a layer: no total falls when a row rises.
    """

    scope: str
    counts: Mapping[tuple[str, Key], float]

    @classmethod
    def of(cls, scope: str, charges: Iterable[Charge]) -> Self:
        """Add up charges; those outside of the scope are left out."""
        inside = parts_of(scope)
        counts: dict[tuple[str, Key], float] = {}
        for part, key, times in charges:
            if part in inside and (times if isinstance(times, Number) else np.any(times)):
                counts[part, key] = counts.get((part, key), 0.0) + times
        return cls(scope, counts)

    @property
    def rows(self) -> dict[Key, float]:
        """The factor of each row in the total."""
        factors: dict[Key, float] = {}
        for (_, key), count in self.counts.items():
            factors[key] = factors.get(key, 0.0) + count
        return factors

    def kinds(self, table: EnergyTable) -> dict[str, str]:
        """Return for each part how firm it is: as its least firm row, and as its counts.

        The counts of what `core` adds are derived from the array; the operations of `vector` are
        assumed.
        """
        kinds: dict[str, str] = {}
        for part, key in self.counts:
            counted = "derived" if part in SCOPES["core"] else KINDS[0]
            counted = "assumed" if part == "vector" else counted
            pair = (kinds.get(part, counted), table.rows[key].kind)
            kinds[part] = max(pair, key=KINDS.index)
        return kinds

    def price(self, table: EnergyTable, bound: Bound = "value") -> EnergyReport:
        """Multiply with the figures of the rows, or with one end of their ranges."""
        parts: dict[str, float] = {}
        for (part, key), count in self.counts.items():
            parts[part] = parts.get(part, 0.0) + count * table.rows[key].converted(bound)
        return EnergyReport(scope=self.scope, **parts)

    def __add__(self, other: Self) -> Self:
        if self.scope != other.scope:
            raise ValueError(f"scopes {self.scope} and {other.scope} do not add")
        return self.of(self.scope, (*self._charges(), *other._charges()))

    def __mul__(self, times: float) -> Self:
        return self.of(self.scope, (c._replace(times=c.times * times) for c in self._charges()))

    def _charges(self) -> Iterator[Charge]:
        return (Charge(part, key, count) for (part, key), count in self.counts.items())


CLOCK_GATING = {
    "none": "the clock reaches every register in every cycle",
    "enables": "the clock stands still in registers whose enable says that they hold",
    "all": "the clock stands still in every register that holds, those of the adder trees too",
}
"""What can have its clock stopped. In the RTL, operands, tiles and results have an enable, from
which synthesis for standard cells makes clock gates; trees and the broadcast have none."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What is priced with: the tables, and what they leave open.

    Attributes
    ----------
    table
        Energies.
    node
        Process of the array, as the table names it.
    memory
        Kind of off-chip memory; None leaves its traffic out.
    clock_gating
        Which registers have no clock in cycles that do not write them: one of `CLOCK_GATING`.
    extrapolate
        Price buffers beyond the table's largest memory too.
    """

    table: EnergyTable
    node: str = "7nm"
    memory: str | None = None
    clock_gating: str = "enables"
    extrapolate: bool = False

    def __post_init__(self) -> None:
        if self.clock_gating not in CLOCK_GATING:
            raise InputError(
                f"clock gating {self.clock_gating!r}: not known; known: {', '.join(CLOCK_GATING)}"
            )

    def key(self, operation: str, format: str) -> Key:
        """Return the address of the row that prices an operation.

        Raises
        ------
        InputError
            If there is none.
        """
        return self.table.row(self.node, operation, format).key


def price(
    activity: Activity,
    config: ArrayConfig,
    table: EnergyTable,
    *,
    node: str = "7nm",
    scope: str = "core",
    memory: str | None = None,
    extrapolate: bool = False,
) -> EnergyReport:
    """Price one linear layer that was run, or predicted, on an array.

    See `bill_layer` for what is counted, and `Rates` for the parameters.
    """
    rates = Rates(table=table, node=node, memory=memory, extrapolate=extrapolate)
    return bill_layer(activity, config, rates, scope=scope).price(table)


def bill_layer(activity: Activity, config: ArrayConfig, rates: Rates, *, scope: str) -> Bill:
    """Count which rows one linear layer uses.

    Scope `arithmetic` counts the layer's `macs`, zeros included, as the BitNet papers do:

    ========== ==================== ======================== ========================
    lane       `linear_mul`         `linear_add`             `scales`
    ========== ==================== ======================== ========================
    ternary    0                    macs x INT8 add          scales x FP16 mul
    int8       macs x INT8 mul      macs x INT8 add          scales x FP16 mul
    fp16       macs x FP16 mul      macs x FP16 add          0
    ========== ==================== ======================== ========================

    Scope `core` adds what the array needs besides, padding included. A register costs `held` in
    each cycle of the run in which it has a clock (see `CLOCK_GATING`), and `active` instead in
    those that write it. Words of a memory of up to 2 KB, chosen by address, cost `active` when
    written.

    * `wider_adders`: in each step and lane, the tree adders and the accumulator's at their real
      number and widths (a sum in level l of a tree over terms of w bits has w + l; a negated int8
      has 9, a product 16), less `linear_add`. `grouped` has half or a third of the adders in a
      lane, and some that all lanes share: there the part can be negative. `fp16`: 16 bits
      throughout, or an FP32 accumulator.
    * `registers`: operands, and in R lanes the tree registers and the sum that is added to, written
      in each step; R lanes with 2 x B accumulators each, one of them written in each step.
    * `weight_buffer`: two tiles of R x N weights, written by each load.
    * `decode`: each trit that is loaded.
    * `activation_buffer`: bits written and read, by its capacity.
    * `result`: R accumulators, shifted by each word that is sent.
    * `vector`: comparing and rounding of each input, two FP16 adds; 0 on `fp16`.

    Scope `system` adds off-chip traffic, if there is a memory: weights, and activations and
    results; and the leakage of R x N MACs over all cycles, where a row says what it is.

    Not modelled: wires, glitches, the clock tree, control, counters, the registers between buses
    and buffers, refresh; multipliers in places that are only padding, since nothing in them moves.

    Parameters
    ----------
    activity
        Counts of the layer.
    config
        The array that they are of.
    rates
        What to price with.
    scope
        One of `SCOPES`.

    Raises
    ------
    InputError
        If there is no such scope, or the table lacks a row that is needed.
    """
    layer = _Layer(activity, config, rates)
    charges = list(layer.arithmetic())
    if scope != "arithmetic":
        charges += layer.core()
    if scope == "system":
        charges += layer.system()
    return Bill.of(scope, charges)


_REGISTER_BYTES = 2048
"""Capacity up to which a memory is made of registers."""


class _Layer:
    """The charges of one layer, scope by scope."""

    def __init__(self, activity: Activity, config: ArrayConfig, rates: Rates):
        self._activity = activity
        self._config = config
        self._rates = rates
        self._number = "fp16" if config.lane == "fp16" else "int8"

    def arithmetic(self) -> Iterator[Charge]:
        """Charge what the papers count."""
        key, macs = self._rates.key, self._activity.macs
        if not self._config.is_ternary:
            yield Charge("linear_mul", key("mul", self._number), macs)
        yield Charge("linear_add", key("add", self._number), macs)
        if self._number == "int8":
            yield Charge("scales", key("mul", "fp16"), self._activity.scales)

    def core(self) -> Iterator[Charge]:
        """Charge what the array needs besides."""
        activity, config = self._activity, self._config
        compute = activity.cycles.compute
        tree = adder_tree(config)

        yield from self._adders(tree)

        operand_bits = tree.operand_bits * config.operand_copies
        if config.broadcast_stages:  # the registers before the copies
            operand_bits += 2 * config.columns * config.activation_bits
            operand_bits += tree.operand_bits * config.operand_relays
        yield from self._register("registers", operand_bits, compute)
        # Behind each lane's tree stands what it adds to, read a cycle ahead.
        tree_bits = config.rows * (tree.register_bits + config.accumulator_bits)
        yield from self._register("registers", tree_bits, compute, enabled=False)
        accumulated_bits = activity.accumulator_updates * config.accumulator_bits
        yield from self._memory(
            "registers",
            capacity_bytes=2 * config.batch * config.accumulator_bits / 8,
            written_bits=accumulated_bits,
            read_bits=accumulated_bits,
        )
        tile_bits = config.rows * config.columns * config.weight_bits
        loads = activity.weight_tiles
        yield from self._register("weight_buffer", 2 * tile_bits, loads)
        if config.is_ternary:
            encoding = str(config.weight_encoding)
            trits = activity.weight_bits // 8 * TRITS_PER_BYTE[encoding]
            yield Charge("decode", self._rates.key("decode", encoding), trits)
        word_bits = config.columns * config.activation_bits
        yield from self._memory(
            "activation_buffer",
            capacity_bytes=2 * config.batch * config.buffer_words * word_bits / 8,
            written_bits=activity.activation_buffer_write_bits,
            read_bits=activity.activation_buffer_read_bits,
        )
        held_bits = config.rows * config.accumulator_bits
        yield from self._register("result", held_bits, activity.result_words)
        if self._number == "int8":
            inputs = activity.activation_bits // config.activation_bits
            yield Charge("vector", self._rates.key("add", "fp16"), 2 * inputs)

    def system(self) -> Iterator[Charge]:
        """Charge off-chip traffic and leakage."""
        activity, config, rates = self._activity, self._config, self._rates
        if rates.memory is not None:
            dram = rates.key("dram", rates.memory)
            yield Charge("weights_dram", dram, activity.weight_bits)
            yield Charge("activations_dram", dram, activity.activation_bits + activity.result_bits)
        lane = "ternary" if config.is_ternary else config.lane
        if leakage := rates.table.find(rates.node, "leakage", lane):
            seconds = activity.cycles.total / (config.clock_mhz * 1e6)
            yield Charge("leakage", leakage.key, config.rows * config.columns * seconds)

    def _adders(self, tree: "AdderTree") -> Iterator[Charge]:
        key, steps = self._rates.key, self._activity.accumulator_updates
        width = self._config.accumulator_bits
        narrow = key("add", self._number)
        if self._number == "fp16":
            yield Charge("wider_adders", narrow, steps * tree.adders)
            yield Charge("wider_adders", key("add", f"fp{width}"), steps)
        else:
            # An adder of w bits costs (32 - w) / 24 of an INT8 and (w - 8) / 24 of an INT32 add.
            compute = self._activity.cycles.compute
            count = steps * (tree.adders + 1) + compute * tree.shared_adders
            bits = steps * (tree.adder_bits + width) + compute * tree.shared_adder_bits
            beyond = (bits - 8 * count) / 24
            yield Charge("wider_adders", narrow, count - beyond)
            yield Charge("wider_adders", key("add", "int32"), beyond)
        yield Charge("wider_adders", narrow, -self._activity.macs)

    def _register(
        self, part: str, bits: int, writes: int, *, enabled: bool = True
    ) -> Iterator[Charge]:
        """Charge registers, `enabled` or written in every cycle with what they may hold already."""
        gating = self._rates.clock_gating
        if gating == "none" or (gating == "enables" and not enabled):
            idle = self._activity.cycles.total - writes
            yield Charge(part, self._rates.key("flip_flop", "held"), bits * idle)
        yield Charge(part, self._rates.key("flip_flop", "active"), bits * writes)

    def _memory(
        self, part: str, *, capacity_bytes: float, written_bits: int, read_bits: int
    ) -> Iterator[Charge]:
        rates = self._rates
        registers = capacity_bytes <= _REGISTER_BYTES
        if np.any(registers):
            yield Charge(part, rates.key("flip_flop", "active"), registers * written_bits)
        if not np.all(registers):
            bits = (1 - registers) * (written_bits + read_bits)
            for row, weight in rates.table.sram(
                rates.node, capacity_bytes, extrapolate=rates.extrapolate
            ):
                yield Charge(part, row.key, weight * bits)


class AdderTree(NamedTuple):
    """Sizes of a lane's adder tree and of what it starts from: see `hwsim.rtl.lanes`.

    Attributes
    ----------
    adders, adder_bits
        Adders of the tree, without the accumulator's, and their widths, summed.
    register_bits
        Bits of all its registers.
    shared_adders, shared_adder_bits
        Likewise of the adders that all lanes share.
    operand_bits
        Bits of the operand register that all lanes share.
    """

    adders: int
    adder_bits: int
    register_bits: int
    shared_adders: int
    shared_adder_bits: int
    operand_bits: int


class _Terms(NamedTuple):
    """What a lane's tree starts from."""

    bits: int
    owed_bits: int = 0  # that travel beside each sum: a carry or a sign
    growth: int = 1  # bits that a sum has more than its terms
    level: int = 0  # levels that may have a register before the adders of two sums


def _terms_of(lane: str, group: int | None, width: int) -> _Terms:
    if group:
        widest = max(sum_bits(width, pattern) for pattern in patterns(group))
        return _Terms(widest, owed_bits=1, level=1)
    known = {
        "negate": _Terms(width + 1),
        "carry-fold": _Terms(width, owed_bits=1, level=1),
        "int8": _Terms(2 * width),
        "fp16": _Terms(width, growth=0),
    }
    return known[lane]


def adder_tree(config: ArrayConfig) -> AdderTree:
    """Walk the adder tree of a lane by the widths of its values alone."""
    leaves = config.leaf_columns if config.lane == "carry-fold" else 1
    kind = (config.lane, config.group, leaves, config.activation_bits, config.pipeline)
    if isinstance(config.columns, int):
        return _adder_tree(*kind, config.columns)
    columns, place = np.unique(config.columns, return_inverse=True)
    trees = np.array([_adder_tree(*kind, int(count)) for count in columns])
    return AdderTree(*np.moveaxis(trees[place], -1, 0))


@cache
def _adder_tree(
    lane: str, group: int | None, leaves: int, activation_bits: int, pipeline: int, columns: int
) -> AdderTree:
    terms = _terms_of(lane, group, activation_bits)
    tree_inputs = -(-columns // (group or 1))

    def registers(level: int, widths: list[int]) -> int:
        if not pipeline or level == 0 or level % pipeline:
            return 0
        return sum(widths) + terms.owed_bits * len(widths)

    widths, level = [], terms.level
    adder_bits = 0
    for first in range(0, tree_inputs, leaves):
        width = terms.bits
        for _ in range(min(leaves, tree_inputs - first) - 1):
            width += terms.growth
            adder_bits += width
        widths.append(width)
    register_bits = registers(level, widths)
    while len(widths) > 1:
        level += 1
        pairs = zip(widths[::2], widths[1::2], strict=False)
        added = [max(pair) + terms.growth for pair in pairs]
        adder_bits += sum(added)
        widths = added + widths[2 * len(added) :]
        register_bits += registers(level, widths)
    sums = [(sum_bits(activation_bits, p), sum(map(abs, p)) > 1) for p in patterns(group or 1)]
    shared = [bits for bits, is_added in sums if is_added] * tree_inputs
    return AdderTree(
        adders=tree_inputs - 1,
        adder_bits=adder_bits,
        register_bits=register_bits,
        shared_adders=len(shared),
        shared_adder_bits=sum(shared),
        operand_bits=sum(bits for bits, _ in sums) * tree_inputs,
    )
