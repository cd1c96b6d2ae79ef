"""The model beside hardware that exists, or that others built gate by gate.

Each comparison says what the model leaves out. Where it should agree it is a check; where it cannot
(a board's idle power, another process) it says how far off the model is, which is the point.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hwsim.compare import FORMATS, Result, footprint_bytes, run
from hwsim.config import ArrayConfig, preset
from hwsim.energy import PICOJOULES, Rates, bill_layer
from hwsim.energy_tables import EnergyTable
from hwsim.models import ZOO
from hwsim.predict import predict
from hwsim.workload import Workload

_2B4T = ZOO["bitnet-b1.58-2b-4t"]
_DECODE = Workload(phase="decode", tokens=1, lm_head=False)

KV260 = {
    "rows": 4,
    "columns": 80,
    "batch": 1,
    "weight_encoding": "base3",
    "weight_bus_bits": 512,
    "clock_mhz": 250.0,
}
"""The array of bitnet-kv260: 4 rows of 80 trits, 16 bytes each, in a cycle."""


@dataclass(frozen=True)
class Comparison:
    """One figure of others, and ours.

    Attributes
    ----------
    system
        What they built.
    source
        Where the figure is from.
    quantity, unit
        What it is of.
    low, high
        The figure; its range where there is one.
    how
        Measured, gate level, or published without saying how.
    predict
        Computes ours.
    misses
        What it leaves out, or what else differs.
    """

    system: str
    source: str
    quantity: str
    unit: str
    low: float
    high: float
    how: str
    predict: Callable[[EnergyTable], float]
    misses: str


def _board(table: EnergyTable) -> Result:
    """Return the board's decoding of a token, without the head: it has a ternary one of its own."""
    rates = Rates(table=table, memory="ddr4")
    array = ArrayConfig.make(where="kv260", **KV260)
    return run(_2B4T, FORMATS["ternary"], array, _DECODE, rates, scope="system")


def _mac_pj(
    table: EnergyTable, node: str, lane: str, parts: tuple[str, ...], **fields: Any
) -> float:
    """Return the energy of a MAC in a stall-free array, of some parts alone."""
    array = preset("default-64x64").replace(lane=lane, weight_encoding=None, accumulator_bits=None)
    array = array.replace(**fields)
    activity = predict(
        array,
        out_features=array.rows * 64,
        in_features=array.columns * 64,
        tokens=array.batch,
    )
    rates = Rates(table=table, node=node)
    report = bill_layer(activity, array, rates, scope="core").price(table)
    return sum(report.parts[part] for part in parts) / activity.macs


def _lane(
    node: str, lane: str, *, more: tuple[str, ...] = (), **fields: Any
) -> Callable[[EnergyTable], float]:
    parts = ("linear_mul", "linear_add", "wider_adders", *more)
    return lambda table: _mac_pj(table, node, lane, parts, **fields)


def _non_embedding_gb(name: str, format: str) -> Callable[[EnergyTable], float]:
    def gigabytes(table: EnergyTable) -> float:
        array = FORMATS[format].array(preset("default-64x64"), Rates(table=table), "equal-peak")
        parts = footprint_bytes(ZOO[name], FORMATS[format], array, _DECODE)
        return (parts["weights"] + parts["scales"] + parts["norms"]) / 1e9

    return gigabytes


def _run_512(size: str, format: str, table: EnergyTable, *, kv_bits: int = 16) -> Result:
    """Run a model of "Era" over 512 tokens."""
    rates = Rates(table=table)
    array = FORMATS[format].array(preset("default-64x64"), rates, "equal-peak")
    model, work = ZOO[f"bitnet-b1.58-{size}"], Workload(kv_bits=kv_bits)
    return run(model, FORMATS[format], array, work, rates, scope="arithmetic")


def _memory_ratio(table: EnergyTable) -> float:
    fp16, ternary = (
        sum(_run_512("3b", format, table).footprint_bytes.values())
        for format in ("fp16", "ternary_2bit")
    )
    return fp16 / ternary


def _largest_batch(format: str, kv_bits: int) -> Callable[[EnergyTable], float]:
    def batch(table: EnergyTable) -> int:
        return _run_512("70b", format, table, kv_bits=kv_bits).largest_batch(160 * 10**9)

    return batch


_ERA = "The Era of 1-bit LLMs, arXiv 2402.17764"
_REPORT = "BitNet b1.58 2B4T Technical Report, arXiv 2504.12285, Table 1"
_GATES = "ASAP7 netlists of this project's first lanes, zero-delay to with glitches"
_GATES_MISS = "the constants know no selection, wires or glitches; the netlist has no wires either"

_TEREFFIC_PJ = PICOJOULES / 455 / 370e6

_BOARD: tuple[tuple[str, str, float, Callable[[EnergyTable], float], str], ...] = (
    ("weights read a token", "bytes", 417_546_240, lambda table: _board(table).weight_bytes, "-"),
    (
        "time of the linear layers",
        "ms",
        32.80,
        lambda table: _board(table).latency_s * 1e3,
        "ports that fall behind: the board reports 79.6 % of a beat a clock",
    ),
    (
        "decoding",
        "tokens/s",
        16.78,
        lambda table: _board(table).tokens_per_s,
        "what runs after the linear layers: LM head, attention on the processor, norms",
    ),
    (
        "energy of a token, above idle",
        "J",
        0.147,
        lambda table: _board(table).energy.total_pj / PICOJOULES,
        "an FPGA instead of 7 nm gates, the processor, the LM head; 0.381 J with idle power",
    ),
)

COMPARISONS: tuple[Comparison, ...] = (
    *(
        Comparison(
            name,
            _REPORT,
            "memory without embeddings",
            "GB",
            gigabytes,
            gigabytes,
            "published",
            _non_embedding_gb(name, format),
            "untied LM heads would count as embeddings",
        )
        for name, format, gigabytes in (
            ("bitnet-b1.58-2b-4t", "ternary_base3", 0.4),
            ("llama-3.2-1b", "fp16", 2.0),
            ("gemma-3-1b", "fp16", 1.4),
            ("qwen2.5-1.5b", "fp16", 2.6),
            ("smollm2-1.7b", "fp16", 3.2),
            ("minicpm-2b", "fp16", 4.8),
        )
    ),
    Comparison(
        "BitNet b1.58 3B on a GPU",
        f"{_ERA}, section 3",
        "memory, FP16 over ternary",
        "x",
        3.55,
        3.55,
        "measured",
        _memory_ratio,
        "working memory of framework and activations, on both sides",
    ),
    *(
        Comparison(
            f"{name} 70B on two GPUs of 80 GB",
            f"{_ERA}, Table 3",
            "largest batch of 512 tokens each",
            "sequences",
            batch,
            batch,
            "measured",
            _largest_batch(format, kv_bits),
            misses,
        )
        for name, format, kv_bits, batch, misses in (
            ("LLaMA", "fp16", 16, 16, "working memory; batches in steps"),
            (
                "BitNet b1.58",
                "ternary_2bit",
                8,
                176,
                "working memory; a cache of 8 bits, which section 4 suggests: 16 bits cannot fit",
            ),
        )
    ),
    *(
        Comparison(
            "bitnet-kv260",
            "MerlijnW70/bitnet-kv260, docs/measurements.md",
            quantity,
            unit,
            figure,
            figure,
            "measured",
            predict_it,
            misses,
        )
        for quantity, unit, figure, predict_it, misses in _BOARD
    ),
    Comparison(
        "ternary dot lane of 64",
        _GATES,
        "trit-MAC",
        "pJ",
        0.0151,
        0.0306,
        "gate level",
        _lane("7nm", "negate", pipeline=0, weight_encoding="2bit"),
        _GATES_MISS,
    ),
    Comparison(
        "INT8 dot lane of 64",
        _GATES,
        "MAC",
        "pJ",
        0.124,
        0.162,
        "gate level",
        _lane("7nm", "int8", pipeline=0),
        _GATES_MISS,
    ),
    Comparison(
        "FP16 MAC",
        _GATES,
        "MAC",
        "pJ",
        0.308,
        0.588,
        "gate level",
        _lane("7nm", "fp16", pipeline=0),
        _GATES_MISS,
    ),
    Comparison(
        "Zymet 2026, 5-trit decoder, tree and 24-bit accumulator",
        "Nangate45, gate level",
        "weight position",
        "pJ",
        0.253,
        0.253,
        "gate level",
        _lane(
            "45nm",
            "negate",
            more=("decode", "registers"),
            rows=1,
            columns=5,
            batch=1,
            weight_encoding="base3",
        ),
        "selection, wires; its registers are scaled from 7 nm",
    ),
    Comparison(
        "BrainTTA, ternary operation",
        "22 nm silicon, arXiv 2211.11331, abstract",
        "operation",
        "pJ",
        0.067,
        0.067,
        "measured",
        _lane("7nm", "negate", more=("registers", "weight_buffer", "activation_buffer")),
        "7 nm instead of 22 nm; instruction fetch, control and data movement of a processor; where "
        "an operation is half a MAC, twice theirs is to be compared",
    ),
    Comparison(
        "TerEffic, 370 M parameters on the chip",
        "arXiv 2502.16473v2, abstract: 455 tokens/s/W",
        "a token, by parameter",
        "pJ",
        _TEREFFIC_PJ,
        _TEREFFIC_PJ,
        "published",
        _lane("7nm", "carry-fold", more=("decode", "registers", "weight_buffer"), batch=1),
        "an FPGA instead of 7 nm gates, its power at rest, reading weights from its block RAM, "
        "all that is not a linear layer; parameters that are embeddings do no work",
    ),
)
"""All comparisons; figures of others as they print them."""

LEFT_OUT = {
    "TeLLMe v2 (arXiv 2510.15926): 25 tokens/s at 5 W on a KV260": (
        "its abstract does not name the model, whose size decides"
    ),
    "TerEffic from HBM (arXiv 2502.16473v2): 727 tokens/s for 2.7 B parameters": (
        "its abstract does not say how many sequences share the weights that are read"
    ),
    "TCN-CUTIE (arXiv 2212.00688): 1036 TOp/s/W in 22 nm": (
        "its activations are trits, too: none of its additions is one of 8 bits"
    ),
    "Slim-Llama (ISSCC 2025): 4.92 TOPS, 82.07 mW at 200 MHz, 28 nm": (
        "the paper is not at hand, and reports of it give 1.31 and 189.8 TOPS/W beside the 60 that "
        "these two figures make"
    ),
}
"""What others published and the model cannot be held against, with the reason."""


def _written(figure: float) -> str:
    return f"{figure:,}" if isinstance(figure, int) else f"{figure:.4g}"


def markdown(table: EnergyTable) -> str:
    """Return the comparisons as a page.

    Raises
    ------
    InputError
        If the table lacks a row.
    """
    lines = [
        "# Does it agree with hardware that exists?",
        "",
        "Made by `hwsim energy --validation docs/validation.md`. A ratio is predicted over theirs;",
        "where theirs is a range, over its middle.",
        "",
        "| system | quantity | theirs | how | predicted | ratio | what the prediction misses |",
        "|---|---|---|---|---|---|---|",
    ]
    for c in COMPARISONS:
        predicted = c.predict(table)
        theirs = " - ".join(dict.fromkeys(map(_written, (c.low, c.high))))
        ours = _written(predicted)
        ratio = predicted / ((c.low + c.high) / 2)
        lines.append(
            f"| {c.system} ({c.source}) | {c.quantity} | {theirs} {c.unit} | {c.how} "
            f"| {ours} {c.unit} | {ratio:.2f} | {c.misses} |"
        )
    lines += ["", "Not compared:", ""]
    lines += [f"* {what}: {reason}." for what, reason in LEFT_OUT.items()]
    return "\n".join(lines) + "\n"
