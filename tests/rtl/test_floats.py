import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Fragment, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator, SimulatorContext
from netlists import Netlist, Unsigned, numbers, planes

from hwsim.rtl.floats import BINARY16, BINARY32, Format, add, multiply, widen

Function = Callable[..., Value]
CASES = {
    "multiply16": (multiply, BINARY16, np.multiply),
    "add16": (add, BINARY16, np.add),
    "multiply32": (multiply, BINARY32, np.multiply),
    "add32": (add, BINARY32, np.add),
}
MARKED = [  # Yosys is long about the largest
    pytest.param(case, marks=pytest.mark.slow if case == "multiply32" else ()) for case in CASES
]
SIZES = {BINARY16: np.uint16, BINARY32: np.uint32}
FLOATS = {BINARY16: np.float16, BINARY32: np.float32}
WORDS = 4096  # evaluated at a time: rows of 32 KB


class Operator(wiring.Component):
    def __init__(self, function: Function, format: Format):
        self._function = function
        self._format = format
        super().__init__({"a": In(format.bits), "b": In(format.bits), "o": Out(format.bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        o = self._function(m, self.a, self.b, name="o", format=self._format)
        m.d.comb += self.o.eq(o)
        return m


class Widening(wiring.Component):
    def __init__(self) -> None:
        super().__init__({"i": In(16), "o": Out(32)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.o.eq(widen(m, self.i, name="o"))
        return m


@cache
def netlist(case: str) -> Netlist:
    function, format, _ = CASES[case]
    with TemporaryDirectory() as folder:
        return Netlist(Operator(function, format), words=WORDS, folder=Path(folder))


def reference(case: str, a: Unsigned, b: Unsigned) -> Unsigned:
    """What numpy computes, as bits, with the canonical NaN for every NaN."""
    _, format, ufunc = CASES[case]
    with np.errstate(all="ignore"):
        result = ufunc(a.view(FLOATS[format]), b.view(FLOATS[format]))
    bits: Unsigned = result.view(SIZES[format])
    bits[np.isnan(result)] = format.nan
    return bits


def hardware(case: str, a: Unsigned, b: Unsigned) -> Iterator[tuple[slice, Unsigned]]:
    """What the gates compute, a batch of pairs at a time; the last batch is filled with zeros."""
    gates = netlist(case)
    size = 64 * WORDS
    for start in range(0, len(a), size):
        batch = slice(start, min(start + size, len(a)))
        fill = (0, size - (batch.stop - start))
        gates.inputs["a"][:] = planes(np.pad(a[batch], fill))
        gates.inputs["b"][:] = planes(np.pad(b[batch], fill))
        yield batch, numbers(gates()["o"])[: batch.stop - start]


def check(case: str, a: Unsigned, b: Unsigned) -> None:
    checked = 0
    for batch, result in hardware(case, a, b):
        expected = reference(case, a[batch], b[batch])
        assert_equal(a[batch], b[batch], result, expected)
        checked += len(result)
    assert checked == len(a) == len(b)


def assert_equal(a: Unsigned, b: Unsigned, result: Unsigned, expected: Unsigned) -> None:
    if not np.array_equal(result, expected):
        wrong = np.flatnonzero(result != expected)
        first = [hex(values[wrong[0]]) for values in (a, b, result, expected)]
        raise AssertionError(f"{len(wrong)} wrong; the first (a, b, is, should be): {first}")


def specials(format: Format) -> Unsigned:
    """Numbers at which something happens, of both signs, infinities and NaNs among them."""
    fraction_bits, top = format.fraction_bits, (1 << format.exponent_bits) - 1
    one = 1 << fraction_bits
    fractions = {
        *(0, 1, 2, 3, one // 2 - 1, one // 2, one // 2 + 1, one - 2, one - 1),
        *(one // 3, 2 * one // 3),
        *(1 << place for place in range(0, fraction_bits, 3)),
    }
    if format == BINARY16:
        exponents = set(range(top + 1))
    else:
        exponents = {0, 1, 2, *range(top // 2 - 2, top // 2 + 3), top - 2, top - 1, top}
        exponents |= {top // 2 - fraction_bits, top // 2 + fraction_bits, 64}
    values = [
        (sign << format.exponent_bits | exponent) << fraction_bits | fraction
        for sign, exponent, fraction in product((0, 1), sorted(exponents), sorted(fractions))
    ]
    return np.array(values, SIZES[format])


def random_pairs(format: Format, count: int, seed: int) -> tuple[Unsigned, Unsigned]:
    """Any bits; in every second pair, b has the exponent of a or one near it."""
    rng = np.random.default_rng(seed)
    size = SIZES[format]
    a = rng.integers(0, 1 << format.bits, count, size)
    b = rng.integers(0, 1 << format.bits, count, size)
    near = a[::2] + rng.integers(-2, 3, len(a[::2])).astype(size) * size(1 << format.fraction_bits)
    low = size((1 << format.fraction_bits) - 1) >> rng.integers(
        0, format.fraction_bits + 1, len(near), size
    )
    sign = b[::2] & size(1 << (format.bits - 1))
    b[::2] = ((near & ~low) | (b[::2] & low)) ^ sign
    return a, b


@pytest.mark.parametrize("case", MARKED)
def test_special_numbers_equal_numpy(case: str) -> None:
    values = specials(CASES[case][1])
    check(case, np.repeat(values, len(values)), np.tile(values, len(values)))


@pytest.mark.parametrize("case", MARKED)
def test_random_numbers_equal_numpy(case: str) -> None:
    format = CASES[case][1]
    check(case, *random_pairs(format, 10**7 if format == BINARY16 else 2 * 10**6, seed=0))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["multiply16", "add16"])
def test_all_pairs_of_binary16_equal_numpy(case: str) -> None:
    gates = netlist(case)
    every = np.arange(1 << 16, dtype=np.uint16)
    group = 64 * WORDS // len(every)  # numbers a evaluated together, each with every b
    gates.inputs["b"][:] = planes(np.tile(every, group))
    b = np.tile(every, group)
    checked = 0
    for start in range(0, 1 << 16, group):
        a = np.repeat(np.arange(start, start + group, dtype=np.uint16), len(every))
        gates.inputs["a"][:] = planes(a)
        assert_equal(a, b, numbers(gates()["o"]), reference(case, a, b))
        checked += len(a)
    assert checked == 1 << 32


def test_every_binary16_widens_to_the_float32_it_is(tmp_path: Path) -> None:
    gates = Netlist(Widening(), words=1024, folder=tmp_path)
    every = np.arange(1 << 16, dtype=np.uint16)
    gates.inputs["i"][:] = planes(every)
    output = gates()["o"]
    low, high = numbers(output[:16].copy()), numbers(output[16:].copy())
    with np.errstate(all="ignore"):
        floats = every.view(np.float16).astype(np.float32)
    expected = floats.view(np.uint32)
    expected[np.isnan(floats)] = BINARY32.nan
    assert_equal(every, every, low | high.astype(np.uint32) << np.uint32(16), expected)


@pytest.mark.parametrize("case", MARKED)
def test_amaranth_simulates_what_the_gates_compute(case: str) -> None:
    function, format, _ = CASES[case]
    a, b = random_pairs(format, 300, seed=1)
    values = np.random.default_rng(2).permutation(specials(format))
    a, b = np.concatenate([a, values[:100]]), np.concatenate([b, values[100:200]])
    [(_, gates)] = hardware(case, a, b)
    operator = Operator(function, format)
    results = []

    async def bench(ctx: SimulatorContext) -> None:
        for x, y in zip(a.tolist(), b.tolist(), strict=True):
            ctx.set(operator.a, x)
            ctx.set(operator.b, y)
            await ctx.delay(1e-9)
            results.append(ctx.get(operator.o))

    simulator = Simulator(operator)
    simulator.add_testbench(bench)
    simulator.run()
    assert results == gates.tolist() == reference(case, a, b).tolist()
    assert len(results) == 400


def test_the_product_is_made_by_one_multiplier_of_significands() -> None:
    text = rtlil.convert(Operator(multiply, BINARY16))
    assert re.findall(r"cell (\$mul) ", text) == ["$mul"]
    assert re.findall(r"cell \$mul .*?\n +end", text, re.DOTALL)[0].count("_WIDTH 11\n") == 2
    assert "$mul" not in rtlil.convert(Operator(add, BINARY16))


@pytest.mark.parametrize("function", [multiply, add])
def test_an_operand_of_another_width_is_refused(function: Function) -> None:
    a, b = Signal(16), Signal(15)
    message = r"a number of Format\(exponent_bits=5, .*\) has 16 bits, not 15"
    m = Module()
    with pytest.raises(ValueError, match=message):
        function(m, a, b, name="o")
    with pytest.raises(ValueError, match=message):
        function(m, b, a, name="o")
    Fragment.get(m, None)  # Amaranth warns of modules that nothing comes of


def test_widening_into_what_is_not_wider_is_refused() -> None:
    m = Module()
    with pytest.raises(ValueError, match=r"not every number of .*=23.* is a normal one of .*=10"):
        widen(m, Signal(32), name="o", source=BINARY32, target=BINARY16)
    bfloat16 = Format(exponent_bits=8, fraction_bits=7)
    with pytest.raises(ValueError, match="a normal one of"):
        widen(m, Signal(16), name="o", source=bfloat16, target=BINARY32)
    Fragment.get(m, None)


def test_the_canonical_nans() -> None:
    assert (BINARY16.nan, BINARY32.nan) == (0x7E00, 0x7FC00000)
