"""The recurrence of `hwsim.predict` word by word: for memory systems that keep ports waiting.

When a word moves is again a maximum of sums, but every word has a time of its own at which it is
there, so nothing repeats itself, and the loops are run. Compiled with numba.
"""

import numpy as np
from numba import njit

from hwsim import supply
from hwsim.activity import Cycles
from hwsim.config import RESULT_QUEUE_WORDS, RESULTS_UNDER_WAY
from hwsim.predict import QUEUE, REOPEN, VACATE, WRITE, Sizes
from hwsim.schedule import Schedule
from hwsim.supply import Supply

_RESULTS = 2 * RESULT_QUEUE_WORDS
"""Words of results that are remembered: more than there can be in the queue and before it."""

_arrival = njit(cache=True)(supply.arrival)
_begun = njit(cache=True)(supply.begun)
_opening = njit(cache=True)(supply.opening)
_after = njit(cache=True)(supply.after)


def cycles_by_words(schedule: Schedule) -> Cycles:
    """Predict the cycles of a layer by cause, one word after the other."""
    total, weight_stall, activation_stall, result_stall = _walk(
        Sizes.of(schedule),
        Supply.of(schedule.config, "weight"),
        Supply.of(schedule.config, "activation"),
        Supply.of(schedule.config, "result"),
    )
    return Cycles(
        compute=schedule.steps,
        weight_stall=weight_stall,
        activation_stall=activation_stall,
        result_stall=result_stall,
        fill_drain=total - schedule.steps - weight_stall - activation_stall - result_stall,
    )


@njit(cache=True)
def _walk(
    c: Sizes, weight: Supply, activation: Supply, result: Supply
) -> tuple[int, int, int, int]:
    """Return all cycles, then the stalls: of weights, activations, results.

    Names and first values are those of `hwsim.predict.start`.
    """
    step, take, sent = c.start - 1, c.start + 1, 0
    room = np.zeros(2, np.int64)  # of the halves of the bank
    space = np.zeros(2, np.int64)  # of the halves of the activation buffer
    weights = activations = results = 0  # words so far
    moved = c.start  # the decoder's word has gone on to the tile
    accepted = c.start - 1  # the last word of activations came from the bus
    queued = np.zeros(2, np.int64)  # the last two of them left the queue behind it
    written = c.start  # the last word of activations left the repacker's count
    sends = np.zeros(_RESULTS, np.int64)  # the serializer turned to the last words of results
    takes = np.zeros(_RESULTS, np.int64)  # the sink took them
    inside = outside = 0  # of them, so many are in the queue or have left it, or have left it
    free = 0  # of the sink
    weight_stall = activation_stall = result_stall = 0
    ready = np.empty(c.batch * c.column_blocks, np.int64)  # words can be read
    done = np.empty(c.batch, np.int64)  # sums can be read
    rows_half = 0
    tokens_half = 0
    for token_block in range(c.token_blocks):
        tokens = c.batch if token_block + 1 < c.token_blocks else c.last_tokens

        # Activations. Two words at most wait in the queue. The repacker holds less than two words
        # of the buffer when it takes one; the first one of a token waits for the last token to
        # leave.
        for token in range(tokens):
            packet = token * c.column_blocks
            taken = 0
            earliest = written
            if token == 0:
                accepted = max(accepted, space[tokens_half] - 1)
            for word in range(c.column_blocks):
                while taken < -(-min((word + 1) * c.columns, c.in_features) // c.bus_items):
                    gone = taken * c.bus_items // c.columns - 1
                    if gone > 0:
                        earliest = max(earliest, ready[packet + gone - 1] - WRITE + 1)
                    there = _arrival(activation, activations)
                    accepted = max(accepted + 1, queued[0] + 1, there)
                    leaves = max(accepted + QUEUE, queued[1] + 1, earliest)
                    queued[0], queued[1] = queued[1], leaves
                    activations += 1
                    taken += 1
                written = max(written, queued[1]) + 1
                ready[packet + word] = written + WRITE

        for row_block in range(c.row_blocks):
            for column_block in range(c.column_blocks):
                for word in range(c.tile_words):
                    moved = max(moved, _arrival(weight, weights)) + 1
                    weights += 1
                    if word == 0:
                        moved = max(moved, take)
                for token in range(tokens):
                    unblocked = idle = step + 1
                    if token == 0 and column_block == 0:
                        unblocked = max(idle, room[rows_half])
                    loaded = unblocked
                    if token == 0:
                        loaded = max(unblocked, moved + 1)
                    step = max(loaded, ready[token * c.column_blocks + column_block])
                    if weights > c.tile_words or token > 0:  # there was a step before
                        result_stall += unblocked - idle
                        weight_stall += loaded - unblocked
                        activation_stall += step - loaded
                    if token == 0:
                        take = step
                    done[token] = step + c.step_latency

            words = c.result_words if row_block + 1 < c.row_blocks else c.last_result_words
            for token in range(tokens):
                sent = max(sent, done[token])
                for word in range(words):
                    bursts = _begun(result, results)
                    while True:
                        # What is decided on is what the queue held two cycles before.
                        while inside < results and sends[inside % _RESULTS] < sent - 3:
                            inside += 1
                        while outside < inside and takes[outside % _RESULTS] < sent - 2:
                            outside += 1
                        if inside - outside <= RESULT_QUEUE_WORDS - RESULTS_UNDER_WAY:
                            break
                        sent = takes[outside % _RESULTS] + 3
                    if word == 0:
                        load = sent
                    sends[results % _RESULTS] = sent
                    taken_at = max(sent + QUEUE + 1, takes[(results - 1) % _RESULTS] + 1)
                    taken_at = max(taken_at, _opening(bursts, free))
                    takes[results % _RESULTS] = taken_at
                    free = _after(result, bursts, taken_at, free)
                    results += 1
                    sent += 1
            room[rows_half] = load + VACATE
            rows_half ^= 1
        space[tokens_half] = step + REOPEN
        tokens_half ^= 1
    return takes[(results - 1) % _RESULTS] + 1, weight_stall, activation_stall, result_stall
