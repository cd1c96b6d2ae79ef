"""`GroupedLane`: sums of neighbouring activations, made once for all lanes."""

from itertools import product, zip_longest

from amaranth.hdl import Cat, Const, Module, Mux, Value, signed
from amaranth.lib import data
from amaranth.lib.memory import Memory

from hwsim.config import TRIT_BITS, ArrayConfig
from hwsim.groups import patterns, sum_bits, without_last
from hwsim.rtl.lanes.lane import Lane
from hwsim.rtl.tree import Completed, Signed, add_with_sign, hold, tree


class GroupedLane(Lane):
    """Each group of trits picks one of the sums of its activations, or 0, and a sign.

    For a pair (a, b) the sums are a, b, a + b and a - b. They are made once, before the operand
    register, so N / 2 adders serve all lanes and a lane's tree has half the terms. The weight tile
    holds picks in place of trits, in as many bits. The signs stay owed up to the accumulator (see
    `add_with_sign`). `latency` counts the picks as the first level.

    Columns beyond the last whole group meet zero activations.
    """

    @classmethod
    def operand_layout(cls, config: ArrayConfig) -> data.Layout:
        """Return the layout of the sums, group by group."""
        assert config.group
        sums = {
            f"sum_{index}": signed(sum_bits(config.activation_bits, pattern))
            for index, pattern in enumerate(patterns(config.group))
        }
        return data.ArrayLayout(data.StructLayout(sums), config.tree_inputs)

    @classmethod
    def prepare(cls, config: ArrayConfig, activations: Value) -> Value:
        """Return the sums of every group."""
        assert config.group
        bits = config.activation_bits
        values: list[Value] = [
            activations.word_select(index, bits).as_signed() for index in range(config.columns)
        ]
        values += [Const(0, signed(bits))] * (-config.columns % config.group)
        sums: list[Value] = []
        for at in range(0, len(values), config.group):
            made: dict[tuple[int, ...], Value] = {}
            for pattern in patterns(config.group):
                shorter = without_last(pattern)
                last = next(p for p in range(config.group) if pattern[p] != shorter[p])
                value = values[at + last]
                if shorter in made:
                    value = made[shorter] + value if pattern[last] > 0 else made[shorter] - value
                made[pattern] = value[: sum_bits(bits, pattern)].as_signed()
            sums += made.values()
        return Cat(sums)

    @classmethod
    def weight_layout(cls, config: ArrayConfig) -> data.Layout:
        """Return the layout of picks."""
        assert config.group
        index_bits = (len(patterns(config.group)) - 1).bit_length()
        pick = data.StructLayout({"nonzero": 1, "negative": 1, "index": index_bits})
        return data.ArrayLayout(pick, config.tree_inputs)

    recodes = True

    @classmethod
    def recode(cls, m: Module, config: ArrayConfig, weights: Value) -> Value:
        """Look up the pick of every group of trits."""
        assert config.group
        group_bits = config.group * TRIT_BITS
        # As logic: a memory with so many ports takes Yosys more than 20 GB to map to an ECP5.
        table = Memory(
            shape=group_bits,
            depth=1 << group_bits,
            init=_pick_table(config.group),
            attrs={"rom_style": "logic"},
        )
        m.submodules.table = table
        picks = []
        for place in range(config.tree_inputs):
            port = table.read_port(domain="comb")
            m.d.comb += port.addr.eq(weights.word_select(place, group_bits))
            picks.append(port.data)
        return Cat(picks)

    def elaborate(self, platform: object) -> Module:
        """Pick, sum, accumulate."""
        m = Module()
        config = self._config

        terms = []
        for place in range(config.tree_inputs):
            sums, pick = self.operands[place], self.weights[place]
            picked = _chosen([sums[name] for name in sums.shape().members], pick.index)
            # The first group owes the sign of the root, so it alone is negated, but for a carry.
            kind = Signed if place else Completed
            if not place:
                picked = Mux(pick.negative, ~picked, picked)
            node = kind(Mux(pick.nonzero, picked, 0).as_signed(), pick.negative)
            terms.append(hold(m, node, name=f"term_{place}", registered=config.pipeline == 1))
        total, carry = tree(m, terms, add_with_sign, pipeline=config.pipeline, level=1)

        sum_so_far = Mux(self.first, 0, self.accumulator.as_signed())
        m.d.comb += self.next.eq(sum_so_far + total + carry)
        return m


def _chosen(choices: list[Value], index: Value) -> Value:
    """Return one of some numbers, by multiplexers of two: half as much text as comparisons."""
    for bit in index:
        # Where there is none for an index, it never comes.
        pairs = zip_longest(choices[::2], choices[1::2], fillvalue=choices[-1])
        choices = [Mux(bit, high, low).as_signed() for low, high in pairs]
    return choices[0]


def _pick_table(group: int) -> list[int]:
    """Return the pick for every code of a group of trits; what is no trit picks nothing."""
    codes = {0: 0b00, 1: 0b01, -1: 0b11}
    table = [0] * (1 << group * TRIT_BITS)
    for trits in product(codes, repeat=group):
        if not any(trits):
            continue
        sign = next(trit for trit in trits if trit)
        index = patterns(group).index(tuple(sign * trit for trit in trits))
        address = sum(codes[trit] << TRIT_BITS * place for place, trit in enumerate(trits))
        table[address] = 0b01 | (sign < 0) << 1 | index << 2
    return table
