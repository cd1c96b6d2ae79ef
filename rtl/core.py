"""`Core`: the array with its buffers, from streams to a stream."""

from amaranth.hdl import Array, Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwsim.config import ArrayConfig
from hwsim.rtl.accumulators import AccumulatorBank
from hwsim.rtl.activations import ActivationBuffer
from hwsim.rtl.counters import CAUSES, CycleCounters
from hwsim.rtl.decoder import WeightDecoder
from hwsim.rtl.lanes import LANE_MODULE, LANES, copies_of
from hwsim.rtl.layouts import Command
from hwsim.rtl.platform import add_repeated
from hwsim.rtl.serializer import ResultSerializer, result_signature
from hwsim.rtl.tile import WeightTile
from hwsim.rtl.walker import Ahead, Walker, turns


class Core(wiring.Component):
    """Runs one layer per command, any shape.

    In each step one tile (`rows` x `columns` weights) meets one token; steps follow the loop order
    of `Walker`. A step enters the lanes only when its result is sure to have room, so the lanes
    never stall; in a cycle without a step their operands hold.

    A command with a zero in it, or with more column blocks than the buffer holds, sets `error` and
    is not run: `busy` falls after one cycle.

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
    results : Out(result_signature)
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
                "results": Out(result_signature(config)),
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

        # One layer at a time. A command is looked at in the cycle after that in which it is taken.
        command = Signal(Command, reset_less=True)
        accept = Signal()
        taken = Signal()
        start = Signal()
        m.d.comb += [
            self.command.ready.eq(~self.busy),
            accept.eq(self.command.valid & self.command.ready),
        ]
        m.d.sync += [taken.eq(accept), start.eq(0)]
        with m.If(accept):
            m.d.sync += [command.eq(self.command.payload), self.busy.eq(1), self.error.eq(0)]
        with m.If(taken):
            fine = (
                Cat(command[field].any() for field in Command.as_shape().members).all()
                & (command.column_blocks <= config.buffer_words)
                & (command.in_features <= config.max_in_features)
            )
            m.d.sync += [start.eq(fine), self.busy.eq(fine), self.error.eq(~fine)]
        for block in (steps, tiles, buffer, serializer):
            m.d.comb += [block.start.eq(start), block.command.eq(command)]

        # Weights: words are taken only for tiles of this layer.
        take_word = Signal()
        _, last_word = turns(m, config.tile_words, take_word)
        m.d.comb += [
            decoder.i.payload.eq(self.weights.payload),
            decoder.i.valid.eq(self.weights.valid & tiles.active),
            self.weights.ready.eq(decoder.i.ready & tiles.active),
            take_word.eq(self.weights.valid & self.weights.ready),
            tiles.advance.eq(take_word & last_word),
        ]
        with m.If(decoder.illegal):
            m.d.sync += self.error.eq(1)
        wiring.connect(m, decoder.o, tile.i)
        wiring.connect(m, wiring.flipped(self.activations), buffer.i)

        # Steps. What the next one is stands in registers, so that little lies between two of them;
        # the walker is one or two further.
        position = data.StructLayout(
            {
                "first": 1,  # of the column blocks of its row block
                "last": 1,
                "begins_tile": 1,
                "half": 1,  # of the bank
                "token": steps.token.shape(),
                "index": buffer.index.shape(),  # of its activations, in their half of the buffer
                "ends_half": 1,  # of the buffer
            }
        )
        m.submodules.ahead = ahead = Ahead(position)
        here = ahead.i.payload
        following, walking = ahead.o.payload, ahead.o.valid
        half = Signal()
        index = Signal.like(buffer.index)
        occupied = Array([Signal(name="occupied_0"), Signal(name="occupied_1")])
        room = Signal()
        weights_there = Signal()
        step = Signal()
        m.d.comb += [
            here.first.eq(steps.first_column),
            here.last.eq(steps.last_column),
            here.begins_tile.eq(steps.first_token),
            here.half.eq(half),
            here.token.eq(steps.token),
            here.index.eq(index),
            here.ends_half.eq(steps.last_token & steps.last_column & steps.last_row),
            ahead.i.valid.eq(steps.active),
            steps.advance.eq(steps.active & ahead.i.ready),
            room.eq(~(following.begins_tile & following.first) | ~occupied[following.half]),
            weights_there.eq(~following.begins_tile | tile.available),
            step.eq(walking & room & weights_there & buffer.available),
            ahead.o.ready.eq(step),
            tile.take.eq(step & following.begins_tile),
            buffer.index.eq(ahead.following.index),
            buffer.last.eq(ahead.following.ends_half),
            buffer.load.eq(ahead.load),
            buffer.read.eq(step),
        ]
        with m.If(steps.advance):
            # index = token * column_blocks + column_block, without a multiplication
            m.d.sync += index.eq(index + command.column_blocks)
            with m.If(steps.last_token):
                m.d.sync += index.eq(steps.column + 1)
                with m.If(steps.last_column):
                    m.d.sync += [index.eq(0), half.eq(~half)]
        with m.If(step):
            m.d.sync += occupied[following.half].eq(1)
        with m.If(serializer.freed):
            m.d.sync += occupied[serializer.half].eq(0)

        # Operands, then the lanes, then the bank. What a step is travels beside its data.
        valid, before, about = step, following, following
        for stage in range(config.step_latency - 1):
            if stage == 1 + config.broadcast_stages:
                prepared = LANES[config.lane].prepare(config, buffer.o)
                operands = copies_of(prepared, config)
                with m.If(valid):
                    m.d.sync += [copy.eq(prepared) for copy in operands]
            next_valid = Signal(name=f"valid_{stage + 1}")
            next_about = Signal.like(about, name=f"about_{stage + 1}", reset_less=True)
            m.d.sync += [next_valid.eq(valid), next_about.eq(about)]
            earlier, before, before_valid = before, about, valid
            valid, about = next_valid, next_about
        sums = [
            add_repeated(
                m,
                platform,
                lambda: LANES[config.lane](config),
                {
                    "operands": operands[row // config.operand_rows],
                    "weights": tile.weights[row],
                    "accumulator": bank.sums.word_select(row, config.accumulator_bits),
                    "first": about.first,
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
            bank.result_half.eq(serializer.half),
            bank.result_token.eq(serializer.token),
            serializer.sums.eq(bank.result),
        ]
        wiring.connect(m, serializer.o, wiring.flipped(self.results))
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
