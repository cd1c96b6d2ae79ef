"""IEEE 754 arithmetic, combinational: what the lane with multipliers computes with.

Rounding is to the nearest, ties to even; subnormal numbers go in and come out; there are no flags.
Every NaN that leaves is the canonical one, `Format.nan`.

Inside, a finite number is an *effective exponent* and a *significand*: the fraction with the hidden
bit above it, which is 1 for a normal number and 0 for a subnormal one. A subnormal number has the
effective exponent 1, so that in both cases::

    value = (-1)**sign * significand * 2**(exponent - bias - fraction_bits)
"""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed


@dataclass(frozen=True)
class Format:
    """A binary floating-point format: sign, exponent and fraction, from the highest bit down."""

    exponent_bits: int
    fraction_bits: int

    @property
    def bits(self) -> int:
        """Width of a number."""
        return 1 + self.exponent_bits + self.fraction_bits

    @property
    def bias(self) -> int:
        """Exponent field of 1.0."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def nan(self) -> int:
        """The canonical NaN: positive and quiet, without payload."""
        return ((2 << self.exponent_bits) - 1) << (self.fraction_bits - 1)


BINARY16 = Format(exponent_bits=5, fraction_bits=10)
"""Half precision: numpy's float16."""

BINARY32 = Format(exponent_bits=8, fraction_bits=23)
"""Single precision: numpy's float32."""


def multiply(m: Module, a: Value, b: Value, *, name: str, format: Format = BINARY16) -> Value:
    """Multiply two numbers.

    The significands are multiplied as they are, subnormal or not. One shift to the right then does
    for both what the leading zeros of a subnormal operand ask for and what a subnormal result asks
    for: the less it shifts, the smaller the exponent.

    Parameters
    ----------
    m
        Gets the signals.
    a, b
        Factors, `format.bits` wide.
    name
        Begins the names of the signals.
    format
        Of the factors and of the product.

    Returns
    -------
    Value
        The product, `format.bits` wide.

    Raises
    ------
    ValueError
        If a factor has another width.
    """
    fraction_bits = format.fraction_bits
    x = _unpack(m, a, format, name=f"{name}_a")
    y = _unpack(m, b, format, name=f"{name}_b")
    product = _wire(m, x.significand * y.significand, f"{name}_product")

    # If one factor is subnormal, the other has its leading one in the hidden bit. If both are, the
    # product is less than half of the smallest number, and any `leading` serves.
    is_nonzero, leading = _leading_one(
        m, Mux(x.normal, y.significand, x.significand), name=f"{name}_leading"
    )

    # Shifted left by `fraction_bits` and right by `leading`, the product has its leading one in
    # one of the two highest places. Shifted by `lowest` it has the effective exponent 1, and less
    # is not to be had.
    greatest = fraction_bits + format.bias - 1  # what `lowest` is for two subnormal factors
    lowest = Signal(signed(format.exponent_bits + 2), name=f"{name}_lowest")
    m.d.comb += lowest.eq(greatest + 2 - (x.exponent + y.exponent))
    above = Signal(signed(format.exponent_bits + 2), name=f"{name}_above")
    m.d.comb += above.eq(leading - lowest)
    is_lowest = _wire(m, above[-1] | ~is_nonzero, f"{name}_is_lowest")
    shift = _wire(m, Mux(is_lowest, lowest[: greatest.bit_length()], leading), f"{name}_shift")
    exponent = Mux(is_lowest, 0, above[:-1])

    # Of the shifted product, the fraction, two places above and two below it, which is as far as
    # its leading one and the bit it is rounded by can be.
    window, below = _shift_right(
        m, Cat(Const(0, 1), product), shift, bits=fraction_bits + 3, name=f"{name}_shifted"
    )
    top = window[-1]
    packed = _round(
        m,
        exponent,
        Cat(Mux(top, window[2:-1], window[1:-2]), window[-2] & ~top, top),
        guard=Mux(top, window[1], window[0]),
        sticky=below | (top & window[0]),
        format=format,
        name=name,
    )
    return _pack(
        m,
        x.sign ^ y.sign,
        packed,
        infinite=x.special | y.special,
        nan=(x.special & (x.fraction_any | y.is_zero)) | (y.special & (y.fraction_any | x.is_zero)),
        format=format,
        name=name,
    )


def add(m: Module, a: Value, b: Value, *, name: str, format: Format = BINARY16) -> Value:
    """Add two numbers.

    The operand of smaller magnitude is shifted right and added to or subtracted from the other one,
    which gives the sign.

    Parameters
    ----------
    m
        Gets the signals.
    a, b
        Summands, `format.bits` wide.
    name
        Begins the names of the signals.
    format
        Of the summands and of the sum.

    Returns
    -------
    Value
        The sum, `format.bits` wide.

    Raises
    ------
    ValueError
        If a summand has another width.
    """
    fraction_bits = format.fraction_bits
    _check(a, format)
    _check(b, format)
    swap = _wire(m, a[:-1] < b[:-1], f"{name}_swap")
    large = _unpack(m, Mux(swap, b, a), format, name=f"{name}_large")
    small = _unpack(m, Mux(swap, a, b), format, name=f"{name}_small")
    subtract = _wire(m, large.sign ^ small.sign, f"{name}_subtract")

    # Three places below the significand are enough: after a subtraction that clears the leading
    # one, a bit of the fraction, the bit it is rounded by, and whether there is any more.
    distance = _wire(
        m, (large.exponent - small.exponent)[: format.exponent_bits], f"{name}_distance"
    )
    aligned, below = _shift_right(
        m,
        Cat(Const(0, 2), small.significand),
        distance,
        bits=fraction_bits + 3,
        name=f"{name}_aligned",
    )
    # -y is ~y + 1, and the 1 goes to a place that is empty in the other operand.
    addend = Cat(below, aligned, Const(0, 1)) ^ subtract.replicate(fraction_bits + 5)
    total = _wire(
        m,
        (Cat(subtract, Const(0, 2), large.significand) + addend)[: fraction_bits + 5],
        f"{name}_total",
    )

    # To the left until the leading one is in the highest place, but no further than to where the
    # effective exponent is 1.
    width = 1 << (len(total) - 1).bit_length()
    is_nonzero, leading = _leading_one(
        m, Cat(Const(0, width - len(total)), total), name=f"{name}_leading"
    )
    zeros = ~leading
    above = Signal(signed(format.exponent_bits + 1), name=f"{name}_above")
    m.d.comb += above.eq(large.exponent - zeros)
    is_lowest = _wire(m, above[-1] | ~is_nonzero, f"{name}_is_lowest")
    shift = _wire(m, Mux(is_lowest, large.exponent, zeros)[: len(leading)], f"{name}_shift")
    shifted = _wire(m, (total << shift)[: len(total)], f"{name}_shifted")

    packed = _round(
        m,
        Mux(is_lowest, 0, above[:-1]),
        shifted[4:],
        guard=shifted[3],
        sticky=shifted[:3].any(),
        format=format,
        name=name,
    )
    return _pack(
        m,
        large.sign & (is_nonzero | ~subtract),  # x - x is +0, but -0 + -0 is -0
        packed,
        infinite=large.special,
        nan=large.special & (large.fraction_any | (small.special & subtract)),
        format=format,
        name=name,
    )


def widen(
    m: Module, a: Value, *, name: str, source: Format = BINARY16, target: Format = BINARY32
) -> Value:
    """Convert a number to a format in which it is exact.

    Parameters
    ----------
    m
        Gets the signals.
    a
        The number, `source.bits` wide.
    name
        Begins the names of the signals.
    source
        Its format.
    target
        A format with more bits of fraction, and an exponent in which the subnormal numbers of
        `source` are normal.

    Returns
    -------
    Value
        The same number, `target.bits` wide.

    Raises
    ------
    ValueError
        If the number has another width, or `target` cannot hold every number of `source`.
    """
    rebias = target.bias - source.bias
    more = target.fraction_bits - source.fraction_bits
    if more < 0 or rebias < source.fraction_bits:
        raise ValueError(f"not every number of {source} is a normal one of {target}")
    x = _unpack(m, a, source, name=name)
    is_nonzero, leading = _leading_one(m, x.significand, name=f"{name}_leading")
    shifted = _wire(
        m,
        (x.significand << (source.fraction_bits - leading)[: len(leading)])[: source.fraction_bits],
        f"{name}_shifted",
    )
    exponent = Mux(
        x.normal,
        x.exponent + rebias,
        Mux(is_nonzero, leading + (rebias - source.fraction_bits + 1), 0),
    )
    return _pack(
        m,
        x.sign,
        _wire(m, Cat(Const(0, more), shifted, exponent)[: target.bits - 1], f"{name}_packed"),
        infinite=x.special,
        nan=x.special & x.fraction_any,
        format=target,
        name=name,
    )


@dataclass(frozen=True)
class _Number:
    """The parts of a number; if `special`, an infinity or a NaN, the others mean nothing."""

    sign: Value
    exponent: Value  # effective
    significand: Value
    normal: Value  # the hidden bit
    special: Value
    fraction_any: Value  # tells NaN from infinity, and a subnormal number from zero

    @property
    def is_zero(self) -> Value:
        return ~(self.normal | self.fraction_any)


def _check(value: Value, format: Format) -> None:
    if len(value) != format.bits:
        raise ValueError(f"a number of {format} has {format.bits} bits, not {len(value)}")


def _wire(m: Module, value: Value, name: str) -> Signal:
    """Give a value that is used more than once a name, so that it is made once."""
    signal = Signal(len(value), name=name)
    m.d.comb += signal.eq(value)
    return signal


def _unpack(m: Module, value: Value, format: Format, *, name: str) -> _Number:
    _check(value, format)
    value = _wire(m, value, name)
    fraction, field = value[: format.fraction_bits], value[format.fraction_bits : -1]
    normal = _wire(m, field.any(), f"{name}_normal")
    return _Number(
        sign=value[-1],
        exponent=Cat(field[0] | ~normal, field[1:]),
        significand=Cat(fraction, normal),
        normal=normal,
        special=_wire(m, field.all(), f"{name}_special"),
        fraction_any=_wire(m, fraction.any(), f"{name}_fraction_any"),
    )


def _leading_one(m: Module, value: Value, *, name: str) -> tuple[Value, Value]:
    """Return whether any bit is set, and the place of the highest one (0 if there is none)."""
    if len(value) == 1:
        return value, Const(0, 0)
    if len(value) == 2:
        return _wire(m, value.any(), f"{name}_any"), value[1]
    half = 1 << ((len(value) - 1).bit_length() - 1)
    low_any, low = _leading_one(m, value[:half], name=f"{name}_low")
    high_any, high = _leading_one(m, value[half:], name=f"{name}_high")
    return (
        _wire(m, low_any | high_any, f"{name}_any"),
        _wire(m, Cat(Mux(high_any, high, low), high_any), name),
    )


def _shift_right(
    m: Module, value: Value, amount: Value, *, bits: int, name: str
) -> tuple[Value, Value]:
    """Shift right; return the lowest `bits` bits, and whether a one was lost below them.

    That the others are zero is for the caller to know; each stage is only as wide as it has to be
    for that.
    """
    lost: Value = Const(0, 1)
    for place in reversed(range(len(amount))):
        step, select = 1 << place, amount[place]
        lost = lost | (select & value[:step].any())
        value = _wire(m, Mux(select, value[step:], value)[: bits + step - 1], f"{name}_{step}")
    return value, _wire(m, lost, f"{name}_lost")


def _round(
    m: Module,
    exponent: Value,
    significand: Value,
    *,
    guard: Value,
    sticky: Value,
    format: Format,
    name: str,
) -> Signal:
    """Round to the nearest, ties to even; return exponent field and fraction.

    One sum is everything. `exponent` is one less than the effective one: the leading one of
    the significand, in the place of the hidden bit or in the one above, makes it the field, and a
    subnormal significand leaves it at 0. What rounding carries out of the fraction goes the same
    way.
    """
    up = guard & (sticky | significand[0])
    offset = Cat(up, Const(0, format.fraction_bits - 1), exponent)
    return _wire(m, (offset + significand)[: len(offset)], f"{name}_rounded")


def _pack(
    m: Module,
    sign: Value,
    rounded: Value,
    *,
    infinite: Value,
    nan: Value,
    format: Format,
    name: str,
) -> Signal:
    """Put a result together: `rounded` unless it is `infinite`, overflows or is `nan`.

    `nan` implies `infinite`.
    """
    fraction, exponent = rounded[: format.fraction_bits], rounded[format.fraction_bits :]
    field, excess = exponent[: format.exponent_bits], exponent[format.exponent_bits :]
    overflow = _wire(m, infinite | field.all() | excess.any(), f"{name}_overflow")
    is_nan = _wire(m, nan, f"{name}_is_nan")
    return _wire(
        m,
        Cat(
            Mux(overflow, Cat(Const(0, format.fraction_bits - 1), is_nan), fraction),
            field | overflow.replicate(format.exponent_bits),
            sign & ~is_nan,
        ),
        name,
    )
