"""Engine `gates`: the synthesized netlists, gate by gate, with a toggle count for every net.

The lanes are evaluated over steps and the decoders over the words that are loaded, many of them at
once: see `hwsim.gates`. What the accumulators hold before and after each step is known from exact
arithmetic; the first is an input of a lane, the second is what its output must be, and is compared
in every step. Cycles are those of the schedule.
"""

import ctypes
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.engines.ports import Observed, Stimulus
from hwsim.errors import InputError
from hwsim.gates import kernel
from hwsim.gates.activity import Counts, GateActivity, Samples
from hwsim.gates.designs import Netlists, netlists
from hwsim.gates.netlist import Netlist
from hwsim.operands import float_sums
from hwsim.predict import predict_cycles
from hwsim.schedule import Schedule
from hwsim.streams import Words, as_sent

Array = NDArray[Any]

_SEGMENT_STEPS = 1 << 16
"""Steps that are prepared together, if a row block has no more."""

_BYTE = 8


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
    lane = kernel.Code(gates.lane, "lane", skipped="operands")
    shared = kernel.Code(gates.shared, "shared")
    library = kernel.build(shared, lane, high=high)
    words = np.concatenate(list(stimulus.weight_pieces()))
    started = time.perf_counter()
    weights = _Weights(schedule, gates, library, words)
    evaluation = _Evaluation(
        stimulus, library, weights.codes, shared, lane, kinds=1 + high, samples=samples
    )
    fault = ""
    sums = np.zeros((schedule.tokens, schedule.out_features), evaluation.result_type)
    if not weights.illegal:
        with ThreadPoolExecutor(_threads()) as pool:
            for segment in _segments(schedule):
                fault = evaluation.run(segment, pool, sums)
                if fault:
                    break
                progress(segment.end)
    cycles = predict_cycles(schedule)
    finished = time.perf_counter()
    return Observed(
        outputs=as_sent(sums),
        result_words=schedule.result_words,
        cycles=cycles,
        weight_words=schedule.weight_words,
        activation_words=schedule.activation_words,
        error=weights.illegal,
        engine_s=finished - started,
        fault=fault,
        gates=GateActivity(
            config=schedule.config,
            netlists=gates,
            steps=schedule.steps,
            cycles=cycles.total,
            lane=evaluation.lane_counts(),
            lane_high=evaluation.lane_counts(high=True) if high else None,
            shared=evaluation.shared_counts(),
            decoder=weights.decoder,
            recoder=weights.recoder,
            samples=evaluation.samples() if samples else None,
        ),
    )


class _Weights:
    """The weights as the lanes have them, by way of the gates that decode them.

    Attributes
    ----------
    codes
        Shape (tiles x rows, 64-bit words of a row of the tile).
    illegal
        Whether any byte of the stream is no code.
    decoder, recoder
        How often each code follows each other one, in all decoders and recoders together.
    """

    def __init__(
        self, schedule: Schedule, gates: Netlists, library: ctypes.CDLL, words: Words
    ) -> None:
        self._schedule = schedule
        self._library = library
        config = schedule.config
        trits, illegal = map(gates.decoder.table, ("weights", "illegal"))
        self.illegal = bool(illegal[words].any())
        self.decoder = self._pairs(gates.decoder, words, words.shape[1])

        tiles = words.reshape(-1, config.tile_words * words.shape[1])[:, : config.tile_bytes]
        rows = np.ascontiguousarray(tiles).reshape(-1, config.weight_row_bytes)
        used = config.columns * config.weight_bits
        self.codes = self._replace(rows, _BYTE, config.weight_row_bytes, trits, used)
        self.recoder: Counts | None = None
        if gates.recoder is not None:
            places = config.tree_inputs
            by_tile = self.codes.reshape(-1, config.rows, self.codes.shape[1])
            by_row = [
                self._pairs(gates.recoder, np.ascontiguousarray(by_tile[:, row]), places)
                for row in range(config.rows)
            ]
            self.recoder = np.sum(by_row, axis=0)
            bits = config.tile_row_bits // places
            picks = gates.recoder.table("recoded")
            self.codes = self._replace(self.codes, bits, places, picks, config.tile_row_bits)

    def _replace(
        self, rows: Array, bits: int, fields: int, table: NDArray[np.uint32], used: int
    ) -> NDArray[np.uint64]:
        # A decoded byte has as many bits as the array says, a pick as many as its trits.
        to_bits = bits if bits != _BYTE else self._schedule.config.decoded_byte_bits
        replaced = np.empty((len(rows), -(-self._schedule.config.tile_row_bits // 64)), np.uint64)
        self._library.hwsim_replace(
            rows.ctypes.data,
            rows.strides[0],
            bits,
            fields,
            table.ctypes.data,
            to_bits,
            used,
            replaced.ctypes.data,
            replaced.shape[1],
            len(rows),
        )
        return replaced

    def _pairs(self, netlist: Netlist, rows: Array, places: int) -> Counts:
        """Count how often each code follows each other one at the same place of a row.

        It is all that the toggles of a decoder depend on. Shape (codes, codes).
        """
        bits = len(netlist.input_nets)
        pairs = np.zeros((1 << bits, 1 << bits), np.int64)
        again = np.stack([rows[-1], rows[0]])
        once = np.stack([np.zeros_like(rows[0]), rows[0]])
        repeated = self._schedule.token_blocks - 1
        for sequence, times in ((rows, repeated + 1), (again, repeated), (once, 1)):
            found = np.zeros_like(pairs)
            self._library.hwsim_pairs(
                sequence.ctypes.data,
                sequence.strides[0],
                len(sequence),
                bits,
                places,
                found.ctypes.data,
            )
            pairs += times * found
        return pairs


@dataclass(frozen=True)
class _Segment:
    """Consecutive row blocks of one token block."""

    first_token: int
    tokens: int
    first_block: int
    blocks: int
    half: int
    start: int
    end: int


def _segments(schedule: Schedule) -> Iterator[_Segment]:
    config = schedule.config
    done = passed = 0
    for first_token in range(0, schedule.tokens, config.batch):
        tokens = min(config.batch, schedule.tokens - first_token)
        block_steps = schedule.column_blocks * tokens
        most = max(1, _SEGMENT_STEPS // block_steps)
        for first_block in range(0, schedule.row_blocks, most):
            blocks = min(most, schedule.row_blocks - first_block)
            end = done + blocks * block_steps
            yield _Segment(first_token, tokens, first_block, blocks, passed % 2, done, end)
            done, passed = end, passed + blocks


class _Evaluation:
    """The lanes of one layer, segment after segment."""

    def __init__(
        self,
        stimulus: Stimulus,
        library: ctypes.CDLL,
        codes: NDArray[np.uint64],
        shared: kernel.Code,
        lane: kernel.Code,
        *,
        kinds: int,
        samples: int,
    ):
        self._schedule = schedule = stimulus.schedule
        config = schedule.config
        self._library = library
        self._codes = codes
        self._shared, self._lane, self._kinds = shared, lane, kinds
        columns = schedule.column_blocks * config.columns
        self._activations = _filled(stimulus.operands.activation, (schedule.tokens, columns), 0)
        # What fills a tile is zero, which 1bit does not have.
        fill = int(config.weight_encoding == "1bit")
        padded = schedule.row_blocks * config.rows, columns
        self._weights = _filled(stimulus.operands.weight, padded, fill)
        self._activation_rows = _in_words(
            self._activations.reshape(schedule.tokens * schedule.column_blocks, config.columns)
        )
        self._bank = np.zeros((2, config.batch, config.rows), np.uint32)
        # Of the step before the first one: everything is 0.
        self._before = (-1, -1, 0)
        self._sums_before = np.zeros(config.rows, np.uint64)
        threads = range(_threads())
        self._lane_counters = [
            np.zeros((config.rows, kinds, lane.counter_count), np.uint64) for _ in threads
        ]
        self._shared_counters = [
            np.zeros((kinds, shared.counter_count), np.uint64) for _ in threads
        ]
        rng = np.random.default_rng(0)
        count = min(samples, schedule.steps)
        self._sampled_steps = np.sort(rng.choice(schedule.steps, count, replace=False))
        self._sampled_rows = rng.integers(config.rows, size=count)
        self._samples: list[tuple[Array, ...]] = []
        self.result_type = np.dtype(
            np.int32 if config.lane != "fp16" else f"<f{config.accumulator_bits // 8}"
        )

    def run(self, segment: _Segment, pool: ThreadPoolExecutor, outputs: Array) -> str:
        """Evaluate a segment and fill in its outputs; return what is wrong, or nothing."""
        schedule, config = self._schedule, self._schedule.config
        steps = segment.end - segment.start
        shape = (segment.blocks, schedule.column_blocks, segment.tokens)
        block, column, token = (grid.ravel() for grid in np.indices(shape, np.int32))
        activation = (segment.first_token + token) * schedule.column_blocks + column
        tile = (segment.first_block + block) * schedule.column_blocks + column
        about = (activation, tile * config.rows, column == 0)
        before = zip(self._before, about, strict=True)
        activation, weight, first = (np.append(b, a).astype(np.int32) for b, a in before)
        self._before = (activation[-1], weight[-1], first[-1])
        first = first.astype(np.uint8)
        sums = self._sums(segment, pool)

        blocks = -(-steps // (kernel.BLOCK_STEPS))
        threads = len(self._lane_counters)
        limits = [blocks * i // threads for i in range(threads + 1)]

        def evaluate(thread: int) -> int:
            job = kernel.Job(
                activations=self._activation_rows.ctypes.data,
                activation_index=activation.ctypes.data,
                activation_stride=self._activation_rows.strides[0],
                weights=self._codes.ctypes.data,
                weight_index=weight.ctypes.data,
                weight_stride=self._codes.strides[0],
                sums=sums.ctypes.data,
                first=first.ctypes.data,
                steps=steps,
                rows=config.rows,
                shared_counters=self._shared_counters[thread].ctypes.data,
                lane_counters=self._lane_counters[thread].ctypes.data,
            )
            return int(
                self._library.hwsim_run(ctypes.byref(job), limits[thread], limits[thread + 1])
            )

        wrong = [place for place in pool.map(evaluate, range(threads)) if place >= 0]
        if wrong:
            lane, step = divmod(wrong[0], steps + 1)
            row = (segment.first_block + block[step - 1]) * config.rows + lane
            return (
                f"lane {lane} (output {row}) of the netlist differs from the exact sum in step "
                f"{segment.start + step - 1} (column block {column[step - 1]}, token "
                f"{segment.first_token + token[step - 1]})"
            )
        self._sample(segment, activation, weight, first, sums)
        last = sums[:, 1:].reshape(config.rows, *shape)[:, :, -1] >> np.uint64(32)
        rows = slice(segment.first_block * config.rows, None)
        into = outputs[segment.first_token : segment.first_token + segment.tokens, rows]
        found = last.transpose(2, 1, 0).reshape(segment.tokens, -1)[:, : into.shape[1]]
        into[:, : found.shape[1]] = self._numbers(found)
        return ""

    def _sums(self, segment: _Segment, pool: ThreadPoolExecutor) -> NDArray[np.uint64]:
        """Return accumulator and, 32 bits above it, next: shape (rows, the step before + steps)."""
        schedule, config = self._schedule, self._schedule.config
        sums = np.empty((config.rows, segment.end - segment.start + 1), np.uint64)
        sums[:, 0] = self._sums_before
        tokens = slice(segment.first_token, segment.first_token + segment.tokens)
        rows = slice(
            segment.first_block * config.rows,
            (segment.first_block + segment.blocks) * config.rows,
        )
        weights, activations = self._weights[rows], self._activations[tokens]
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
            columns=config.columns,
            row_blocks=segment.blocks,
            column_blocks=schedule.column_blocks,
            tokens=segment.tokens,
            batch=config.batch,
            half=segment.half,
        )
        parts = _threads()
        limits = [config.rows * i // parts for i in range(parts + 1)]
        list(
            pool.map(
                lambda i: self._library.hwsim_exact(ctypes.byref(job), limits[i], limits[i + 1]),
                range(parts),
            )
        )
        self._sums_before = sums[:, -1].copy()
        return sums

    def _sample(
        self, segment: _Segment, activation: Array, weight: Array, first: Array, sums: Array
    ) -> None:
        """Keep the inputs of sampled steps, and of those before them."""
        steps = self._sampled_steps
        chosen = (segment.start <= steps) & (steps < segment.end)
        at, row = steps[chosen] - segment.start, self._sampled_rows[chosen]
        for place in (at, at + 1):
            rows = np.where(weight[place] < 0, -1, weight[place] + row)
            words = (
                _rows_or_zeros(self._activation_rows, activation[place]),
                _rows_or_zeros(self._codes.view(np.uint8), rows),
                sums[row, place, None].astype("<u4").view(np.uint8),
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
        return self._shared.by_net(np.sum(self._shared_counters, axis=0)[0])

    def lane_counts(self, *, high: bool = False) -> Counts:
        """Return the toggles of each net of each lane, or its steps at 1: shape (rows, nets)."""
        steps = self._schedule.steps if high else None
        counts = self._lane.by_net(np.sum(self._lane_counters, axis=0)[:, int(high)], steps)
        operands = self._shared.by_net(np.sum(self._shared_counters, axis=0)[int(high)], steps)
        drivers = list(self._shared.netlist.outputs["operands"])
        counts[:, list(self._lane.netlist.inputs["operands"])] = operands[drivers]
        return counts


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


def _rows_or_zeros(rows: Array, index: Array) -> Array:
    return np.where(index[:, None] < 0, 0, rows[index]).astype(np.uint8)


def _filled(numbers: Array, shape: tuple[int, int], fill: int) -> Array:
    """Return an array with what it lacks in rows and columns."""
    lacking = [(0, more - there) for more, there in zip(shape, numbers.shape, strict=True)]
    if any(after for _, after in lacking):
        numbers = np.pad(numbers, lacking, constant_values=fill)
    return np.ascontiguousarray(numbers)


def _in_words(rows: Array) -> Array:
    """Return rows of numbers as rows of bytes, filled up to whole 64-bit words."""
    as_bytes = np.ascontiguousarray(rows).view(np.uint8)
    return np.ascontiguousarray(np.pad(as_bytes, [(0, 0), (0, -as_bytes.shape[1] % 8)]))


def _threads() -> int:
    return len(os.sched_getaffinity(0))
