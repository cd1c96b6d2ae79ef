"""Engine `gates`: the synthesized netlists, gate by gate, with a toggle count for every net.

The lanes are evaluated over steps and the decoders over the words that are loaded, many of them at
once: see `hwsim.gates`. What the accumulators hold before and after each step is known from exact
arithmetic; the first is an input of a lane, the second is what its output must be, and is compared
in every step. Cycles are those of the schedule.
"""

import ctypes
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.engines.ports import Observed, Stimulus
from hwsim.errors import InputError
from hwsim.gates import kernel
from hwsim.gates.activity import Counts, GateActivity, Samples
from hwsim.gates.decoding import Tiles
from hwsim.gates.designs import Netlists, netlists
from hwsim.operands import float_sums
from hwsim.parallel import in_shares, processors, side_by_side
from hwsim.predict import predict_cycles
from hwsim.schedule import Schedule
from hwsim.streams import Words, as_sent, padded

Array = NDArray[Any]

_SEGMENT_STEPS = 1 << 14
"""Steps that are prepared together, if a row block has no more."""


def run(
    stimulus: Stimulus,
    *,
    progress: Callable[[int], None] = lambda steps: None,
    high: bool = False,
    samples: int = 0,
) -> Observed:
    """Run one layer through the gates.

    Parameters
    ----------
    stimulus
        What the array is fed.
    progress
        Told the steps so far, now and then.
    high
        Whether to count for how many steps each net is 1, too.
    samples
        Steps to keep, each of one lane, for the simulation of glitches.

    Raises
    ------
    InputError
        If the ports are to wait: cycles come from the schedule.
    """
    schedule = stimulus.schedule
    if stimulus.stalls.rate:
        raise InputError("engine gates takes its cycles from the schedule, which has no stalls")
    gates = netlists(schedule.config)
    code = _compiled(gates, schedule.config.columns, high)
    started = time.perf_counter()
    tiles = Tiles(schedule.config, gates, code.library)
    evaluation = _Evaluation(stimulus, code, tiles, kinds=1 + high, samples=samples)
    fault = ""
    sums = np.zeros((schedule.tokens, schedule.out_features), evaluation.result_type)
    for segment in _segments(schedule, tiles.most_row_blocks(schedule.column_blocks)):
        fault = evaluation.run(segment, sums)
        if fault or tiles.illegal:
            break
        progress(segment.end)
    tiles.clear()  # to make room for the counts
    cycles = predict_cycles(schedule)
    finished = time.perf_counter()
    return Observed(
        outputs=as_sent(sums),
        result_words=schedule.result_words,
        cycles=cycles,
        weight_words=schedule.weight_words,
        activation_words=schedule.activation_words,
        error=tiles.illegal,
        engine_s=finished - started - evaluation.input_s,
        fault=fault,
        gates=GateActivity(
            config=schedule.config,
            netlists=gates,
            steps=schedule.steps,
            cycles=cycles.total,
            lane=evaluation.lane_counts(),
            lane_high=evaluation.lane_counts(high=True) if high else None,
            shared=evaluation.shared_counts(),
            decoder=tiles.decoder.total(schedule.token_blocks),
            recoder=None if tiles.recoder is None else tiles.recoder.total(schedule.token_blocks),
            samples=evaluation.samples() if samples else None,
        ),
    )


@dataclass(frozen=True)
class _Compiled:
    """The netlists of an array as code."""

    lane: kernel.Code
    shared: kernel.Code
    library: ctypes.CDLL


@lru_cache(16)
def _compiled(gates: Netlists, columns: int, high: bool) -> _Compiled:
    lane = kernel.Code(gates.lane, "lane", skipped="operands")
    shared = kernel.Code(gates.shared, "shared")
    library = kernel.build(shared, lane, columns=columns, high=high)
    return _Compiled(lane, shared, library)


@dataclass(frozen=True)
class _Segment:
    """Consecutive row blocks of one token block, and those whose tiles are decoded with theirs."""

    first_token: int
    tokens: int
    first_block: int
    blocks: int
    decoded: range
    half: int
    start: int
    end: int


def _segments(schedule: Schedule, most_decoded: int) -> Iterator[_Segment]:
    config = schedule.config
    done = passed = 0
    for first_token in range(0, schedule.tokens, config.batch):
        tokens = min(config.batch, schedule.tokens - first_token)
        block_steps = schedule.column_blocks * tokens
        most = max(1, _SEGMENT_STEPS // block_steps)
        # The last block of gates should be as full as it can.
        most = max(1, most - most * block_steps % kernel.BLOCK_STEPS // block_steps)
        for first_decoded in range(0, schedule.row_blocks, most_decoded):
            decoded = range(first_decoded, min(first_decoded + most_decoded, schedule.row_blocks))
            for first_block in decoded[::most]:
                blocks = min(most, decoded.stop - first_block)
                end = done + blocks * block_steps
                yield _Segment(
                    first_token, tokens, first_block, blocks, decoded, passed % 2, done, end
                )
                done, passed = end, passed + blocks


class _Evaluation:
    """The lanes of one layer, segment after segment."""

    def __init__(
        self,
        stimulus: Stimulus,
        code: _Compiled,
        tiles: Tiles,
        *,
        kinds: int,
        samples: int,
    ):
        self._stimulus = stimulus
        self._schedule = schedule = stimulus.schedule
        config = schedule.config
        self._library = code.library
        self._tiles = tiles
        self._decoded = range(0)
        self.input_s = 0.0
        self._shared, self._lane = code.shared, code.lane
        columns = schedule.column_blocks * config.columns
        self._activations = padded(
            stimulus.operands.activation, rows=schedule.tokens, columns=columns
        )
        # The last row is what registers hold before the first step: 0.
        by_step = self._activations.reshape(-1, config.columns)
        self._activation_rows = _in_words(np.pad(by_step, [(0, 1), (0, 0)]))
        # Of the step before the first one: everything is 0.
        self._before = (len(by_step), 0, 0)
        self._groups = tiles.codes.shape[1]
        self._sums_before = np.zeros((self._groups, kernel.GROUP), np.uint64)
        self._sums_of = self._sums_before  # room for those of a segment
        self._bank = np.zeros((self._groups, 2, config.batch, kernel.GROUP), np.uint32)
        threads = range(processors())
        self._lane_counters = [
            np.zeros((self._groups, code.lane.counter_count, kinds, kernel.GROUP), np.uint64)
            for _ in threads
        ]
        self._shared_counters = [
            np.zeros((code.shared.counter_count, kinds, kernel.GROUP), np.uint64) for _ in threads
        ]
        rng = np.random.default_rng(0)
        count = min(samples, schedule.steps)
        self._sampled_steps = np.sort(rng.choice(schedule.steps, count, replace=False))
        self._sampled_rows = rng.integers(config.rows, size=count)
        self._samples: list[tuple[Array, ...]] = []
        self.result_type = np.dtype(
            np.int32 if config.lane != "fp16" else f"<f{config.accumulator_bits // 8}"
        )

    def run(self, segment: _Segment, outputs: Array) -> str:
        """Evaluate a segment and fill in its outputs; return what is wrong, or nothing."""
        schedule, config = self._schedule, self._schedule.config
        self._decode(segment)
        steps = segment.end - segment.start
        shape = (segment.blocks, schedule.column_blocks, segment.tokens)
        block, column, token = (grid.ravel() for grid in np.indices(shape, np.int32))
        activation = (segment.first_token + token) * schedule.column_blocks + column
        decoded = segment.first_block - segment.decoded.start + block
        tile = 1 + decoded * schedule.column_blocks + column
        about = (activation, tile, column == 0)
        before = zip(self._before, about, strict=True)
        activation, tile, first = (np.append(b, a).astype(np.int32) for b, a in before)
        self._before = (activation[-1], tile[-1], first[-1])
        first = first.astype(np.uint8)
        sums = self._sums(segment)

        pairs = -(-steps // kernel.BLOCK_STEPS) * self._groups

        def evaluate(share: int, start: int, end: int) -> int:
            job = kernel.Job(
                activations=self._activation_rows.ctypes.data,
                activation_index=activation.ctypes.data,
                activation_stride=self._activation_rows.strides[0] // 8,
                weights=self._tiles.codes.ctypes.data,
                weight_index=tile.ctypes.data,
                sums=sums.ctypes.data,
                first=first.ctypes.data,
                steps=steps,
                rows=config.rows,
                shared_counters=self._shared_counters[share].ctypes.data,
                lane_counters=self._lane_counters[share].ctypes.data,
            )
            return int(self._library.hwsim_run(ctypes.byref(job), start, end))

        places = in_shares(evaluate, pairs, len(self._lane_counters))
        wrong = [place for place in places if place >= 0]
        if wrong:
            lane, step = divmod(wrong[0], steps + 1)
            row = (segment.first_block + block[step - 1]) * config.rows + lane
            return (
                f"lane {lane} (output {row}) of the netlist differs from the exact sum in step "
                f"{segment.start + step - 1} (column block {column[step - 1]}, token "
                f"{segment.first_token + token[step - 1]})"
            )
        self._sample(segment, activation, tile, first, sums)
        by_step = sums[:, 1:].reshape(self._groups, *shape, kernel.GROUP)
        last = by_step[:, :, -1].transpose(0, 3, 1, 2) >> np.uint64(32)
        last = last.reshape(-1, segment.blocks, segment.tokens)[: config.rows]
        rows = slice(segment.first_block * config.rows, None)
        into = outputs[segment.first_token : segment.first_token + segment.tokens, rows]
        found = last.transpose(2, 1, 0).reshape(segment.tokens, -1)[:, : into.shape[1]]
        into[:, : found.shape[1]] = self._numbers(found)
        return ""

    def _decode(self, segment: _Segment) -> None:
        """Have the tiles of a segment decoded."""
        decoded = segment.decoded
        if decoded == self._decoded:
            return
        self._decoded = decoded
        pieces = self._timed(self._stimulus.weight_pieces(decoded))
        tiles = len(decoded) * self._schedule.column_blocks
        # Each token block has the same ones again.
        self._tiles.load(pieces, tiles, count=segment.first_token == 0)
        activation, _, first = self._before
        self._before = (activation, 0, first)

    def _timed(self, pieces: Iterator[Words]) -> Iterator[Words]:
        """Give pieces of input, and add up how long they are waited for."""
        while True:
            started = time.perf_counter()
            piece = next(pieces, None)
            self.input_s += time.perf_counter() - started
            if piece is None:
                return
            yield piece

    def _sums(self, segment: _Segment) -> NDArray[np.uint64]:
        """Return accumulator and, 32 bits above it, next.

        Shape (groups of lanes, the step before + steps, lanes of a group).
        """
        schedule, config = self._schedule, self._schedule.config
        steps = segment.end - segment.start
        shape = self._groups, steps + 1, kernel.GROUP
        if self._sums_of.size < np.prod(shape):
            self._sums_of = np.empty(shape, np.uint64)
        sums = self._sums_of.ravel()[: np.prod(shape)].reshape(shape)
        sums[:, 0] = self._sums_before
        tokens = slice(segment.first_token, segment.first_token + segment.tokens)
        rows = slice(
            segment.first_block * config.rows,
            (segment.first_block + segment.blocks) * config.rows,
        )
        weights = padded(
            self._stimulus.operands.weight[rows],
            rows=segment.blocks * config.rows,
            columns=schedule.column_blocks * config.columns,
            fill=config.filling_weight,
        )
        activations = self._activations[tokens]
        given = None
        if config.lane == "fp16":
            given = _float_codes(weights, activations, schedule)
        job = kernel.ExactJob(
            weights=weights.ctypes.data,
            activations=activations.ctypes.data,
            given=None if given is None else given.ctypes.data,
            sums=sums.ctypes.data,
            bank=self._bank.ctypes.data,
            rows=config.rows,
            row_blocks=segment.blocks,
            column_blocks=schedule.column_blocks,
            tokens=segment.tokens,
            batch=config.batch,
            half=segment.half,
        )
        side_by_side(
            lambda start, end: self._library.hwsim_exact(ctypes.byref(job), start, end),
            self._groups,
        )
        self._sums_before = sums[:, -1].copy()
        return sums

    def _sample(
        self, segment: _Segment, activation: Array, tile: Array, first: Array, sums: Array
    ) -> None:
        """Keep the inputs of sampled steps, and of those before them."""
        steps = self._sampled_steps
        chosen = (segment.start <= steps) & (steps < segment.end)
        at = steps[chosen] - segment.start
        group, lane = np.divmod(self._sampled_rows[chosen], kernel.GROUP)
        for place in (at, at + 1):
            words = (
                self._activation_rows[activation[place]],
                self._tiles.codes[tile[place], group, :, lane].view(np.uint8),
                sums[group, place, lane, None].astype("<u4").view(np.uint8),
                first[place, None],
            )
            bits = (np.unpackbits(word, axis=1, bitorder="little") for word in words)
            self._samples.append(tuple(bits))

    def samples(self) -> Samples:
        """Return what was kept."""
        shared, lane = self._shared.netlist, self._lane.netlist
        befores, afters = (self._samples[i::2] for i in (0, 1))
        kept: dict[str, list[NDArray[np.uint8]]] = {"shared": [], "lane": []}
        for moments in (befores, afters):
            activation, weight, accumulator, first = map(np.concatenate, zip(*moments, strict=True))
            activation = activation[:, : len(shared.input_nets)]
            operands = shared.settle(activation)[:, list(shared.outputs["operands"])]
            ports = {
                "operands": operands,
                "weights": weight,
                "accumulator": accumulator,
                "first": first,
            }
            kept["shared"].append(activation)
            kept["lane"].append(
                np.hstack([ports[port][:, : len(nets)] for port, nets in lane.inputs.items()])
            )
        return {key: (before, after) for key, (before, after) in kept.items()}

    def _numbers(self, codes: NDArray[np.uint64]) -> Array:
        """Return what accumulators mean."""
        bits = self._schedule.config.accumulator_bits
        if self.result_type.kind == "f":
            return codes.astype(f"<u{bits // 8}").view(self.result_type)
        spare = 32 - bits
        return (codes.astype(np.uint32) << np.uint32(spare)).view(np.int32) >> spare

    def shared_counts(self) -> Counts:
        """Return the toggles of each net of what all lanes share."""
        return self._shared.by_net(self._shared_counted(0))

    def lane_counts(self, *, high: bool = False) -> Counts:
        """Return the toggles of each net of each lane, or its steps at 1: shape (rows, nets)."""
        steps = self._schedule.steps if high else None
        rows, nets = self._schedule.config.rows, len(self._lane.netlist.names)
        counts = np.empty((rows, nets), np.int64)
        for group in range(self._groups):
            counted = np.sum([c[group, :, int(high)] for c in self._lane_counters], axis=0)
            lanes = counts[group * kernel.GROUP :][: kernel.GROUP]
            lanes[:] = self._lane.by_net(counted.T, steps)[: len(lanes)]
        operands = self._shared.by_net(self._shared_counted(int(high)), steps)
        drivers = list(self._shared.netlist.outputs["operands"])
        counts[:, list(self._lane.netlist.inputs["operands"])] = operands[drivers]
        return counts

    def _shared_counted(self, kind: int) -> NDArray[np.uint64]:
        # All lanes of a group have the same.
        counted: NDArray[np.uint64] = np.sum(self._shared_counters, axis=0)[:, kind, 0]
        return counted


def _float_codes(weights: Array, activations: Array, schedule: Schedule) -> NDArray[np.uint32]:
    """Return the accumulators after each step: shape (rows, column blocks, tokens)."""
    config = schedule.config
    shape = (len(weights), schedule.column_blocks, len(activations))
    codes = np.empty(shape, np.uint32)
    for token, values in enumerate(activations):
        for column, sums in enumerate(float_sums(weights, values, config)):
            # Hardware makes one NaN only.
            sums = np.where(np.isnan(sums), abs(sums.dtype.type(np.nan)), sums)
            codes[:, column, token] = sums.view(f"<u{sums.itemsize}")
    return codes


def _in_words(rows: Array) -> Array:
    """Return rows of numbers as rows of bytes, filled up to whole 64-bit words."""
    as_bytes = np.ascontiguousarray(rows).view(np.uint8)
    return np.ascontiguousarray(np.pad(as_bytes, [(0, 0), (0, -as_bytes.shape[1] % 8)]))
