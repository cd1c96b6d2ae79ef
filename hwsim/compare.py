"""Whole models on an array, in several number formats side by side.

Everything comes from the *predicted* `Activity` of each linear layer, which equals what the engines
measure. Attention, norms and the LM head run in FP16 beside the array, in every format alike.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from hwsim.activity import Activity
from hwsim.config import TRITS_PER_BYTE, ArrayConfig
from hwsim.energy import (
    CLOCK_GATING,
    PICOJOULES,
    Bill,
    Charge,
    EnergyReport,
    Rates,
    bill_layer,
    parts_of,
)
from hwsim.energy_tables import ANY_NODE, Row
from hwsim.errors import InputError
from hwsim.models import ModelShape
from hwsim.predict import predict
from hwsim.uncertainty import Quotient, bounds
from hwsim.workload import Workload, attention_macs, kv_bits, vector_ops

Numbers = Any
"""A number, or many in a numpy array."""

BASELINES = ("equal-peak", "equal-area")


@dataclass(frozen=True)
class Format:
    """How weights and activations are represented.

    Attributes
    ----------
    name
        As in reports.
    lane
        Lane of the array; None for the ternary lane of the array that is asked about.
    encoding
        Encoding of ternary weights; None for that of the array.
    bits, group
        Bits of a weight, and weights in a row that share a scale, if weights are expanded to the
        lane's format before they reach the array. Its schedule does not change by that.
    """

    name: str
    lane: str | None = None
    encoding: str | None = None
    bits: int | None = None
    group: int | None = None

    def array(self, ternary: ArrayConfig, rates: Rates, baseline: str) -> ArrayConfig:
        """Return the array for this format that is to be compared with a ternary one.

        Raises
        ------
        InputError
            If `baseline` is not known, or equal areas are asked for and there are no rows for them.
        """
        if baseline not in BASELINES:
            raise InputError(f"baseline {baseline!r}: not known; known: {', '.join(BASELINES)}")
        if self.lane is None:
            return ternary.replace(weight_encoding=self.encoding or ternary.weight_encoding)
        array = ternary.baseline(self.lane)
        if baseline == "equal-peak":
            return array
        small, large = (row.converted() for row in self.area_rows(rates))
        return array.replace(rows=max(1, math.floor(ternary.rows * small / large)))

    def area_rows(self, rates: Rates) -> tuple[Row, ...]:
        """Return the areas that decide how many rows an array of equal area has.

        Raises
        ------
        InputError
            If there is none.
        """
        lanes = ("ternary", self.lane) if self.lane else ()
        return tuple(rates.table.row(rates.node, "area", lane) for lane in lanes)

    def row_bytes(self, in_features: int, array: ArrayConfig) -> int:
        """Return the bytes that a row of a weight matrix occupies, without its scales."""
        if array.is_ternary:
            return -(-in_features // TRITS_PER_BYTE[str(array.weight_encoding)])
        return -(-in_features * (self.bits or array.activation_bits) // 8)


FORMATS = {
    format.name: format
    for format in (
        Format("fp16", lane="fp16"),
        Format("int8", lane="int8"),
        Format("w4a16", lane="fp16", bits=4, group=128),
        Format("ternary"),
        Format("ternary_2bit", encoding="2bit"),
        Format("ternary_base3", encoding="base3"),
    )
}
"""Formats by name. `ternary` has the encoding of the array."""

_SCALE_BYTES = 2


class Step(NamedTuple):
    """One linear layer's part in a run: `times` layers with that activity."""

    activity: Activity
    times: int


@dataclass(frozen=True, kw_only=True)
class Result:
    """A model's run in one format.

    Attributes
    ----------
    format, model, workload, array
        What ran, in which format, on which array.
    rates, scope
        What it is priced with, and what is counted.
    bill
        Which rows it uses, and how often.
    steps
        Predicted activity of the linear layers.
    """

    format: Format
    model: ModelShape
    workload: Workload
    array: ArrayConfig
    rates: Rates
    scope: str
    bill: Bill
    steps: tuple[Step, ...]

    @cached_property
    def energy(self) -> EnergyReport:
        """Energy of the whole run."""
        return self.bill.price(self.rates.table)

    @property
    def per_token_pj(self) -> float:
        """Energy of one new token of one sequence."""
        return self.energy.total_pj / self.workload.new_tokens

    def _sum(self, count: Callable[[Activity], int]) -> int:
        return sum(step.times * count(step.activity) for step in self.steps)

    @property
    def cycles(self) -> int:
        """Cycles of all linear layers, stalls included."""
        return self._sum(lambda activity: activity.cycles.total)

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights that are read, padding of tiles included."""
        return self._sum(lambda activity: activity.weight_bits) // 8

    @property
    def utilisation(self) -> float:
        """Share of the array's MACs that do work, over all cycles."""
        peak = self.array.rows * self.array.columns * self.cycles
        return self._sum(lambda activity: activity.macs) / peak

    @property
    def latency_s(self) -> float:
        """Time of the linear layers."""
        return self.cycles / (self.array.clock_mhz * 1e6)

    @property
    def attention_s(self) -> float:
        """Time of attention."""
        return float(attention_s(self.model, self.workload, self.array, self.rates))

    @property
    def tokens_per_s(self) -> float:
        """New tokens of all sequences per second."""
        return self.workload.new_tokens / (self.latency_s + self.attention_s)

    @property
    def bounds_s(self) -> dict[str, float]:
        """Lower bounds of the time of the linear layers, by what sets them.

        The MACs, each bus with a word in every cycle, and the memory at its peak with all of the
        linear layers' traffic. `latency_s` is no less than any of the buses and of compute.
        """
        clock_hz = self.array.clock_mhz * 1e6
        return {
            "compute": self._sum(lambda a: a.cycles.compute) / clock_hz,
            "weight_bus": self._sum(lambda a: a.weight_words) / clock_hz,
            "activation_bus": self._sum(lambda a: a.activation_words) / clock_hz,
            "result_bus": self._sum(lambda a: a.result_words) / clock_hz,
            "memory": self._traffic_bytes / memory_bytes_per_s(self.rates),
        }

    @property
    def footprint_bytes(self) -> dict[str, int]:
        """Bytes that the model occupies, by part, at the end of the run."""
        return footprint_bytes(self.model, self.format, self.array, self.workload)

    def tokens_per_s_at(self, bandwidth_gb_s: float) -> float:
        """Return the new tokens of all sequences per second with a memory of that bandwidth.

        Linear layers, attention and the LM head follow each other; each takes as long as its
        cycles (MACs, beside the array), or as long as its bytes take the memory at its peak. A
        bound: how a memory keeps ports waiting is in `cycles` if the array has bandwidths.
        """
        work = self.workload
        bytes_per_s = bandwidth_gb_s * 1e9
        macs_per_s = self.array.rows * self.array.columns * self.array.clock_mhz * 1e6
        heads = work.passes * self.model.head_weights * work.lm_head
        seconds = (
            max(self.latency_s, self._traffic_bytes / bytes_per_s)
            + max(
                attention_macs(self.model, work) / macs_per_s,
                kv_bits(self.model, work) / 8 / bytes_per_s,
            )
            + max(
                heads * work.batch_size / macs_per_s,
                heads * work.head_bits / 8 / bytes_per_s,
            )
        )
        return work.new_tokens / seconds

    @property
    def _traffic_bytes(self) -> float:
        """Bytes of weights, activations and results of the linear layers."""
        return self._sum(lambda a: a.weight_bits + a.activation_bits + a.result_bits) / 8

    def largest_batch(self, capacity_bytes: int) -> int:
        """Return how many sequences of this length fit into a memory, with the model itself."""
        one = replace(self.workload, batch_size=1)
        parts = footprint_bytes(self.model, self.format, self.array, one)
        cache = parts.pop("kv_cache")
        return max(0, (capacity_bytes - sum(parts.values())) // cache)

    def _tokens_per_s_by_memory(self) -> dict[str, float]:
        rows = self.rates.table.rows
        at = (ANY_NODE, self.rates.node)
        memories = [key for key in rows if key.operation == "bandwidth" and key.node in at]
        return {key.format: self.tokens_per_s_at(rows[key].converted()) for key in memories}

    def as_dict(self) -> dict[str, Any]:
        """Return what a report needs by name, energies in joules."""
        parts = self.energy.parts
        interval = bounds(Quotient.of(self.bill), self.rates.table)
        return {
            "total_j": self.energy.total_pj / PICOJOULES,
            "per_token_j": self.per_token_pj / PICOJOULES,
            "total_j_interval": [pj / PICOJOULES for pj in (interval.low, interval.high)],
            "parts_j": {part: pj / PICOJOULES for part, pj in parts.items()},
            "parts_kind": self.bill.kinds(self.rates.table),
            "weight_bytes": self.weight_bytes,
            "footprint_bytes": self.footprint_bytes,
            "cycles": self.cycles,
            "latency_s": self.latency_s,
            "attention_s": self.attention_s,
            "tokens_per_s": self.tokens_per_s,
            "tokens_per_s_at": self._tokens_per_s_by_memory(),
            "bounds_s": self.bounds_s,
            "utilisation": self.utilisation,
            "rows": self.array.rows,
        }


def bandwidth_row(rates: Rates) -> Row | None:
    """Return the row of the off-chip memory's peak bandwidth; None without a memory."""
    if rates.memory is None:
        return None
    return rates.table.row(rates.node, "bandwidth", rates.memory)


def memory_bytes_per_s(rates: Rates) -> float:
    """Return the peak bandwidth of the off-chip memory; infinite without one."""
    row = bandwidth_row(rates)
    return row.converted() * 1e9 if row else math.inf


def attention_s(model: ModelShape, workload: Workload, array: ArrayConfig, rates: Rates) -> Numbers:
    """Return the time of attention, on as many FP16 MACs as the array has, or of its memory."""
    macs_per_s = array.rows * array.columns * array.clock_mhz * 1e6
    memory_s = kv_bits(model, workload) / 8 / memory_bytes_per_s(rates)
    return np.maximum(attention_macs(model, workload) / macs_per_s, memory_s)


def footprint_bytes(
    model: ModelShape, format: Format, array: ArrayConfig, workload: Workload
) -> dict[str, int]:
    """Return the bytes that a model occupies, by part.

    Weights are packed row by row. Ternary matrices have one 16-bit scale, int8 one a row, groups
    one each. A tied LM head is counted once, under `embedding`, with the bits of the head.
    """
    weights = scales = 0
    for linear in model.linears:
        weights += linear.out_features * format.row_bytes(linear.in_features, array)
        if format.group:
            scales += linear.out_features * -(-linear.in_features // format.group)
        elif array.is_ternary:
            scales += 1
        elif array.lane == "int8":
            scales += linear.out_features
    tied_bits = workload.head_bits if model.tied else 16
    entries = workload.batch_size * (workload.context + workload.tokens)
    return {
        "weights": model.layers * weights,
        "scales": model.layers * scales * _SCALE_BYTES,
        "embedding": model.embedding_weights * tied_bits // 8,
        "lm_head": 0 if model.tied else model.head_weights * workload.head_bits // 8,
        "norms": 2 * model.vector_parameters,
        "kv_cache": -(-entries * model.kv_entry_values * workload.kv_bits // 8),
    }


Prediction = Callable[[ArrayConfig, int, int, Numbers], Activity]


@lru_cache(maxsize=1 << 16)
def _predict(array: ArrayConfig, out_features: int, in_features: int, tokens: int) -> Activity:
    return predict(array, out_features=out_features, in_features=in_features, tokens=tokens)


def run(
    model: ModelShape,
    format: Format,
    array: ArrayConfig,
    workload: Workload,
    rates: Rates,
    *,
    scope: str,
) -> Result:
    """Run a model in one format, by prediction.

    Parameters
    ----------
    model, format, workload
        What runs.
    array
        The array of that format; its activation buffer grows if layers are longer.
    rates
        What to price with.
    scope
        One of `hwsim.energy.SCOPES`.

    Raises
    ------
    InputError
        If a sum could overflow, or a row is missing.
    """
    parts_of(scope)  # refuses a scope that is not known
    array = array.for_in_features(model.longest_in_features)
    array.check_in_features(model.longest_in_features, where=model.name)
    layers = linear_layers(model, format, array, workload.tokens_per_pass, rates, scope=scope)
    bill = Bill.of(scope, beside_the_array(model, workload, rates, scope=scope))
    for layer in layers:
        bill += layer.bill * workload.passes
    return Result(
        format=format,
        model=model,
        workload=workload,
        array=array,
        rates=rates,
        scope=scope,
        bill=bill,
        steps=tuple(Step(layer.activity, layer.times * workload.passes) for layer in layers),
    )


class LayerBill(NamedTuple):
    """Layers of one shape, in one pass: the activity of each, how many, and the bill of all."""

    activity: Activity
    times: int
    bill: Bill


def linear_layers(
    model: ModelShape,
    format: Format,
    array: ArrayConfig,
    tokens: Numbers,
    rates: Rates,
    *,
    scope: str,
    predict: Prediction = _predict,
) -> list[LayerBill]:
    """Run the linear layers of a model once, for so many tokens.

    `predict` gives the activity of a layer of an array: of its outputs, inputs and tokens.

    Raises
    ------
    InputError
        If a row is missing.
    """
    shapes = Counter((linear.out_features, linear.in_features) for linear in model.linears)
    layers = []
    for (out_features, in_features), count in shapes.items():
        activity = predict(array, out_features, in_features, tokens)
        expanding: list[Charge] = []
        if format.group:
            groups = out_features * -(-in_features // format.group)
            activity = _expanded(activity, format, array, groups, tokens)
            expanding.append(Charge("linear_mul", rates.key("mul", "fp16"), groups * tokens))
        times = count * model.layers
        bill = bill_layer(activity, array, rates, scope=scope) + Bill.of(scope, expanding)
        layers.append(LayerBill(activity, times, bill * times))
    return layers


def _expanded(
    activity: Activity, format: Format, array: ArrayConfig, groups: int, tokens: Numbers
) -> Activity:
    """Return the activity with the weights that are read before they are expanded."""
    tile_bytes = array.rows * -(-array.columns * (format.bits or 0) // 8)
    blocks = -(-tokens // array.batch)
    read_bytes = activity.weight_tiles * tile_bytes + blocks * groups * _SCALE_BYTES
    return replace(activity, weight_bits=8 * read_bytes)


def beside_the_array(
    model: ModelShape, workload: Workload, rates: Rates, *, scope: str
) -> Iterator[Charge]:
    """Charge what runs in FP16 beside the array: attention, and all that is not linear."""
    mul, add = rates.key("mul", "fp16"), rates.key("add", "fp16")
    macs = attention_macs(model, workload)
    yield Charge("attention_mul", mul, macs)
    yield Charge("attention_add", add, macs)
    vector = vector_ops(model, workload)
    yield Charge("vector", mul, vector.mul)
    yield Charge("vector", add, vector.add)
    if scope != "system":
        return
    if workload.lm_head:
        head_macs = workload.passes * workload.batch_size * model.head_weights
        yield Charge("lm_head", mul, head_macs)
        yield Charge("lm_head", add, head_macs)
    if rates.memory is not None:
        dram = rates.key("dram", rates.memory)
        yield Charge("kv_dram", dram, kv_bits(model, workload))
        if workload.lm_head:
            head_bits = model.head_weights * workload.head_bits
            yield Charge("lm_head", dram, workload.passes * head_bits)


def compare(
    model: ModelShape,
    array: ArrayConfig,
    workload: Workload,
    rates: Rates,
    *,
    scope: str = "arithmetic",
    baseline: str = "equal-peak",
) -> dict[str, Result]:
    """Run a model in all `FORMATS`.

    Parameters
    ----------
    model, workload
        What runs.
    array
        The array of the `ternary` format.
    rates, scope
        As in `run`.
    baseline
        ``equal-peak``: all arrays have the same rows. ``equal-area``: the others have as many as
        fit into the area of the ternary lanes.

    Raises
    ------
    InputError
        As `run`; and if the array is not a ternary one.
    """
    if not array.is_ternary:
        raise InputError(
            f"lane {array.lane}: the array must be a ternary one; the others are derived from it"
        )
    return {
        name: run(model, format, format.array(array, rates, baseline), workload, rates, scope=scope)
        for name, format in FORMATS.items()
    }


class WaterfallStep(NamedTuple):
    """How the ratio moves when one more part is counted on both sides, and why."""

    part: str
    ratio: float
    cause: str


def waterfall(fp16: Result, ternary: Result) -> list[WaterfallStep]:
    """Return FP16 over ternary, part after part.

    It begins with the linear layers' multiplications and additions, where it is the published 71.4,
    and ends with the ratio of the totals.
    """
    larger, smaller, why = fp16.energy, ternary.energy, _causes(fp16, ternary)
    numerator = denominator = 0.0
    steps = []
    of_linears, others = parts_of(fp16.scope)[:2], parts_of(fp16.scope)[2:]
    for parts in (of_linears, *((part,) for part in others)):
        numerator += sum(getattr(larger, part) for part in parts)
        denominator += sum(getattr(smaller, part) for part in parts)
        name = ", ".join(parts)
        steps.append(WaterfallStep(name, numerator / denominator, why[name]))
    return steps


def _causes(fp16: Result, ternary: Result) -> dict[str, str]:
    """Say for each part why counting it moves FP16 over ternary."""
    array, other = ternary.array, fp16.array
    trit_bits = 8 * array.weight_row_bytes / array.columns
    return {
        "linear_mul, linear_add": "an FP16 multiply and add against an INT8 add",
        "scales": "FP16 multiplications by scales, in ternary alone",
        "attention_mul": "FP16 in both",
        "attention_add": "FP16 in both",
        "wider_adders": "sums that are wider than 8 bits",
        "registers": f"operands of {other.activation_bits} against {array.activation_bits} bits, "
        f"sums of {other.accumulator_bits} against {array.accumulator_bits}",
        "decode": f"unpacking {array.weight_encoding}, in ternary alone",
        "weight_buffer": f"tiles of {other.weight_bits} against {array.weight_bits} bits a weight",
        "activation_buffer": f"activations of {other.activation_bits} against "
        f"{array.activation_bits} bits",
        "result": "the register that sums are sent from",
        "vector": "norms and functions in FP16 in both; ternary also rounds",
        "weights_dram": f"{other.weight_bits} against {trit_bits:.3g} bits a weight are read",
        "activations_dram": f"inputs of {other.activation_bits} against {array.activation_bits} "
        f"bits, sums of {other.result_bits} against {array.result_bits}",
        "kv_dram": f"a {fp16.workload.kv_bits}-bit KV cache in both",
        "lm_head": f"a {fp16.workload.head_bits}-bit LM head in both",
        "leakage": "by the area of the lanes and the time",
    }


def summary(results: dict[str, Result]) -> dict[str, Any]:
    """Return what `compare` found by name, for reports and JSON; energies in joules."""
    fp16, ternary = results["fp16"], results["ternary"]
    model, work, rates, table = fp16.model, fp16.workload, fp16.rates, fp16.rates.table
    ratio = bounds(Quotient.of(fp16.bill, ternary.bill), table)
    return {
        "model": model.name,
        "source": model.source,
        "as_if": not model.ternary,
        "node": rates.node,
        "scope": fp16.scope,
        "phase": work.phase,
        "tokens": work.tokens,
        "context": work.context,
        "batch_size": work.batch_size,
        "causal": work.causal,
        "memory": rates.memory,
        "clock_gating": rates.clock_gating,
        "ratio_by_clock_gating": _by_clock_gating(fp16, ternary),
        "array": ternary.array.model_dump(),
        "linear_weights": model.linear_weights,
        "linear_layers": [
            {**linear._asdict(), "count": model.layers, "weights": linear.weights}
            for linear in model.linears
        ],
        "formats": {name: result.as_dict() for name, result in results.items()},
        "ratio_fp16_over_ternary": ratio.value,
        "ratio_fp16_over_ternary_interval": [ratio.low, ratio.high],
        "waterfall": [step._asdict() for step in waterfall(fp16, ternary)],
        "table_rows_changed": [str(row.key) for row in table.user_rows],
        "not_modelled": [*NOT_MODELLED, *_without_rows(ternary)],
    }


def _by_clock_gating(larger: Result, smaller: Result) -> dict[str, float]:
    """Return the ratio of two totals, whichever registers have their clock stopped."""

    def total(result: Result, gating: str) -> float:
        rates = replace(result.rates, clock_gating=gating)
        again = run(
            result.model, result.format, result.array, result.workload, rates, scope=result.scope
        )
        return again.energy.total_pj

    return {gating: total(larger, gating) / total(smaller, gating) for gating in CLOCK_GATING}


def _without_rows(result: Result) -> list[str]:
    """Return what is left out because the table has no row for it."""
    rates = result.rates
    if result.scope != "system" or rates.table.find(rates.node, "leakage", "ternary"):
        return []
    return [f"leakage: there is no row for it at {rates.node}"]


NOT_MODELLED = (
    "wires, glitches, clock tree, control and refresh of memories",
    "reading embeddings; activations between attention and its neighbours",
    "sliding windows: every layer attends to the whole context",
    "multipliers in places that are only padding; leakage outside of the lanes",
)
"""What no scope counts."""
