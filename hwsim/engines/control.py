"""The control of the core: a state machine on counters that says what moves in which cycle.

It is the hardware of `hwsim.rtl` without its data, register by register, between ports that are
driven as `hwsim.engines.pysim` drives them. Names are those of the hardware. Compiled with numba.
"""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hwsim import supply
from hwsim.activity import Cycles
from hwsim.config import RESULT_QUEUE_WORDS, RESULTS_UNDER_WAY
from hwsim.engines import stalls
from hwsim.engines.ports import HardwareHang, Stimulus
from hwsim.engines.stalls import PORTS
from hwsim.predict import Sizes
from hwsim.supply import Supply

CAUSES = tuple(field.name for field in fields(Cycles))

Log = NDArray[np.uint8]
"""For each cycle the place of its cause in `CAUSES`, and flags of what moved."""

CAUSE = 0x07
TILE_TAKEN = 0x08
WEIGHT_TAKEN = 0x10
ACTIVATION_TAKEN = 0x20
RESULT_TAKEN = 0x40

COMPUTE, _WEIGHT_STALL, _ACTIVATION_STALL, _RESULT_STALL, _FILL_DRAIN = range(len(CAUSES))

_CHUNK_CYCLES = 1 << 16
"""Between two looks at whether the user wants to stop."""


class _Core(NamedTuple):
    """What does not change in a run."""

    sizes: Sizes
    rows: int
    per_result: int
    tokens: int
    out_features: int
    weight_words: int
    activation_words: int
    result_words: int
    weight: Supply
    activation: Supply
    result: Supply
    threshold: int
    weight_draws: np.uint64
    activation_draws: np.uint64
    result_draws: np.uint64

    @classmethod
    def of(cls, stimulus: Stimulus) -> "_Core":
        schedule, pattern = stimulus.schedule, stimulus.stalls
        config = schedule.config
        supplies = {port: stimulus.supply(port) for port in PORTS}
        draws = {f"{port}_draws": np.uint64(pattern.start(i)) for i, port in enumerate(PORTS)}
        ports: dict[str, Any] = {**supplies, **draws}
        return cls(
            sizes=Sizes.of(schedule),
            rows=config.rows,
            per_result=config.results_per_word,
            tokens=schedule.tokens,
            out_features=schedule.out_features,
            weight_words=schedule.weight_words,
            activation_words=schedule.activation_words,
            result_words=schedule.result_words,
            threshold=pattern.threshold,
            **ports,
        )


_REGISTERS = np.dtype(
    [
        (name, np.int64)
        for name in (
            # of the run
            *("cycle", "moved", "done", *CAUSES),
            # of the ports
            *("weight_offered", "weights_taken", "activation_offered", "activations_taken"),
            *("results_taken", "sink_free"),
            # of the decoder and the tile
            *("decoded", "word", "free"),
            # of the activation buffer: its walker, the repacker, then its halves
            *("taking_token", "taking_left", "taking_half", "opened", "left"),
            *("queued", "queue_left", "queue_token", "level", "final", "mark"),
            *("moving", "moving_ends", "leaving", "leaving_ends", "writing_half", "using_half"),
            # of the steps
            *("token", "column_block", "row_block", "tokens_left", "index", "half", "finishing"),
            *("going", "had_room", "had_weights"),
            # of the serializer
            *("waiting", "held_rows", "rows_left", "sent_half"),
            *("sent_token", "sent_row", "sent_tokens_left", "room", "room_ahead"),
            *("sending", "queued_results"),
        )
    ]
    + [(name, np.int64, 2) for name in ("filled", "written", "occupied")]
)

_arrival = njit(cache=True)(supply.arrival)
_begun = njit(cache=True)(supply.begun)
_opening = njit(cache=True)(supply.opening)
_after = njit(cache=True)(supply.after)
_mix: Any = njit(cache=True)(stalls.mix)


@njit(cache=True)
def _waits(start: np.uint64, threshold: int, cycle: int) -> Any:
    if threshold == 0:
        return False
    return _mix(start + np.uint64(cycle) * np.uint64(stalls.STEP)) >> np.uint64(32) < threshold


@njit(cache=True)
def _run(c: _Core, s: Any, log: Log) -> int:
    """Run until the layer is done or the log is full; return the cycles that were logged."""
    for at in range(len(log)):
        # The ports begin the cycle.
        cycle = s.cycle
        if s.weight_offered == 0 and s.weights_taken < c.weight_words:
            there = cycle >= _arrival(c.weight, s.weights_taken)
            s.weight_offered = there and not _waits(c.weight_draws, c.threshold, cycle)
        if s.activation_offered == 0 and s.activations_taken < c.activation_words:
            there = cycle >= _arrival(c.activation, s.activations_taken)
            s.activation_offered = there and not _waits(c.activation_draws, c.threshold, cycle)
        bursts = _begun(c.result, s.results_taken)
        result_ready = cycle >= _opening(bursts, s.sink_free) and not _waits(
            c.result_draws, c.threshold, cycle
        )
        running = cycle >= c.sizes.start

        # Weights: decoder and tile.
        tile_accepts = s.decoded > 0 and s.free == 1
        completing = tile_accepts and s.word == c.sizes.tile_words - 1
        tile_available = s.free == 0 or completing
        weight_taken = running and s.weight_offered == 1 and s.decoded < 2

        # Activations: repacker and buffer.
        if s.final == 1:
            repacker_ready = s.level <= c.sizes.columns
            repacked = s.level > 0
        else:
            repacker_ready = s.level < 2 * c.sizes.columns
            repacked = s.level >= c.sizes.columns
        repacked_last = s.final == 1 and s.level <= c.sizes.columns
        dequeued = s.queued > 0 and repacker_ready
        activation_taken = running and s.activation_offered == 1 and s.opened == 1 and s.queued < 2
        taking_block_is_last = s.taking_left <= c.sizes.batch
        taking_last_token = s.taking_token == c.sizes.batch - 1 or (
            taking_block_is_last and s.taking_token + 1 == s.taking_left
        )

        # Steps.
        walking = running and s.tokens_left > 0
        last_block = s.tokens_left <= c.sizes.batch
        last_token = s.token == c.sizes.batch - 1 or (last_block and s.token + 1 == s.tokens_left)
        last_column = s.column_block + 1 == c.sizes.column_blocks
        last_row = s.row_block + 1 == c.sizes.row_blocks
        step = s.going == 1
        occupied_0, occupied_1 = s.occupied  # what the next step is decided by

        # Results.
        result_taken = s.queued_results > 0 and result_ready
        shift = s.room == 1 and s.held_rows > c.per_result
        load = s.room == 1 and s.held_rows <= c.per_result and s.waiting > 0
        finished = s.finishing >> (c.sizes.step_latency - 2) & 1
        sent_block_is_last = s.sent_tokens_left <= c.sizes.batch
        sent_last_token = s.sent_token == c.sizes.batch - 1 or (
            sent_block_is_last and s.sent_token + 1 == s.sent_tokens_left
        )
        sent_last_row = s.sent_row + 1 == c.sizes.row_blocks

        # The counters.
        if step:
            cause = COMPUTE
            s.compute += 1
        elif s.compute == 0 or not walking:
            cause = _FILL_DRAIN
            s.fill_drain += 1
        elif s.had_room == 0:
            cause = _RESULT_STALL
            s.result_stall += 1
        elif s.had_weights == 0:
            cause = _WEIGHT_STALL
            s.weight_stall += 1
        else:
            cause = _ACTIVATION_STALL
            s.activation_stall += 1
        log[at] = (
            cause
            | TILE_TAKEN * (step and s.token == 0)
            | WEIGHT_TAKEN * weight_taken
            | ACTIVATION_TAKEN * activation_taken
            | RESULT_TAKEN * result_taken
        )

        # The clock edge. Weights:
        s.decoded += weight_taken - tile_accepts
        if tile_accepts:
            s.word += 1
        if completing:
            s.word = 0
        if weight_taken:
            s.weights_taken += 1
            s.weight_offered = 0

        # Activations: what goes into the buffer, what leaves the repacker, what enters it, what
        # enters the queue before it.
        if s.leaving == 1:
            s.written[s.writing_half] += 1
            if s.leaving_ends == 1:
                s.writing_half ^= 1
        s.leaving = s.moving
        s.leaving_ends = s.moving_ends
        s.moving = repacked
        s.moving_ends = repacked_last and s.mark == 1
        if repacked:
            s.level = 0 if repacked_last else s.level - c.sizes.columns
            if repacked_last:
                s.final = 0
        if dequeued:
            s.level += min(s.queue_left, c.sizes.bus_items)
            s.final = s.queue_left <= c.sizes.bus_items
            s.queue_left -= c.sizes.bus_items
            if s.final == 1:
                s.queue_left = c.sizes.in_features
                s.queue_token += 1
                s.mark = s.queue_token % c.sizes.batch == 0 or s.queue_token == c.tokens
        s.queued += activation_taken - dequeued
        if running and s.taking_left > 0 and s.filled[s.taking_half] == 0:
            s.opened = 1
        if activation_taken:
            s.activations_taken += 1
            s.activation_offered = 0
            s.filled[s.taking_half] = 1
            s.left -= c.sizes.bus_items
            if s.left <= 0:
                s.left = c.sizes.in_features
                s.taking_token += 1
                if taking_last_token:
                    s.taking_half ^= 1
                    s.opened = not taking_block_is_last and s.filled[s.taking_half] == 0
                    s.taking_token = 0
                    s.taking_left -= c.sizes.batch

        # Results:
        if load:
            s.held_rows = min(s.rows_left, c.rows)
            s.sent_token += 1
            if sent_last_token:
                s.occupied[s.sent_half] = 0
                s.sent_half ^= 1
                s.rows_left -= c.rows
                s.sent_token = 0
                s.sent_row += 1
                if sent_last_row:
                    s.rows_left = c.out_features
                    s.sent_row = 0
                    s.sent_tokens_left -= c.sizes.batch
        elif shift:
            s.held_rows -= c.per_result
        s.room = s.room_ahead
        s.room_ahead = s.queued_results <= RESULT_QUEUE_WORDS - RESULTS_UNDER_WAY
        s.queued_results += s.sending - result_taken
        s.sending = load or shift
        if result_taken:
            s.sink_free = _after(c.result, bursts, cycle, s.sink_free)
            s.results_taken += 1
            s.done = s.results_taken == c.result_words
        s.waiting += finished - load
        s.finishing = s.finishing << 1 | (step and last_column)

        # Steps:
        if step:
            s.occupied[s.half] = 1
            s.index += c.sizes.column_blocks
            s.token += 1
            if last_token:
                s.token = 0
                s.column_block += 1
                s.index = s.column_block
                if last_column:
                    s.index = 0
                    s.half ^= 1
                    s.column_block = 0
                    s.row_block += 1
                    if last_row:
                        s.row_block = 0
                        s.tokens_left -= c.sizes.batch
                        s.written[s.using_half] = 0
                        s.filled[s.using_half] = 0
                        s.using_half ^= 1
        occupied = occupied_1 if s.half == 1 else occupied_0
        s.had_room = s.token > 0 or s.column_block > 0 or occupied == 0
        s.had_weights = s.token > 0 or tile_available
        activations_there = s.index < s.written[s.using_half]
        s.going = (
            running
            and s.tokens_left > 0
            and s.had_room == 1
            and s.had_weights == 1
            and activations_there
        )
        s.free = not tile_available or (s.going == 1 and s.token == 0)

        if weight_taken or activation_taken or result_taken:
            s.moved = cycle
        s.cycle = cycle + 1
        if s.done == 1:
            return at + 1
    return len(log)


class Control:
    """One run of the state machine.

    Iterating gives the `Log`, part by part; the counters are those of the cycles so far.

    Raises
    ------
    HardwareHang
        If nothing moves any more.
    """

    def __init__(self, stimulus: Stimulus):
        self._core = _Core.of(stimulus)
        self._patience = stimulus.patience
        self._state = np.zeros(1, _REGISTERS).view(np.recarray)
        state = self._state[0]
        state.taking_left = state.tokens_left = state.sent_tokens_left = self._core.tokens
        state.free = state.opened = 1
        state.left = state.queue_left = self._core.sizes.in_features
        state.rows_left = self._core.out_features

    def __iter__(self) -> Iterator[Log]:
        state = self._state[0]
        while not state.done:
            log = np.empty(_CHUNK_CYCLES, np.uint8)
            yield log[: _run(self._core, state, log)]
            if state.cycle - state.moved > self._patience:
                raise HardwareHang(f"no transfer since cycle {state.moved}")

    @property
    def cycles(self) -> Cycles:
        """Cycles by cause."""
        return Cycles(**{cause: int(self._state[0][cause]) for cause in CAUSES})

    @property
    def weight_words(self) -> int:
        """Words that were taken from the weight port."""
        return int(self._state[0].weights_taken)

    @property
    def activation_words(self) -> int:
        """Words that were taken from the activation port."""
        return int(self._state[0].activations_taken)
