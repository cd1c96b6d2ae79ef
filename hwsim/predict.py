"""The analytical model: the `Activity` of a layer, from its shape alone.

Three resources work side by side: the weight stream loads the next tile, the lanes make a step per
cycle, the serializer sends results. When each of them is done follows from when the others were, by
maxima and sums only (a max-plus recurrence), so that shifting all of its past by one cycle shifts
all of its future by one. Once the state, seen from the last step, is what it was two iterations
before, everything repeats, and the rest of a loop is a multiplication. Two, because the buffers
have two halves.

This supposes that inputs are offered and results are taken in every cycle. Where the memory system
can keep a port waiting, `hwsim.recurrence` goes through the words instead.

The recurrence is made of plain functions of integers. For many layers at once they are compiled as
they are: see `walk_all`.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from hwsim.activity import Activity, Cycles
from hwsim.config import ArrayConfig
from hwsim.schedule import START, Schedule


def predict(
    config: ArrayConfig,
    *,
    out_features: int,
    in_features: int,
    tokens: int,
    nonzero: int | None = None,
) -> Activity:
    """Predict the activity of one layer, exactly as the engines measure it.

    Parameters
    ----------
    config
        The array.
    out_features, in_features, tokens
        Shape of the layer and of its activations.
    nonzero
        Weights that are not zero; all of them, if left out. Only `nonzero_macs` depends on it.
    """
    schedule = Schedule(
        config=config, out_features=out_features, in_features=in_features, tokens=tokens
    )
    count = out_features * in_features if nonzero is None else nonzero
    return schedule.activity(predict_cycles(schedule), nonzero=count)


class Sizes(NamedTuple):
    """What the recurrence of one layer depends on.

    Attributes
    ----------
    row_blocks, column_blocks, token_blocks
        Blocks of each loop.
    batch, last_tokens
        Tokens of a token block, and of the last one.
    columns, in_features
        Inputs of a tile, and of the layer.
    bus_items
        Activations in a word of their bus.
    tile_words
        Words of the weight bus in a tile.
    step_latency
        Cycles from a step to the one in which its sum can be read.
    result_words, last_result_words
        Words of the result bus that a token's results take, and those of the last row block.
    start
        First cycle in which words are taken from the bus.
    """

    row_blocks: int
    column_blocks: int
    token_blocks: int
    batch: int
    last_tokens: int
    columns: int
    in_features: int
    bus_items: int
    tile_words: int
    step_latency: int
    result_words: int
    last_result_words: int
    start: int

    @classmethod
    def of(cls, schedule: Schedule) -> "Sizes":
        """Return the sizes of a layer; those of many layers, if the sizes of the array are many."""
        config = schedule.config
        return cls(
            row_blocks=schedule.row_blocks,
            column_blocks=schedule.column_blocks,
            token_blocks=schedule.token_blocks,
            batch=config.batch,
            last_tokens=schedule.last_tokens,
            columns=config.columns,
            in_features=schedule.in_features,
            bus_items=config.activation_bus_bits // config.activation_bits,
            tile_words=config.tile_words,
            step_latency=config.step_latency,
            result_words=schedule.result_words_of(config.rows),
            last_result_words=schedule.result_words_of(schedule.last_rows),
            start=START,
        )


class State(NamedTuple):
    """Where the resources stand between two tiles: points in time, then counts of cycles.

    Cycle 0 is the one in which the command is accepted.
    """

    step: int  # the last step
    take: int  # the step that took the newest tile: the next one is loaded from then on
    sent: int  # the last result leaves the serializer, which can load again
    room: int  # the half of the bank that the next row block fills is free
    room_after: int  # likewise, for the row block after it
    arrive: int  # the first word of the next token block can leave the queue behind the bus
    space: int  # likewise, for the half of the activation buffer that it goes to
    space_after: int  # likewise, for the token block after it
    weight_stall: int
    activation_stall: int
    result_stall: int


_TIMES = 8
"""Fields of `State` that are points in time."""

WRITE = 3
"""Cycles from that in which a word leaves the repacker's count to the one in which it can be read.

Two to get where it leaves, one to write it.
"""

REOPEN = 2
"""Cycles from the last step of a half of the activation buffer to the next word for it."""

VACATE = 2
"""Cycles from the last word of a half of the bank that is read to the next step that fills it."""

QUEUE = 1
"""Cycles in the queue of a port: from a word of activations to the repacker, or of results out."""


def predict_cycles(schedule: Schedule) -> Cycles:
    """Predict the cycles of a layer by cause, from the acceptance of its command on."""
    if schedule.config.is_limited:
        from hwsim.recurrence import cycles_by_words

        return cycles_by_words(schedule)
    return cycles_of(walk(Sizes.of(schedule)), schedule.steps)


def cycles_of(state: State, steps: int) -> Cycles:
    """Return the cycles of a layer with so many steps that ends in a state."""
    return _cycles(state, steps, ended=state.sent + QUEUE + 1)


def timeline(schedule: Schedule) -> list[Cycles]:
    """Predict the cycles of each row block of each token block, in the order of time.

    A row block's cycles end with its last step, the last one's with the run: those of sending what
    is left are its `fill_drain`. Together they are `predict_cycles`.
    """
    sizes = Sizes.of(schedule)
    state = start(sizes)
    slices = []
    before = Cycles(compute=0, weight_stall=0, activation_stall=0, result_stall=0, fill_drain=0)
    steps = 0
    for left in reversed(range(schedule.token_blocks)):
        tokens = schedule.config.batch if left else schedule.last_tokens
        for after in _row_blocks(sizes, state, tokens):
            steps += schedule.column_blocks * tokens
            ended = after.sent + QUEUE if steps == schedule.steps else after.step
            now = _cycles(after, steps, ended=ended + 1)
            slices.append(now - before)
            state, before = after, now
    return slices


def _cycles(state: State, steps: int, *, ended: int) -> Cycles:
    """Return all cycles up to the one before `ended`, after so many steps."""
    stalls = state.weight_stall + state.activation_stall + state.result_stall
    return Cycles(
        compute=steps,
        weight_stall=state.weight_stall,
        activation_stall=state.activation_stall,
        result_stall=state.result_stall,
        fill_drain=ended - steps - stalls,
    )


def _row_blocks(sizes: Sizes, state: State, tokens: int) -> Iterator[State]:
    """As `token_block`, with the state after each row block."""
    before = state
    state = first_row_block(sizes, state, tokens)
    for left in reversed(range(1, sizes.row_blocks)):
        yield state
        words = sizes.result_words if left > 1 else sizes.last_result_words
        state = row_block(sizes, state, tokens, words)
    yield leave(sizes, before, state, tokens)


# From here on, what is compiled, too: plain loops, and tuples that are written out.


def walk_all(points: Any, found: Any) -> None:
    """Walk through many layers.

    Parameters
    ----------
    points
        `Sizes`, int64, shape (layers, fields of `Sizes`).
    found
        Where their last states go, int64, shape (layers, fields of `State`).
    """
    for i in range(len(points)):
        p = points[i]
        state = walk(
            Sizes(p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12])
        )
        for field in range(len(state)):
            found[i, field] = state[field]


def walk(sizes: Sizes) -> State:
    """Return the state after a layer."""
    state = repeat(token_block, sizes, start(sizes), sizes.batch, sizes.token_blocks - 1)
    return token_block(sizes, state, sizes.last_tokens)


def start(sizes: Sizes) -> State:
    """Return the state before the first step.

    These are the first cycles in which the RTL can act: it takes words from cycle `sizes.start` on,
    a word of weights is in the tile one cycle later, and a step can be made one after that.
    """
    at = sizes.start
    arrive = at + QUEUE
    state = State(at - 1, at + 1, 0, 0, 0, arrive, 0, 0, 0, 0, 0)
    # Nothing stalls before the first step, since the lanes have had no work yet.
    first = tile(sizes, state, 1, 0, arrive + arrival(sizes, 0, 0) + WRITE, 0)
    stalls = (-first.weight_stall, -first.activation_stall)
    return State(at - 1, at + 1, 0, 0, 0, arrive, 0, 0, stalls[0], stalls[1], 0)


def token_block(sizes: Sizes, state: State, tokens: int) -> State:
    """All steps of a token block; its activations arrive while its first row block runs."""
    before = state
    state = first_row_block(sizes, state, tokens)
    if sizes.row_blocks > 1:
        state = repeat(full_row_block, sizes, state, tokens, sizes.row_blocks - 2)
        state = row_block(sizes, state, tokens, sizes.last_result_words)
    return leave(sizes, before, state, tokens)


def first_row_block(sizes: Sizes, state: State, tokens: int) -> State:
    """All steps of a row block whose activations are on their way."""
    arrive = max(state.arrive, state.space)
    interval = token_interval(sizes)
    delay = 0
    for column in range(sizes.column_blocks):
        delay = arrival(sizes, column, delay)
        room = 0 if column else state.room
        state = tile(sizes, state, tokens, room, arrive + delay + WRITE, interval)
    words = sizes.result_words if sizes.row_blocks > 1 else sizes.last_result_words
    return send(sizes, state, tokens, words)


def full_row_block(sizes: Sizes, state: State, tokens: int) -> State:
    """All steps of a row block that is not the last one."""
    return row_block(sizes, state, tokens, sizes.result_words)


def row_block(sizes: Sizes, state: State, tokens: int, words: int) -> State:
    """All steps of a row block whose activations are in the buffer."""
    s = tile(sizes, state, tokens, state.room, 0, 0)
    further = sizes.column_blocks - 1
    pause = max(0, sizes.tile_words - tokens)
    take = s.take + further * (tokens + pause)
    step = take + tokens - 1
    weight_stall = s.weight_stall + further * pause
    s = State(
        step, take, s.sent, s.room, s.room_after, s.arrive, s.space, s.space_after,
        weight_stall, s.activation_stall, s.result_stall,
    )  # fmt: skip
    return send(sizes, s, tokens, words)


def leave(sizes: Sizes, before: State, s: State, tokens: int) -> State:
    """Return the state after a token block, whose half of the buffer is free now."""
    arrive = max(before.arrive, before.space) + tokens * token_interval(sizes)
    space = s.step + REOPEN + QUEUE
    return State(
        s.step, s.take, s.sent, s.room, s.room_after, arrive, s.space_after, space,
        s.weight_stall, s.activation_stall, s.result_stall,
    )  # fmt: skip


def tile(sizes: Sizes, s: State, tokens: int, room: int, ready: int, interval: int) -> State:
    """All steps of a tile.

    Its results have room from cycle `room` on; the activations of its first token are there from
    `ready` on, those of each further one `interval` cycles later.
    """
    idle = s.step + 1
    unblocked = max(idle, room)
    loaded = max(unblocked, s.take + sizes.tile_words)
    first = max(loaded, ready)
    last = max(first + tokens - 1, ready + (tokens - 1) * interval)
    weight_stall = s.weight_stall + loaded - unblocked
    activation_stall = s.activation_stall + last - loaded - (tokens - 1)
    result_stall = s.result_stall + unblocked - idle
    return State(
        last, first, s.sent, s.room, s.room_after, s.arrive, s.space, s.space_after,
        weight_stall, activation_stall, result_stall,
    )  # fmt: skip


def send(sizes: Sizes, s: State, tokens: int, words: int) -> State:
    """Send the results of a row block, `words` for each token, whose last tile is done."""
    first = max(s.sent, s.take + sizes.step_latency)
    last = max(first + (tokens - 1) * words, s.step + sizes.step_latency)
    return State(
        s.step, s.take, last + words, s.room_after, last + VACATE, s.arrive, s.space, s.space_after,
        s.weight_stall, s.activation_stall, s.result_stall,
    )  # fmt: skip


def arrival(sizes: Sizes, word: int, before: int) -> int:
    """Return when a word of a token leaves the repacker's count, from its first bus word on.

    `before` is when the word before it did. See `hwsim.rtl.repacker.Repacker`.
    """
    items = min((word + 1) * sizes.columns, sizes.in_features)
    return max(before + 1, -(-items // sizes.bus_items))


def token_interval(sizes: Sizes) -> int:
    """Return the cycles from one token of activations to the next: when its last word leaves.

    This is what `arrival` comes to word by word: full words need one cycle each, or the bus needs
    more for each of them, so either the first or the last full word decides for all.
    """
    words = sizes.column_blocks
    last = max(1, -(-min(sizes.columns, sizes.in_features) // sizes.bus_items))
    if words > 1:
        full = -(-(words - 1) * sizes.columns // sizes.bus_items)
        last = max(last + words - 2, full)
        last = max(last + 1, -(-sizes.in_features // sizes.bus_items))
    return last


Body = Callable[[Sizes, State, int], State]


def repeat(body: Body, sizes: Sizes, state: State, tokens: int, times: int) -> State:
    """Apply `body` to a state so many times, without doing again what repeats itself."""
    before = previous = state
    done = 0  # since the last jump
    while times > 0:
        before, previous, state = previous, state, body(sizes, state, tokens)
        times -= 1
        done += 1
        if done > 1 and repeats(before, state):
            state = jump(before, state, times // 2)
            times %= 2
            done = 0
    return state


def repeats(before: State, state: State) -> bool:
    """Return whether a state is the other one some cycles later."""
    moved = state.step - before.step
    for field in range(_TIMES):  # noqa: SIM110  (numba has no all())
        # A point in time that the body neither reads nor writes stays where it was.
        if state[field] - before[field] not in (moved, 0):
            return False
    return True


def jump(before: State, s: State, times: int) -> State:
    """Go so many times again from one state to the other."""
    return State(
        s.step + times * (s.step - before.step),
        s.take + times * (s.take - before.take),
        s.sent + times * (s.sent - before.sent),
        s.room + times * (s.room - before.room),
        s.room_after + times * (s.room_after - before.room_after),
        s.arrive + times * (s.arrive - before.arrive),
        s.space + times * (s.space - before.space),
        s.space_after + times * (s.space_after - before.space_after),
        s.weight_stall + times * (s.weight_stall - before.weight_stall),
        s.activation_stall + times * (s.activation_stall - before.activation_stall),
        s.result_stall + times * (s.result_stall - before.result_stall),
    )


COMPILED = (
    walk,
    start,
    token_block,
    first_row_block,
    full_row_block,
    row_block,
    leave,
    tile,
    send,
    arrival,
    token_interval,
    repeat,
    repeats,
    jump,
)
"""What `walk_all` calls."""
