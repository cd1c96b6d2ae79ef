"""`Fp16Lane`: the baseline with floating-point multipliers."""

from functools import partial

from amaranth.hdl import Module, Mux, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwsim.config import ArrayConfig
from hwsim.rtl import floats
from hwsim.rtl.floats import BINARY16, BINARY32
from hwsim.rtl.lanes.lane import Lane
from hwsim.rtl.platform import add_repeated
from hwsim.rtl.tree import Node, tree

MULTIPLIER_MODULE = "hwsim_fp16_multiplier"
ADDER_MODULE = "hwsim_fp16_adder"
"""Names of the operators in emitted designs."""


class Fp16Operator(wiring.Component):
    """A combinational operator on two binary16 numbers.

    Parameters
    ----------
    function : str
        `multiply` or `add`.

    Members
    -------
    a, b : In(16)
        Operands.
    result : Out(16)
        Rounded to nearest, ties to even.
    """

    def __init__(self, function: str):
        self._function = function
        bits = BINARY16.bits
        super().__init__({"a": In(bits), "b": In(bits), "result": Out(bits)})

    def elaborate(self, platform: object) -> Module:
        """Compute."""
        m = Module()
        operator = getattr(floats, self._function)
        m.d.comb += self.result.eq(operator(m, self.a, self.b, name=self._function))
        return m


class Fp16Lane(Lane):
    """Each weight multiplies its activation, in binary16; a tree adds the products.

    The tree is one of N filled up to a power of two with +0. Its sum is added to an accumulator in
    binary16 or, with 32 bits, in binary32. `latency` is one cycle per register of the tree.
    """

    @classmethod
    def operand_layout(cls, config: ArrayConfig) -> data.Layout:
        """Return the layout of a word of activations."""
        return data.ArrayLayout(BINARY16.bits, config.columns)

    @classmethod
    def weight_layout(cls, config: ArrayConfig) -> data.Layout:
        """Return the layout of a row of weights."""
        return data.ArrayLayout(BINARY16.bits, config.columns)

    @classmethod
    def parts(cls, config: ArrayConfig) -> dict[str, wiring.Component]:
        """Return the operators."""
        return {
            MULTIPLIER_MODULE: Fp16Operator("multiply"),
            ADDER_MODULE: Fp16Operator("add"),
        }

    def elaborate(self, platform: object) -> Module:
        """Multiply, sum, accumulate."""
        m = Module()
        config = self._config

        def operator(function: str, module: str, name: str, a: Value, b: Value) -> Value:
            return add_repeated(
                m,
                platform,
                partial(Fp16Operator, function),
                {"a": a, "b": b},
                "result",
                module=module,
                name=name,
                width=BINARY16.bits,
                clocked=False,
            )

        adders = 0

        def join(left: Node, right: Node) -> Node:
            nonlocal adders
            adders += 1
            return (operator("add", ADDER_MODULE, f"adder_{adders}", left[0], right[0]),)

        terms = [
            (operator("multiply", MULTIPLIER_MODULE, f"term_{i}", self.operands[i], weight),)
            for i, weight in enumerate(self.weights)
        ]
        (total,) = tree(m, terms, join, alone=_plus_zero, pipeline=config.pipeline)

        if config.accumulator_bits == BINARY32.bits:
            total = floats.widen(m, total, name="widened")
            added = floats.add(m, self.accumulator, total, format=BINARY32, name="accumulate")
        else:
            (added,) = join((self.accumulator,), (total,))
        m.d.comb += self.next.eq(Mux(self.first, total, added))
        return m


def _plus_zero(node: Node) -> Node:
    """Add +0: of all numbers only -0 changes. Every NaN is canonical here, products' too."""
    (value,) = node
    magnitude = value[:-1]
    return (Mux(magnitude.any(), value, 0),)
