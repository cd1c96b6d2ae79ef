from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from formal.contract import Contract, Refuted, prove
from formal.ghosts import conserved, least, steady

from hwsim.config import RESULTS_UNDER_WAY, ArrayConfig
from hwsim.rtl.activations import ActivationBuffer
from hwsim.rtl.decoder import DECODERS, WeightDecoder
from hwsim.rtl.repacker import Repacker
from hwsim.rtl.serializer import ResultQueue, ResultSerializer
from hwsim.rtl.tile import WeightTile
from hwsim.rtl.top import Top
from hwsim.rtl.walker import Ahead


@pytest.mark.parametrize("encoding", ["1bit", "2bit", "base3", None])
def test_weight_decoder(encoding: str | None, tmp_path: Path) -> None:
    lane = "negate" if encoding else "int8"
    config = ArrayConfig(lane=lane, weight_encoding=encoding, weight_bus_bits=8)
    c = Contract()
    c.m.submodules.dut = dut = WeightDecoder(config)
    c.free(dut.i.payload, dut.i.valid, dut.o.ready)
    weights, illegal = DECODERS[encoding](c.m, dut.i.payload)
    accepted = dut.i.valid & dut.i.ready

    steady(c, "word", valid=dut.o.valid, ready=dut.o.ready, payload=dut.o.payload)
    inside = conserved(
        c,
        "word",
        i_items=[weights],
        i_count=accepted,
        o_items=[dut.o.payload],
        o_count=dut.o.valid & dut.o.ready,
        capacity=2,
    )
    c.claim("a word inside is offered", dut.o.valid == (inside != 0))
    c.claim("what can be taken is not refused", dut.i.ready == (inside != 2))
    wrong = Signal()
    c.m.d.sync += wrong.eq(accepted & illegal)
    c.claim("only words that were taken are illegal", dut.illegal == wrong)
    prove(c, folder=tmp_path)


def test_ahead(tmp_path: Path) -> None:
    c = Contract()
    c.m.submodules.dut = dut = Ahead(2)
    c.free(dut.i.payload, dut.i.valid, dut.o.ready)

    steady(c, "item", valid=dut.o.valid, ready=dut.o.ready, payload=dut.o.payload)
    inside = conserved(
        c,
        "item",
        i_items=[dut.i.payload],
        i_count=dut.i.valid & dut.i.ready,
        o_items=[dut.o.payload],
        o_count=dut.o.valid & dut.o.ready,
        capacity=2,
    )
    c.claim("an item inside is offered", dut.o.valid == (inside != 0))
    c.claim("what can be taken is not refused", dut.i.ready == (inside != 2))
    prove(c, folder=tmp_path)


@pytest.mark.parametrize(
    ("i_items", "o_items"),
    [
        (1, 1),
        (2, 2),
        (2, 4),
        *(
            pytest.param(*items, marks=pytest.mark.slow)
            for items in [(1, 3), (2, 1), (2, 3), (3, 2), (4, 1)]
        ),
    ],
)
def test_repacker(i_items: int, o_items: int, tmp_path: Path) -> None:
    longest = 7
    c = Contract()
    c.m.submodules.dut = dut = Repacker(
        item_bits=2, i_items=i_items, o_items=o_items, max_length=longest
    )
    c.free(dut.start, dut.i.payload, dut.i.valid, dut.i_mark)
    c.constant(dut.length)
    begun = Signal()
    known = Signal()  # for a cycle
    c.m.d.sync += known.eq(1)
    with c.m.If(dut.start):
        c.m.d.sync += begun.eq(1)
    c.assume(dut.length != 0)
    c.assume(~dut.start | (known & ~begun))
    c.assume(~dut.i.valid | (begun & ~dut.start))

    # Items of the packet under way that have not been taken, and that have not been sent.
    i_left, o_left = Signal(range(longest + 1)), Signal(range(longest + 1))
    accepted = dut.i.valid & dut.i.ready
    i_count = Mux(accepted, least(i_left, i_items), 0)
    o_count = Mux(dut.o.valid, least(o_left, o_items), 0)
    for left, count in ((i_left, i_count), (o_left, o_count)):
        c.m.d.sync += left.eq(Mux(dut.start | (left == count), dut.length, left - count))

    def items(payload: Signal, count: int) -> list[Signal]:
        return [payload[2 * place : 2 * place + 2] for place in range(count)]

    sent = items(dut.o.payload, o_items)
    inside = conserved(
        c,
        "item",
        i_items=items(dut.i.payload, i_items),
        i_count=i_count,
        o_items=sent,
        o_count=o_count,
        capacity=2 * o_items + 4 * i_items,
    )
    c.claim("i_last", ~accepted | (dut.i_last == (i_left <= i_items)))
    c.claim("o_last", ~dut.o.valid | (dut.o_last == (o_left <= o_items)))
    c.claim("only what is inside leaves", ~dut.o.valid | (inside >= least(o_left, o_items)))
    # The mark of the packet under way leaves with its last word.
    marks, packets = Signal(8), Signal(4)  # of the packets inside, the oldest one lowest
    comes, goes = accepted & dut.i_last, dut.o.valid & dut.o_last
    c.m.d.sync += packets.eq(packets + comes - goes)
    staying = Signal.like(packets)
    c.m.d.comb += staying.eq(packets - goes)
    c.m.d.sync += marks.eq((marks >> goes) | (dut.i_mark & comes) << staying)
    c.claim("marks stay with their packets", ~goes | (dut.o_mark == marks[0]))
    # A word that is there waits for three cycles at most, the last two in registers.
    there = inside >= least(o_left, o_items)
    waited = [Signal(name=f"waited_{cycles}") for cycles in range(3)]
    c.m.d.sync += Cat(waited).eq(Mux(dut.o.valid | ~there, 0, Cat(1, *waited)))
    c.claim("a whole word leaves soon", ~begun | ~waited[2] | dut.o.valid)
    refused = [Signal(name=f"refused_{cycles}") for cycles in range(3)]
    c.m.d.sync += Cat(refused).eq(Mux(dut.i.ready | dut.o.valid, 0, Cat(1, *refused)))
    c.claim("it waits for nothing else", ~refused[2] | dut.i.ready | dut.o.valid)
    for place, item in enumerate(sent):
        c.claim(f"zeros fill place {place}", ~dut.o.valid | (place < o_left) | (item == 0))
    prove(c, folder=tmp_path)


@pytest.mark.parametrize(
    ("rows", "columns", "bus"), [(1, 1, 8), (2, 4, 8), (3, 3, 16), (2, 5, 8), (1, 2, 16)]
)
def test_weight_tile(rows: int, columns: int, bus: int, tmp_path: Path) -> None:
    config = ArrayConfig(rows=rows, columns=columns, weight_bus_bits=bus)
    c = Contract()
    c.m.submodules.dut = dut = WeightTile(config)
    c.free(dut.i.payload, dut.i.valid, dut.take)
    c.assume(~dut.take | dut.available)

    # Bytes are the items: a row is packed by itself, and begins with a new one.
    row_bytes, per_word = config.weight_row_bytes, bus // 8
    used = columns * config.weight_bits
    accepted = dut.i.valid & dut.i.ready
    left = Signal(range(config.tile_bytes + 1), init=config.tile_bytes)
    i_count = Mux(accepted, least(left, per_word), 0)
    c.m.d.sync += left.eq(Mux(left == i_count, config.tile_bytes, left - i_count))
    sent = []
    for row in range(rows):
        weights = dut.weights[row][:used]
        sent += [weights[at : at + 8] for at in range(0, row_bytes * 8, 8)]
    fill = [8 - len(byte) for byte in sent]
    i_items = []
    for place in range(per_word):
        byte = dut.i.payload[8 * place : 8 * place + 8]
        masks = Array((1 << (8 - bits)) - 1 for bits in fill)
        i_items.append(byte & masks[config.tile_bytes - left + place])

    stepping, taken, visible = Signal(), Signal(), Signal()
    c.m.d.sync += [stepping.eq(dut.take), taken.eq(stepping), visible.eq(taken)]
    conserved(
        c,
        "byte",
        i_items=i_items,
        i_count=i_count,
        o_items=sent,
        o_count=Mux(visible, config.tile_bytes, 0),
        capacity=3 * config.tile_bytes,
    )
    complete = Signal(range(4))  # tiles that have come and have not been taken
    completing = accepted & (left <= per_word)
    c.m.d.sync += complete.eq(complete + completing - dut.take)
    c.claim("a complete tile is available", dut.available == (complete + completing != 0))
    c.claim("it waits for nothing but a step", dut.i.ready | dut.available)
    steady(c, "tile", valid=~visible, ready=taken, payload=Cat(*dut.weights))
    prove(c, folder=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "batch", "bus", "bound"),
    [(1, 1, 8, None), (2, 1, 24, None), (2, 2, 8, 16), (3, 2, 16, 16)],
)
def test_result_serializer(
    rows: int, batch: int, bus: int, bound: int | None, tmp_path: Path
) -> None:
    config = ArrayConfig(rows=rows, batch=batch, accumulator_bits=8, result_bus_bits=bus)
    c = Contract()
    m = c.m
    m.submodules.dut = dut = ResultSerializer(config)
    c.free(dut.finished, dut.room)

    # A layer of up to 2 token blocks and 2 row blocks; the next one begins when it is over.
    tokens, outputs = Signal(range(2 * batch + 1)), Signal(range(2 * rows + 1))
    c.constant(tokens)
    c.constant(outputs)
    c.assume((tokens - 1 < 2 * batch) & (tokens != 0) & (outputs - 1 < 2 * rows) & (outputs != 0))
    row_blocks = Mux(outputs > rows, 2, 1)
    m.d.comb += [
        dut.command.tokens.eq(tokens),
        dut.command.out_features.eq(outputs),
        dut.command.row_blocks.eq(row_blocks),
    ]
    busy = Signal()
    c.free(dut.start)
    known = Signal(range(3))  # the layer, for so many cycles
    m.d.sync += known.eq(Mux(known == 2, 2, known + 1))
    c.assume(~dut.start | ((known == 2) & ~busy))

    # Both sides walk through the layer; a row block's results of one token are a bundle.
    class Walk:
        def __init__(self, side: str):
            self.token = Signal(range(batch), name=f"{side}_token")
            self.row_block = Signal(1, name=f"{side}_row_block")
            self.left = Signal(range(2 * batch + 1), name=f"{side}_left")  # tokens from here on
            self.half = Signal(name=f"{side}_half")
            self.last_token = (self.token == batch - 1) | (self.token + 1 == self.left)
            self.last_row = self.row_block == row_blocks - 1
            self.last = self.last_token & self.last_row & (self.left <= batch)
            self.rows = Mux(self.row_block == 1, outputs - rows, least(outputs, rows))

        def step(self, when: Signal) -> None:
            with m.If(when):
                m.d.sync += self.token.eq(self.token + 1)
                with m.If(self.last_token):
                    m.d.sync += [self.token.eq(0), self.half.eq(~self.half)]
                    m.d.sync += self.row_block.eq(self.row_block + 1)
                    with m.If(self.last_row):
                        m.d.sync += [self.row_block.eq(0), self.left.eq(self.left - batch)]
                        with m.If(self.left <= batch):
                            m.d.sync += self.left.eq(0)
            with m.If(dut.start):
                m.d.sync += [Cat(self.token, self.row_block).eq(0), self.left.eq(tokens)]

    # The bank: written where a half is free, read by the serializer.
    bank = Array(Signal(rows * 8, name=f"word_{index}") for index in range(2 * batch))
    bundle = Signal(rows * 8)
    c.free(bundle)
    into = Walk("in")
    full = Array(Signal(name=f"full_{half}") for half in (0, 1))
    since = Signal(range(4))  # the start, cycles
    m.d.sync += since.eq(Mux(dut.start, 1, Mux(since == 3, 3, since + 1)))
    c.assume(~dut.finished | (busy & (since == 3) & (into.left != 0)))
    c.assume(~dut.finished | (into.token != 0) | ~full[into.half])
    into.step(dut.finished)
    with m.If(dut.freed):
        m.d.sync += full[dut.half].eq(0)
    with m.If(dut.finished):
        m.d.sync += [full[into.half].eq(1), bank[into.token + Mux(into.half, batch, 0)].eq(bundle)]
    address = Signal(range(2 * batch))
    with m.If(dut.fetch[0]):
        m.d.sync += address.eq(dut.next_token + Mux(dut.next_half, batch, 0))
    m.d.comb += dut.sums.eq(bank[address])

    # What leaves.
    out = Walk("out")
    sent_rows = Signal(range(rows + 1))  # of the bundle that is being sent
    o_rows = least(out.rows - sent_rows, config.results_per_word)
    bundle_ends = sent_rows + o_rows == out.rows
    out.step(dut.sends & bundle_ends)
    m.d.sync += sent_rows.eq(
        Mux(dut.start, 0, Mux(dut.sends, Mux(bundle_ends, 0, sent_rows + o_rows), sent_rows))
    )
    ends = out.last & bundle_ends
    m.d.sync += busy.eq(dut.start | (busy & ~(dut.sends & ends)))

    word = [dut.o.data[8 * at : 8 * at + 8] for at in range(config.results_per_word)]
    o_count = Mux(dut.sends, o_rows, 0)
    inside = conserved(
        c,
        "result",
        i_items=[bundle[8 * at : 8 * at + 8] for at in range(rows)],
        i_count=Mux(dut.finished, into.rows, 0),
        o_items=word,
        o_count=o_count,
        capacity=(2 * batch + 1) * rows,
        clear=dut.start,
    )
    room, roomy, waits = Signal(), Signal(), Signal()
    m.d.sync += [room.eq(dut.room), roomy.eq(room), waits.eq(~dut.start & (inside != o_count))]
    c.claim("a word leaves where there is room", dut.sends == (waits & roomy))
    c.claim("only the last word is the last", ~dut.sends | (dut.o.last == ends))
    c.claim("nothing is sent between layers", busy | ~dut.sends)
    for place, item in enumerate(word):
        c.claim(f"zeros fill place {place}", ~dut.sends | (place < o_rows) | (item == 0))
    whole = (tokens == 2 * batch) & (outputs == 2 * rows)
    c.reach("a layer of all shapes ends", dut.sends & ends & whole)
    prove(c, folder=tmp_path, bound=bound)


def test_result_queue(tmp_path: Path) -> None:
    depth = 5
    c = Contract()
    c.m.submodules.dut = dut = ResultQueue(2, depth=depth)
    c.free(dut.i, dut.comes, dut.o.ready)
    room, roomy = Signal(), Signal()
    c.m.d.sync += [room.eq(dut.room), roomy.eq(room)]
    c.assume(~dut.comes | roomy)

    steady(c, "word", valid=dut.o.valid, ready=dut.o.ready, payload=dut.o.payload)
    inside = conserved(
        c,
        "word",
        i_items=[dut.i],
        i_count=dut.comes,
        o_items=[dut.o.payload],
        o_count=dut.o.valid & dut.o.ready,
        capacity=depth,
    )
    c.claim("a word inside is offered", dut.o.valid == (inside != 0))
    sure = Signal()
    c.m.d.sync += sure.eq(inside + RESULTS_UNDER_WAY <= depth)
    c.claim("there is room where it is sure", dut.room == sure)
    c.reach("it is full", inside == depth)
    prove(c, folder=tmp_path)


class WatchedBuffer(ActivationBuffer):
    """Says, too, whether its memory is asked for the very word that is being written."""

    def __init__(self, config: ArrayConfig):
        super().__init__(config)
        self.collides = Signal()

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        ram = m.submodules.ram_0  # others are driven as it is
        same = ram.read_address == ram.write_address
        m.d.comb += self.collides.eq(ram.read & ram.write & same)
        return m


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "broadcast_rows"), [(1, None), (2, None), (2, 1)])
def test_activation_buffer(batch: int, broadcast_rows: int | None, tmp_path: Path) -> None:
    config = ArrayConfig(
        rows=1,
        columns=2,
        batch=batch,
        activation_bus_bits=8,
        max_in_features=4,
        broadcast_rows=broadcast_rows,
    )
    c = Contract()
    m = c.m
    m.submodules.dut = dut = WatchedBuffer(config)
    # On an FPGA what is read then is anything: see `no_rw_check` in `hwsim.rtl.ram`.
    c.claim("no word is read while it is written", ~dut.collides)
    c.free(dut.start, dut.i.payload, dut.i.valid, dut.index, dut.last, dut.load)
    c.free(dut.proceed, dut.read)

    # One layer, of at most 4 tokens: 2 token blocks of 2, or 4 of 1.
    tokens, inputs = Signal(range(5)), Signal(range(5))
    c.constant(tokens)
    c.constant(inputs)
    c.assume((tokens - 1 < 4) & (tokens != 0) & (inputs - 1 < 4) & (inputs != 0))
    blocks = Mux(inputs > 2, 2, 1)
    m.d.comb += [
        dut.command.tokens.eq(tokens),
        dut.command.in_features.eq(inputs),
        dut.command.column_blocks.eq(blocks),
    ]
    begun = Signal()
    known = Signal(range(3))  # the layer, for so many cycles
    m.d.sync += [begun.eq(begun | dut.start), known.eq(Mux(known == 2, 2, known + 1))]
    c.assume(~dut.start | ((known == 2) & ~begun))

    # What has come: items of a token, tokens in all.
    accepted = dut.i.valid & dut.i.ready
    item, token = Signal(range(5)), Signal(range(5))
    with m.If(accepted):
        m.d.sync += item.eq(item + 1)
        with m.If(item + 1 == inputs):
            m.d.sync += [item.eq(0), token.eq(token + 1)]
    c.claim(
        "nothing is taken before the layer or beyond it", ~accepted | (begun & (token < tokens))
    )

    # What is read: any word that is there, again and again, until the last one of its block. Each
    # is named two steps ahead.
    ahead = Signal(3)  # token block
    words = least(tokens - ahead * batch, batch) * blocks
    position = data.StructLayout({"valid": 1, "index": dut.index.shape(), "block": 3, "last": 1})
    third, second, first = (Signal(position, name=name) for name in ("third", "second", "first"))
    m.d.comb += third.eq(Cat(dut.load, dut.index, ahead, dut.last))
    with m.If(dut.proceed):
        m.d.sync += [first.eq(second), second.eq(third), ahead.eq(ahead + (dut.load & dut.last))]
    can_read = Signal()
    there = Mux(dut.proceed, second.valid & dut.second_there, first.valid & dut.first_there)
    m.d.sync += can_read.eq(there)
    c.assume(~dut.load | dut.proceed)
    c.assume(~dut.load | (begun & (ahead * batch < tokens) & (dut.index < words)))
    c.assume(~dut.load | (dut.last <= (dut.index == words - 1)))
    c.assume(~dut.read | (can_read & dut.proceed))
    c.assume(~dut.proceed | ~first.valid | dut.read)

    def arrived(step: Any) -> Value:
        """Return whether the word of a step has come."""
        return step.index < (token - step.block * batch) * blocks + (item >> 1)

    for name, of, promised in (
        ("second", second, dut.second_there),
        ("first", first, dut.first_there),
    ):
        c.claim(f"only what has come is there, {name}", ~of.valid | ~promised | arrived(of))

    follow, following = Signal(), Signal()
    c.free(follow)
    value, at_item, at_token = Signal(8), Signal.like(item), Signal.like(token)
    with m.If(accepted & follow & ~following):
        m.d.sync += [
            following.eq(1),
            value.eq(dut.i.payload),
            at_item.eq(item),
            at_token.eq(token),
        ]
    at = (at_token & batch - 1) * blocks + (at_item >> 1)
    here = (at_token >> batch - 1 == first.block) & (first.index == at)
    shown = Signal()
    with m.If(dut.read):
        m.d.sync += shown.eq(following & here)
    for _ in range(config.broadcast_stages - 1):
        before, shown = shown, Signal()
        m.d.sync += shown.eq(before)
    c.claim("an item is where its word is", ~shown | (dut.o.word_select(at_item & 1, 8) == value))
    c.reach("the second word of a token is read", shown & (at_item == 3))
    prove(c, folder=tmp_path, bound=18)


@pytest.mark.slow
def test_top(tmp_path: Path) -> None:
    config = ArrayConfig(
        rows=1,
        columns=1,
        batch=1,
        accumulator_bits=8,
        weight_bus_bits=8,
        activation_bus_bits=8,
        result_bus_bits=8,
        max_in_features=2,
    )
    c = Contract()
    m = c.m
    m.submodules.dut = dut = Top(config)
    free = [dut.s_axis_command_tvalid, dut.m_axis_result_tready]
    for name in ("weight", "activation"):
        free += [getattr(dut, f"s_axis_{name}_{wire}") for wire in ("tvalid", "tdata")]
    c.free(*free)
    shape = [Signal(2, name=name) for name in ("outputs", "inputs", "tokens")]
    for size in shape:
        c.free(size)
        c.assume((size == 1) | (size == 2))
    outputs, inputs, tokens = shape
    fields = (outputs, inputs, tokens, outputs, inputs)
    m.d.comb += dut.s_axis_command_tdata.eq(Cat(Cat(field, Signal(30)) for field in fields))

    begins = dut.s_axis_command_tvalid & dut.s_axis_command_tready
    left = {}
    for name, count in (
        ("weight", outputs * inputs * tokens),
        ("activation", inputs * tokens),
        ("result", outputs * tokens),
    ):
        side = "m" if name == "result" else "s"
        valid = getattr(dut, f"{side}_axis_{name}_tvalid")
        ready = getattr(dut, f"{side}_axis_{name}_tready")
        left[name] = Signal(4, name=f"{name}_left")
        m.d.sync += left[name].eq(Mux(begins, count, left[name] - (valid & ready)))
        c.claim(f"no {name} beyond the layer's", ~valid | ~ready | (left[name] != 0))
    c.claim("busy until the last result is taken", dut.busy == (left["result"] != 0))
    c.claim("a command is taken only when idle", dut.s_axis_command_tready == ~dut.busy)
    c.claim("all inputs are taken", dut.busy | ((left["weight"] == 0) & (left["activation"] == 0)))
    c.claim(
        "the last word is the last",
        ~dut.m_axis_result_tvalid | (dut.m_axis_result_tlast == (left["result"] == 1)),
    )
    steady(
        c,
        "result",
        valid=dut.m_axis_result_tvalid,
        ready=dut.m_axis_result_tready,
        payload=Cat(dut.m_axis_result_tdata, dut.m_axis_result_tlast),
    )
    c.reach("a layer ends", dut.busy & (left["result"] == 1) & dut.m_axis_result_tvalid)
    prove(c, folder=tmp_path, bound=18)


def test_a_wrong_claim_is_refuted_by_name(tmp_path: Path) -> None:
    c = Contract()
    c.m.submodules.dut = dut = WeightDecoder(ArrayConfig(weight_bus_bits=8))
    c.free(dut.i.payload, dut.i.valid, dut.o.ready)
    c.claim("fine", dut.i.ready | dut.o.valid)
    c.claim("no word is zero", ~dut.o.valid | (dut.o.payload != 0))
    with pytest.raises(Refuted, match="'no word is zero': 2"):
        prove(c, folder=tmp_path)
