"""`Core`: the array with its buffers, from streams to a stream."""

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.config import RELAYED_COPIES, RESULT_QUEUE_WORDS, ArrayConfig
from hwsim.rtl.accumulators import AccumulatorBank
from hwsim.rtl.activations import ActivationBuffer
from hwsim.rtl.counters import CAUSES, CycleCounters
from hwsim.rtl.decoder import WeightDecoder
from hwsim.rtl.lanes import LANE_MODULE, LANES, copies_of
from hwsim.rtl.layouts import Command
from hwsim.rtl.platform import add_repeated, copies
from hwsim.rtl.serializer import ResultQueue, ResultSerializer, result_layout
from hwsim.rtl.tile import WeightTile
from hwsim.rtl.walker import Walker, turns

_ENABLED = 64
"""Most operand registers that share an enable where those have copies."""


class Core(wiring.Component):
    """Runs one layer per command, any shape.

    In each step one tile (`rows` x `columns` weights) meets one token; steps follow the loop order
    of `Walker`. A step enters the lanes only when its result is sure to have room, so the lanes
    never stall; in a cycle without a step their operands hold.

    A command with a zero in it, or with more column blocks than the buffer holds, sets `error` and
    is not run: `busy` falls after two cycles.

    A layer leaves all blocks as it found them, so only a reset has to put them there.

    Parameters
    ----------
    config : ArrayConfig
        All of it.

    Members
    -------
    command : In(stream of Command)
        Taken only when idle.
    weights : In(stream of weight_bus_bits)
        Tiles in loop order, once per token block.
    activations : In(stream of activation_bus_bits)
        Tokens, one after the other.
    results : Out(stream of result_layout)
        As they leave the `ResultSerializer`.
    busy : Out(1)
        From the acceptance of a command to that of the last result.
    error : Out(1)
        An illegal weight code or command was met; until reset or the next command.
    cycles : Out(struct of 32-bit counts)
        `total` and each of `CAUSES`.
    """

    def __init__(self, config: ArrayConfig):
        self._config = config
        super().__init__(
            {
                "command": In(stream.Signature(Command)),
                "weights": In(stream.Signature(config.weight_bus_bits)),
                "activations": In(stream.Signature(config.activation_bus_bits)),
                "results": Out(stream.Signature(result_layout(config))),
                "busy": Out(1),
                "error": Out(1),
                "cycles": Out(data.StructLayout(dict.fromkeys(("total", *CAUSES), 32))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Wire the blocks; issue the steps."""
        m = Module()
        config = self._config

        m.submodules.decoder = decoder = WeightDecoder(config)
        m.submodules.tile = tile = WeightTile(config)
        m.submodules.activation_buffer = buffer = ActivationBuffer(config)
        m.submodules.accumulators = bank = AccumulatorBank(config)
        m.submodules.serializer = serializer = ResultSerializer(config)
        m.submodules.counters = counters = CycleCounters()
        m.submodules.steps = steps = Walker(batch=config.batch, columns=config.buffer_words)
        m.submodules.tiles = tiles = Walker(
            batch=config.batch, columns=config.buffer_words, tokens=False
        )

        # One layer at a time. A command is looked at in the cycle after that in which it is taken,
        # field by field, and decided about in the next one.
        command = Signal(Command, reset_less=True)
        accept = Signal()
        taken = Signal()
        looked_at = Signal()
        good = Signal(len(Command.as_shape().members) + 2, reset_less=True)
        m.d.comb += [
            self.command.ready.eq(~self.busy),
            accept.eq(self.command.valid & self.command.ready),
        ]
        m.d.sync += [
            taken.eq(accept),
            looked_at.eq(taken),
            good.eq(
                Cat(
                    *(command[field].any() for field in Command.as_shape().members),
                    command.column_blocks <= config.buffer_words,
                    command.in_features <= config.max_in_features,
                )
            ),
        ]
        with m.If(accept):
            m.d.sync += [command.eq(self.command.payload), self.busy.eq(1), self.error.eq(0)]
        with m.If(looked_at):
            m.d.sync += [self.busy.eq(good.all()), self.error.eq(~good.all())]
        blocks: tuple[wiring.Component, ...] = (steps, tiles, buffer, serializer)
        starts = copies(m, looked_at & good.all(), len(blocks), name="start")
        for block, start in zip(blocks, starts, strict=True):
            m.d.comb += [block.start.eq(start), block.command.eq(command)]

        # Weights: words are taken only for tiles of this layer.
        take_word = Signal()
        _, last_word = turns(m, config.tile_words, take_word)
        m.d.comb += [
            decoder.i.payload.eq(self.weights.payload),
            decoder.i.valid.eq(self.weights.valid & tiles.o.valid),
            self.weights.ready.eq(decoder.i.ready & tiles.o.valid),
            take_word.eq(self.weights.valid & self.weights.ready),
            tiles.o.ready.eq(take_word & last_word),
        ]
        with m.If(decoder.illegal):
            m.d.sync += self.error.eq(1)
        wiring.connect(m, decoder.o, tile.i)
        wiring.connect(m, wiring.flipped(self.activations), buffer.i)

        # Steps. What the next two are stands in registers, and so does whether the first of them is
        # made now: little lies between two registers then, and each has a few readers only. The
        # walker's position is the third one.
        here, more = steps.o.payload, steps.o.valid
        position = data.StructLayout(
            {
                "first": 1,  # of the column blocks of its row block
                "last": 1,
                "begins_tile": 1,
                "begins_row_block": 1,
                "half": 1,  # of the bank
                "token": here.token.shape(),
            }
        )
        second = Signal(position, reset_less=True)
        following = Signal(position, reset_less=True)
        is_second = Signal()  # there is one
        walking = Signal()  # there is a first one
        half = Signal()
        index = Signal.like(buffer.index)  # of its activations, in their half of the buffer
        occupied = Array([Signal(name="occupied_0"), Signal(name="occupied_1")])

        # What is decided holds from the next cycle on: whether there is a step, and whether the
        # positions move up, because there is one or there was none to wait for.
        proceeds = Signal()
        goes = Signal()
        proceed, proceed_walker, proceed_second, proceed_buffer = copies(
            m, proceeds, 4, name="proceed", init=1
        )
        step, step_buffer = copies(m, goes, 2, name="step")

        def conditions(of: Any) -> tuple[Value, Value]:
            """Return whether a step has room for its results, and its weights."""
            return (
                ~of.begins_row_block | ~occupied[of.half],
                ~of.begins_tile | tile.available,
            )

        second_room, second_weights = conditions(second)
        first_room, first_weights = conditions(following)
        room = Signal()
        weights_there = Signal()
        second_goes = Signal()
        first_goes = Signal()
        m.d.comb += [
            second_goes.eq(second_room & second_weights & buffer.second_there),
            first_goes.eq(walking & first_room & first_weights & buffer.first_there),
            goes.eq(Mux(proceed, is_second & second_goes, first_goes)),
            proceeds.eq(Mux(proceed, ~is_second | second_goes, first_goes)),
            steps.o.ready.eq(proceed_walker),
            tile.take.eq(goes & Mux(proceed, second.begins_tile, following.begins_tile)),
            buffer.index.eq(index),
            buffer.last.eq(here.last_token & here.last_column & here.last_row),
            buffer.proceed.eq(proceed_buffer),
            buffer.load.eq(proceed_buffer & more),
            buffer.read.eq(step_buffer),
        ]
        m.d.sync += [
            room.eq(Mux(proceed, second_room, first_room)),
            weights_there.eq(Mux(proceed, second_weights, first_weights)),
        ]
        with m.If(proceed_second):
            m.d.sync += [
                walking.eq(is_second),
                following.eq(second),
                is_second.eq(more),
                second.first.eq(here.first_column),
                second.last.eq(here.last_column),
                second.begins_tile.eq(here.first_token),
                second.begins_row_block.eq(here.first_token & here.first_column),
                second.half.eq(half),
                second.token.eq(here.token),
            ]
        with m.If(buffer.load):
            # index = token * column_blocks + column_block, without a multiplication
            m.d.sync += index.eq(index + command.column_blocks)
            with m.If(here.last_token):
                m.d.sync += index.eq(here.column + 1)
                with m.If(here.last_column):
                    m.d.sync += [index.eq(0), half.eq(~half)]
        with m.If(step):
            m.d.sync += occupied[following.half].eq(1)
        with m.If(serializer.freed):
            m.d.sync += occupied[serializer.half].eq(0)

        # Operands, then the lanes, then the bank. What a step is travels beside its data.
        valid, before_valid, earlier_valid = step, Const(0), Const(0)
        about = before = earlier = following
        for stage in range(config.step_latency - 1):
            if stage == 1 + config.broadcast_stages:
                prepared = LANES[config.lane].prepare(config, buffer.o)
                operands = copies_of(prepared, config)
                most, sources, groups = len(prepared), [prepared], [before_valid]
                if config.broadcast_stages:
                    most, count = _ENABLED, config.operand_relays
                    sources = copies(m, prepared, count, name="relay", reset_less=True)
                    groups = copies(m, earlier_valid, len(operands), name="enable_group")
                # An enable for every part of every copy.
                parts = [slice(at, at + most) for at in range(0, len(prepared), most)]
                for place, (copy, group) in enumerate(zip(operands, groups, strict=True)):
                    enables = copies(m, group, len(parts), name=f"enable_{place}")
                    source = sources[place // RELAYED_COPIES]
                    for part, enable in zip(parts, enables, strict=True):
                        with m.If(enable):
                            m.d.sync += copy[part].eq(source[part])
            next_valid = Signal(name=f"valid_{stage + 1}")
            next_about = Signal.like(about, name=f"about_{stage + 1}", reset_less=True)
            m.d.sync += [next_valid.eq(valid), next_about.eq(about)]
            earlier_valid, before_valid, valid = before_valid, valid, next_valid
            earlier, before, about = before, about, next_about
        firsts = copies(m, before.first, config.operand_copies, name="first", reset_less=True)
        sums = [
            add_repeated(
                m,
                platform,
                lambda: LANES[config.lane](config),
                {
                    "operands": operands[row // config.operand_rows],
                    "weights": tile.weights[row],
                    "accumulator": bank.sums.word_select(row, config.accumulator_bits),
                    "first": firsts[row // config.operand_rows],
                },
                "next",
                module=LANE_MODULE,
                name=f"lane_{row}",
                width=config.accumulator_bits,
                clocked=config.lane_latency > 0,
            )
            for row in range(config.rows)
        ]
        m.d.comb += [
            bank.half.eq(earlier.half),
            bank.token.eq(earlier.token),
            bank.next.eq(Cat(sums)),
            bank.write.eq(before_valid),
            serializer.finished.eq(valid & about.last),
        ]

        # Results.
        m.d.comb += [
            bank.fetch.eq(serializer.fetch),
            bank.result_half.eq(serializer.next_half),
            bank.result_token.eq(serializer.next_token),
            serializer.sums.eq(bank.result),
        ]
        m.submodules.queue = queue = ResultQueue(result_layout(config), depth=RESULT_QUEUE_WORDS)
        m.d.comb += [
            serializer.room.eq(queue.room),
            queue.comes.eq(serializer.sends),
            queue.i.eq(serializer.o),
        ]
        wiring.connect(m, queue.o, wiring.flipped(self.results))
        with m.If(self.results.valid & self.results.ready & self.results.payload.last):
            m.d.sync += self.busy.eq(0)

        m.d.comb += [
            counters.begin.eq(accept),
            counters.busy.eq(self.busy),
            counters.step.eq(step),
            counters.walking.eq(walking),
            counters.room.eq(room),
            counters.weights.eq(weights_there),
        ]
        m.d.comb += [self.cycles[name].eq(getattr(counters, name)) for name in ("total", *CAUSES)]
        return m
