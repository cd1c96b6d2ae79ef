"""Sampling: what a layer takes, estimated from some of its row blocks, with a confidence interval.

Toggles of a row block depend on what the one before it left in the array, and in the accumulators
the one before that. So a sampled block is run behind those two, and what these take by themselves
is subtracted: its toggles are exactly the ones that it has in the run of the whole layer. (With
more tokens than a batch, the first two row blocks of later token blocks are an exception: they
follow the last row blocks with their own tokens, not with those of the token block before.)
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.config import ArrayConfig
from hwsim.engines import Run, schedule_of
from hwsim.layer import Layer
from hwsim.operands import Operands

CONFIDENCE = 0.95
"""Of all intervals."""

_BEFORE = 2
"""Row blocks that a row block's toggles depend on."""

Checked = tuple[Run, bool | None]
"""A run, and whether its outputs are right, if that was asked for."""


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """What some row blocks say about a layer.

    Attributes
    ----------
    row_blocks, of_row_blocks
        That were run, and that there are.
    counts
        Estimates for the layer by name, as `estimate` returns them: `nonzero_macs`, and what the
        engine counts.
    engine_s
        Seconds of simulation, those of the blocks before included.
    checked
        Whether all outputs are right, if that was asked for.
    """

    row_blocks: int
    of_row_blocks: int
    counts: dict[str, Any]
    engine_s: float
    checked: bool | None


def sample(
    layer: Layer,
    operands: Operands,
    config: ArrayConfig,
    run: Callable[[Layer, Operands], Checked],
    *,
    row_blocks: int,
    seed: int,
    toggles: bool,
) -> Sampled:
    """Run row blocks of a layer that are chosen at random.

    Parameters
    ----------
    layer, operands, config
        Of the layer as a whole.
    run
        Runs a layer.
    row_blocks
        So many are chosen, without replacement; a last one that is short is run besides, since it
        is not like the others.
    seed
        Of the choice, with the name of the layer.
    toggles
        Whether the engine counts some.
    """
    schedule = schedule_of(layer, config)
    blocks = _Blocks(layer, operands, config, run, in_place=toggles)
    short = layer.out_features % config.rows > 0
    whole = schedule.row_blocks - short
    digest = hashlib.sha256(layer.name.encode()).digest()
    rng = np.random.default_rng([seed, *digest])
    chosen = np.sort(rng.choice(whole, min(row_blocks, whole), replace=False))
    measured = [blocks.measure(int(block)) for block in chosen]
    always = [blocks.measure(schedule.row_blocks - 1)] if short else []

    def estimated(values: Sequence[float]) -> dict[str, Any]:
        return estimate(values[: len(chosen)], population=whole, always=sum(values[len(chosen) :]))

    return Sampled(
        row_blocks=len(chosen) + short,
        of_row_blocks=schedule.row_blocks,
        counts=combined([*measured, *always], estimated),
        engine_s=blocks.engine_s,
        checked=None if None in blocks.checks else all(blocks.checks),
    )


class _Blocks:
    """Row blocks of a layer, run one by one."""

    def __init__(
        self,
        layer: Layer,
        operands: Operands,
        config: ArrayConfig,
        run: Callable[[Layer, Operands], Checked],
        *,
        in_place: bool,
    ):
        self._layer = layer
        self._operands = operands
        self._config = config
        self._run = run
        self._in_place = in_place
        self._count = schedule_of(layer, config).row_blocks
        self.engine_s = 0.0
        self.checks: list[bool | None] = []

    def measure(self, block: int) -> dict[str, Any]:
        """Return what a row block takes in the run of the layer, all tokens together."""
        rows = slice(block * self._config.rows, (block + 1) * self._config.rows)
        nonzero = int(np.count_nonzero(self._operands.weight[rows]))
        counts: list[dict[str, Any]] = []
        if self._in_place:
            for first in range(0, self._layer.tokens, self._config.batch):
                tokens = slice(first, first + self._config.batch)
                before = [block - back for back in range(_BEFORE, 0, -1)]
                if first == 0:  # nothing comes before the first row block of all
                    before = [other for other in before if other >= 0]
                found = self._counts([*before, block], tokens)
                if before:
                    found = combined([found, self._counts(before, tokens)], lambda v: v[0] - v[1])
                counts.append(found)
        else:
            counts.append(self._counts([block], slice(None)))
        return {"nonzero_macs": nonzero * self._layer.tokens, **combined(counts, sum)}

    def _counts(self, blocks: Sequence[int], tokens: slice) -> dict[str, Any]:
        """Run row blocks one after the other; return what the engine counts."""
        layer, operands = self._layer, self._operands
        assert layer.activation is not None
        assert layer.activation_scale is not None
        run, checked = self._run(
            replace(
                layer,
                weight=self._rows(layer.weight, blocks),
                weight_latent=None,
                activation=layer.activation[tokens],
                activation_scale=layer.activation_scale[tokens],
            ),
            replace(
                operands,
                weight=self._rows(operands.weight, blocks),
                activation=operands.activation[tokens],
            ),
        )
        self.engine_s += run.engine_s
        self.checks.append(checked)
        return counts_of(run)

    def _rows(self, weight: NDArray[Any], blocks: Sequence[int]) -> NDArray[Any]:
        """Return the rows of row blocks, counted around the layer; those that are missing filled.

        They are filled as a tile is: with the code of zero, which for 1bit is that of +1.
        """
        rows = self._config.rows
        shape = len(blocks) * rows, weight.shape[1]
        found = np.full(shape, self._config.filling_weight, weight.dtype)
        for place, block in enumerate(blocks):
            first = block % self._count * rows
            part = weight[first : first + rows]
            found[place * rows : place * rows + len(part)] = part
        return found


def counts_of(run: Run) -> dict[str, Any]:
    """Return the toggles of a run by part, under the names that results have for them."""
    counts: dict[str, Any] = {}
    if run.toggles is not None:
        counts["word_toggles"] = run.toggles.as_dict() | {"total": run.toggles.total}
    if run.gates is not None:
        counts["toggles"] = run.gates.toggles()
    return counts


def estimate(values: Sequence[float], *, population: int, always: float = 0) -> dict[str, Any]:
    """Return a sum over a population with its interval, from a sample without replacement.

    Student's t, with the correction for a finite population. A single value says nothing about the
    width: `low` and `high` are then None, unless it is the whole population.

    Parameters
    ----------
    values
        The sample; empty if there is no population.
    population
        How many there are.
    always
        What is added, known exactly.
    """
    from scipy import stats  # type: ignore[import-untyped]

    count = len(values)
    value = always + (population * float(np.mean(values)) if count else 0.0)
    half_width: float | None = None
    if count == population:
        value, half_width = always + float(sum(values)), 0.0
    elif count > 1:
        correction = math.sqrt((population - count) / (population - 1))
        error = float(np.std(values, ddof=1)) / math.sqrt(count) * correction
        quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
        half_width = population * quantile * error
    return _interval(value, half_width)


def sum_of_estimates(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the estimate of a sum of what was estimated independently: widths add in squares."""
    widths = [None if v["high"] is None else v["high"] - v["value"] for v in values]
    half_width = None if None in widths else math.hypot(*(w for w in widths if w is not None))
    return _interval(sum(v["value"] for v in values), half_width)


def is_estimate(value: Any) -> bool:
    """Say whether a value is what `estimate` returns."""
    return isinstance(value, Mapping) and "confidence" in value


def _interval(value: float, half_width: float | None) -> dict[str, Any]:
    return {
        "value": value,
        "low": None if half_width is None else value - half_width,
        "high": None if half_width is None else value + half_width,
        "confidence": CONFIDENCE,
    }


def combined(
    values: Sequence[Any],
    function: Callable[[Sequence[Any]], Any],
    is_leaf: Callable[[Any], bool] = lambda value: False,
) -> Any:
    """Combine mappings and lists of the same form, number by number."""
    first = values[0]
    if isinstance(first, Mapping) and not is_leaf(first):
        return {key: combined([v[key] for v in values], function, is_leaf) for key in first}
    if isinstance(first, list):
        return [combined(group, function, is_leaf) for group in zip(*values, strict=True)]
    return function(values)
