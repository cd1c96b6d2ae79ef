import numpy as np
import pytest
from amaranth.hdl import Signal
from amaranth.sim import SimulatorContext
from simulation import simulate

from hwsim.config import ArrayConfig
from hwsim.encoding import ENCODINGS
from hwsim.rtl.decoder import WeightDecoder


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_words_are_decoded_in_turn(encoding: str) -> None:
    config = ArrayConfig(weight_encoding=encoding, weight_bus_bits=24)
    dut = WeightDecoder(config)
    rng = np.random.default_rng(0)
    # All codes in every place: a third of them in order, the rest in any.
    codes = np.concatenate([np.arange(256), np.arange(256), rng.integers(0, 256, 100)])
    mixed = np.stack([codes, np.roll(codes, 85), rng.permutation(codes)], axis=1)
    # Each illegal code by itself, too.
    form = ENCODINGS[encoding]
    wrong = np.flatnonzero(form.illegal)
    alone = np.full((3, len(wrong), 3), np.argmin(form.illegal))
    for place in range(3):
        alone[place, :, place] = wrong
    words = np.concatenate([mixed, alone.reshape(-1, 3)]).astype(np.uint8)
    sent: list[int] = []
    illegal: list[bool] = []
    seen: list[int] = []

    async def bench(ctx: SimulatorContext) -> None:
        assert not ctx.get(dut.o.valid)
        queue = [int.from_bytes(word.tobytes(), "little") for word in words]
        offering = False
        waited: int | None = None
        taken = False
        for cycle in range(4 * len(words)):
            offering = bool(queue) and (offering or bool(rng.random() < 0.8))
            ctx.set(dut.i.valid, offering)
            ctx.set(dut.i.payload, queue[0] if offering else int(rng.integers(1 << 24)))
            ready = cycle > 3 * len(words) or bool(rng.random() < 0.8)
            ctx.set(dut.o.ready, ready)
            held = len(sent) - len(seen)
            assert ctx.get(dut.o.valid) == (held > 0)
            assert ctx.get(dut.i.ready) == (held < 2)
            if held:
                word = ctx.get(dut.o.payload)
                assert waited in (None, word)
                waited = None if ready else word
                if ready:
                    seen.append(word)
            if taken:
                illegal.append(bool(ctx.get(dut.illegal)))
            else:
                assert not ctx.get(dut.illegal)
            taken = bool(offering and ctx.get(dut.i.ready))
            if taken:
                sent.append(queue.pop(0))
                offering = False
            await ctx.tick()

    simulate(dut, bench)
    assert len(seen) == len(words)
    trits = form.unpack(words)
    expected = [sum((t & 3) << 2 * p for p, t in enumerate(row)) for row in trits.tolist()]
    assert seen == expected
    assert illegal == form.illegal[words].any(axis=1).tolist()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_reset_takes_the_words_that_wait(encoding: str) -> None:
    dut = WeightDecoder(ArrayConfig(weight_encoding=encoding, weight_bus_bits=24))
    reset = Signal()

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(dut.i.valid, 1)
        await ctx.tick()
        assert ctx.get(dut.o.valid)
        for _ in range(2):
            ctx.set(reset, 1)
            await ctx.tick()
            assert not ctx.get(dut.o.valid)
        ctx.set(reset, 0)
        await ctx.tick()
        assert ctx.get(dut.o.valid)
        await ctx.tick()  # and one behind it
        assert not ctx.get(dut.i.ready)
        ctx.set(dut.i.valid, 0)
        ctx.set(reset, 1)
        await ctx.tick()
        ctx.set(reset, 0)
        for _ in range(3):
            assert (ctx.get(dut.o.valid), ctx.get(dut.i.ready)) == (0, 1)
            await ctx.tick()

    simulate(dut, bench, reset=reset)
