"""The analytical model: the `Activity` of a layer, from its shape alone.

Three resources work side by side: the weight stream loads the next tile, the lanes make a step per
cycle, the serializer sends results. When each of them is done follows from when the others were, by
maxima and sums only (a max-plus recurrence), so that shifting all of its past by one cycle shifts
all of its future by one. Once the state, seen from the last step, is what it was two iterations
before, everything repeats, and the rest of a loop is a multiplication. Two, because the buffers
have two halves.

This supposes that inputs are offered and results are taken in every cycle. Where the memory system
can keep a port waiting, `hwsim.recurrence` goes through the words instead.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

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


class _State(NamedTuple):
    """Where the resources stand between two tiles: points in time, then counts of cycles.

    Cycle 0 is the one in which the command is accepted. The defaults are those of the first cycles
    in which the RTL can act: positions of its loops are there in cycle `START`, a word of weights
    is in the tile one cycle later.
    """

    step: int = START - 1  # the last step
    take: int = START  # the step that took the newest tile: the next one is loaded from then on
    sent: int = 0  # the last result is taken: the serializer can load again
    room: int = 0  # the half of the bank that the next row block fills is free
    room_after: int = 0  # likewise, for the row block after it
    arrive: int = START  # the first word of the next token block can be taken from the bus
    space: int = 0  # the half of the activation buffer that it goes to is free
    space_after: int = 0  # likewise, for the token block after it
    weight_stall: int = 0
    activation_stall: int = 0
    result_stall: int = 0


_TIMES = 8
"""Fields of `_State` that are points in time."""


def predict_cycles(schedule: Schedule) -> Cycles:
    """Predict the cycles of a layer by cause, from the acceptance of its command on."""
    if schedule.config.is_limited:
        from hwsim.recurrence import cycles_by_words

        return cycles_by_words(schedule)
    loops = _Loops(schedule)
    state = _repeat(
        lambda s: loops.token_block(s, schedule.config.batch),
        loops.start(),
        schedule.token_blocks - 1,
    )
    state = loops.token_block(state, schedule.last_tokens)
    return _cycles(state, schedule.steps, ended=state.sent + 1)


def timeline(schedule: Schedule) -> list[Cycles]:
    """Predict the cycles of each row block of each token block, in the order of time.

    A row block's cycles end with its last step, the last one's with the run: those of sending what
    is left are its `fill_drain`. Together they are `predict_cycles`.
    """
    loops = _Loops(schedule)
    state = loops.start()
    slices = []
    before = Cycles(compute=0, weight_stall=0, activation_stall=0, result_stall=0, fill_drain=0)
    steps = 0
    for left in reversed(range(schedule.token_blocks)):
        tokens = schedule.config.batch if left else schedule.last_tokens
        for after in loops.row_blocks(state, tokens):
            steps += schedule.column_blocks * tokens
            ended = after.sent if steps == schedule.steps else after.step
            now = _cycles(after, steps, ended=ended + 1)
            slices.append(now - before)
            state, before = after, now
    return slices


def _cycles(state: _State, steps: int, *, ended: int) -> Cycles:
    """Return all cycles up to the one before `ended`, after so many steps."""
    stalls = state.weight_stall + state.activation_stall + state.result_stall
    return Cycles(
        compute=steps,
        weight_stall=state.weight_stall,
        activation_stall=state.activation_stall,
        result_stall=state.result_stall,
        fill_drain=ended - steps - stalls,
    )


class _Loops:
    """The recurrence of one layer: each method takes a state and returns a later one."""

    def __init__(self, schedule: Schedule):
        self._row_blocks = schedule.row_blocks
        self._column_blocks = schedule.column_blocks
        self._tile_words = schedule.config.tile_words
        self._step_latency = schedule.config.step_latency
        self._words = schedule.result_words_of(schedule.config.rows)
        self._last_words = schedule.result_words_of(schedule.last_rows)
        self.arrivals = _arrivals(schedule)

    def start(self) -> _State:
        """Return the state before the first step."""
        state = _State()
        # Nothing stalls before the first step, since the lanes have had no work yet.
        first = self.tile(state, 1, ready=state.arrive + self.arrivals[0] + 1)
        return state._replace(
            weight_stall=-first.weight_stall, activation_stall=-first.activation_stall
        )

    def token_block(self, state: _State, tokens: int) -> _State:
        """All steps of a token block; its activations arrive while its first row block runs."""
        before = state
        state = self._first_row_block(state, tokens)
        others = self._row_blocks - 1
        state = _repeat(lambda s: self._row_block(s, tokens, self._words), state, others - 1)
        if others:
            state = self._row_block(state, tokens, self._last_words)
        return self._leave(before, state, tokens)

    def row_blocks(self, state: _State, tokens: int) -> Iterator[_State]:
        """As `token_block`, with the state after each row block."""
        before = state
        state = self._first_row_block(state, tokens)
        for left in reversed(range(1, self._row_blocks)):
            yield state
            state = self._row_block(state, tokens, self._words if left > 1 else self._last_words)
        yield self._leave(before, state, tokens)

    def _first_row_block(self, state: _State, tokens: int) -> _State:
        arrive = max(state.arrive, state.space)
        for column, delay in enumerate(self.arrivals):
            state = self.tile(
                state,
                tokens,
                room=0 if column else state.room,
                ready=arrive + delay + 1,
                interval=self.arrivals[-1],
            )
        return self._send(state, tokens, self._words if self._row_blocks > 1 else self._last_words)

    def _leave(self, before: _State, state: _State, tokens: int) -> _State:
        """Return the state after a token block, whose half of the buffer is free now."""
        return state._replace(
            arrive=max(before.arrive, before.space) + tokens * self.arrivals[-1],
            space=state.space_after,
            space_after=state.step + 1,
        )

    def _row_block(self, state: _State, tokens: int, words: int) -> _State:
        """All steps of a row block whose activations are in the buffer."""
        state = self.tile(state, tokens, room=state.room)
        further = self._column_blocks - 1
        pause = max(0, self._tile_words - tokens)
        take = state.take + further * (tokens + pause)
        state = state._replace(
            step=take + tokens - 1,
            take=take,
            weight_stall=state.weight_stall + further * pause,
        )
        return self._send(state, tokens, words)

    def tile(
        self, state: _State, tokens: int, *, room: int = 0, ready: int = 0, interval: int = 0
    ) -> _State:
        """All steps of a tile.

        Its results have room from cycle `room` on; the activations of its first token are there
        from `ready` on, those of each further one `interval` cycles later.
        """
        idle = state.step + 1
        unblocked = max(idle, room)
        loaded = max(unblocked, state.take + self._tile_words)
        first = max(loaded, ready)
        last = max(first + tokens - 1, ready + (tokens - 1) * interval)
        return state._replace(
            step=last,
            take=first,
            result_stall=state.result_stall + unblocked - idle,
            weight_stall=state.weight_stall + loaded - unblocked,
            activation_stall=state.activation_stall + last - loaded - (tokens - 1),
        )

    def _send(self, state: _State, tokens: int, words: int) -> _State:
        """Send the results of a row block, `words` for each token, whose last tile is done."""
        first = max(state.sent, state.take + self._step_latency)
        last = max(first + (tokens - 1) * words, state.step + self._step_latency)
        return state._replace(sent=last + words, room=state.room_after, room_after=last + 1)


def _arrivals(schedule: Schedule) -> list[int]:
    """Return when each word of a token enters the buffer, from its first bus word on.

    See `hwsim.rtl.repacker.Repacker`; the last value is also the interval between two tokens.
    """
    config = schedule.config
    bus_items = config.activation_bus_bits // config.activation_bits
    arrivals = []
    latest = 0
    for word in range(1, schedule.column_blocks + 1):
        items = min(word * config.columns, schedule.in_features)
        latest = max(latest + 1, -(-items // bus_items))
        arrivals.append(latest)
    return arrivals


def _repeat(body: Callable[[_State], _State], state: _State, times: int) -> _State:
    """Apply `body` to a state so many times, without doing again what repeats itself."""
    before = previous = None
    for left in reversed(range(times)):
        before, previous, state = previous, state, body(state)
        if before is None:
            continue
        moved = _State(*(now - then for now, then in zip(state, before, strict=True)))
        # A point in time that the body neither reads nor writes stays where it was.
        if all(moved[i] in (moved.step, 0) for i in range(_TIMES)):
            pairs, rest = divmod(left, 2)
            state = _State(*(now + pairs * by for now, by in zip(state, moved, strict=True)))
            return _repeat(body, state, rest)
    return state
