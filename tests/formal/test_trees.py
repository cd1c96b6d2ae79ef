"""Every lane of any length is the plain sum, by induction over its tree.

The netlist of a real lane of 64 columns is cut at its named nodes. For each of them, alone and for
all values of the nodes it is made of, a solver shows that it is their sum and keeps its range, so
that nothing overflows; for each term, that it is what its trits make of its activations. That each
term and each carry is used, and only once, is read off the netlist.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bitwuzla import Bitwuzla, Kind, Options, Result, Term, TermManager
from formal.netlist import Bit, Netlist
from rows import Row

from hwsim.config import ArrayConfig

COLUMNS = 64
WIDTH = 40  # more bits than any sum here takes


@dataclass(frozen=True)
class Node:
    """A named place of the tree: a sum, and what is still owed to it."""

    name: str
    sum: tuple[Bit, ...]
    owed: tuple[Bit, ...]


class Numbers:
    """Signed arithmetic in `WIDTH` bits."""

    def __init__(self) -> None:
        self.tm = TermManager()
        self._zero = self.of(0)

    def of(self, value: int) -> Term:
        return self.tm.mk_bv_value(self.tm.mk_bv_sort(WIDTH), value)

    def bit(self) -> Term:
        return self.tm.mk_const(self.tm.mk_bv_sort(1))

    def value(self, bits: list[Term], *, signed: bool = True) -> Term:
        whole = bits[0]
        for bit in bits[1:]:
            whole = self.tm.mk_term(Kind.BV_CONCAT, [bit, whole])
        extend = Kind.BV_SIGN_EXTEND if signed else Kind.BV_ZERO_EXTEND
        return self.tm.mk_term(extend, [whole], [WIDTH - len(bits)])

    def add(self, *terms: Term) -> Term:
        total = self._zero
        for term in terms:
            total = self.tm.mk_term(Kind.BV_ADD, [total, term])
        return total

    def negative(self, term: Term) -> Term:
        return self.tm.mk_term(Kind.BV_NEG, [term])

    def where(self, bit: Term, yes: Term, no: Term) -> Term:
        return self.tm.mk_term(Kind.ITE, [self.is_one(bit), yes, no])

    def is_one(self, bit: Term) -> Term:
        return self.tm.mk_term(Kind.EQUAL, [bit, self.tm.mk_bv_one(self.tm.mk_bv_sort(1))])

    def equal(self, left: Term, right: Term) -> Term:
        return self.tm.mk_term(Kind.EQUAL, [left, right])

    def within(self, term: Term, low: int, end: int) -> Term:
        """low <= term < end."""
        above = self.tm.mk_term(Kind.BV_SGE, [term, self.of(low)])
        return self.tm.mk_term(
            Kind.AND, [above, self.tm.mk_term(Kind.BV_SLT, [term, self.of(end)])]
        )

    def implied(self, given: list[Term], *claims: Term) -> bool:
        """Return whether there is no way to have all that is given and not all claims."""
        solver = Bitwuzla(self.tm, Options())
        for term in given:
            solver.assert_formula(term)
        true = self.tm.mk_true()
        solver.assert_formula(
            self.tm.mk_term(Kind.NOT, [self.tm.mk_term(Kind.AND, [true, true, *claims])])
        )
        return bool(solver.check_sat() == Result.UNSAT)


Meaning = Callable[[Numbers, Term, list[Term]], Term]


@dataclass(frozen=True)
class Claim:
    """What a node of a lane stands for.

    Attributes
    ----------
    low, end
        Range of one column: low <= term < end. A sum of k columns keeps k times that.
    meaning
        From a sum and what is owed to it to the number.
    first
        The same for the nodes over the first column, where it differs.
    """

    low: int
    end: int
    meaning: Meaning
    first: Meaning | None = None

    def of(self, node: Node) -> Meaning:
        """Return the meaning of a node."""
        return self.first if self.first and node.name.endswith("_0") else self.meaning


def plain(n: Numbers, total: Term, owed: list[Term]) -> Term:
    assert not owed
    return total


def lacks_carry(n: Numbers, total: Term, owed: list[Term]) -> Term:
    return n.add(total, n.value(owed, signed=False))


def has_sign(n: Numbers, total: Term, owed: list[Term]) -> Term:
    (negative,) = owed
    return n.where(negative, n.negative(total), total)


LANES: dict[str, tuple[dict[str, Any], Claim]] = {
    "negate": ({"lane": "negate"}, Claim(-128, 129, plain)),
    "carry-fold": ({"lane": "carry-fold"}, Claim(-128, 128, lacks_carry)),
    "grouped-2": ({"lane": "grouped", "group": 2}, Claim(-128, 128, has_sign, lacks_carry)),
    "grouped-3": ({"lane": "grouped", "group": 3}, Claim(-128, 128, has_sign, lacks_carry)),
    "int8": ({"lane": "int8"}, Claim(-128 * 127, 128 * 128 + 1, plain)),
}


def columns_of(config: ArrayConfig, place: int) -> range:
    """Return the columns that the term at a place sums."""
    group = config.leaf_columns
    return range(place * group, min((place + 1) * group, config.columns))


def nodes_of(netlist: Netlist, config: ArrayConfig) -> tuple[list[Node], list[Node]]:
    """Return terms, in order, and sums, from the leaves up; a sum with two names is one node."""
    nets = netlist.nets
    leaf = "level1" if config.lane == "carry-fold" else "term"
    nodes: dict[Any, Node] = {}
    names = [name for name in nets if re.fullmatch(r"(term|level\d+)_\d+", name)]
    for name in sorted(names, key=lambda n: (not n.startswith(f"{leaf}_"), numbers_in(n))):
        node = Node(name, nets[name], nets.get(f"{name}_1", ()))
        nodes.setdefault((node.sum, node.owed), node)
    terms = [node for node in nodes.values() if node.name.startswith(f"{leaf}_")]
    return terms, [node for node in nodes.values() if node not in terms]


def numbers_in(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


def check_term(netlist: Netlist, config: ArrayConfig, claim: Claim, node: Node, place: int) -> None:
    """Show that a term is what its trits make of its activations, whatever these are."""
    n = Numbers()
    bits, weight_bits = config.activation_bits, config.weight_bits
    inputs: list[Bit] = []
    summands, given = [], []
    terms: dict[Bit, Term] = {}
    columns = columns_of(config, place)
    for column in columns:
        x = netlist.nets["activations"][column * bits : (column + 1) * bits]
        w = netlist.nets["weights"][column * weight_bits : (column + 1) * weight_bits]
        inputs += [*x, *w]
        terms |= {bit: n.bit() for bit in (*x, *w)}
        activation = n.value([terms[bit] for bit in x])
        nonzero, sign = terms[w[0]], terms[w[1]]
        signed = n.where(sign, n.negative(activation), activation)
        summands.append(n.where(nonzero, signed, n.of(0)))
        # Decoders never give a sign without a trit: a lane may rely on that.
        given.append(n.tm.mk_term(Kind.IMPLIES, [n.is_one(sign), n.is_one(nonzero)]))
    assert netlist.sources([*node.sum, *node.owed], cut=()) <= set(inputs), node
    total = n.value(netlist.terms(node.sum, terms, n.tm))
    owed = netlist.terms(node.owed, terms, n.tm)
    assert n.implied(
        given,
        n.equal(claim.of(node)(n, total, owed), n.add(*summands)),
        n.within(total, claim.low * len(columns), claim.end * len(columns)),
    ), node


def check_product(netlist: Netlist, config: ArrayConfig, node: Node, place: int) -> None:
    """Show that a term is the product of its activation and weight, for all 2^16 pairs.

    A table is faster here than a solver, for which multipliers are hard.
    """
    nets, bits = netlist.nets, config.activation_bits
    span = slice(place * bits, (place + 1) * bits)
    inputs = [*nets["activations"][span], *nets["weights"][span]]
    assert netlist.sources(node.sum, cut=()) <= set(inputs), node
    pairs = np.arange(1 << 16)
    x, w = (pairs & 0xFF).astype(np.int8).astype(int), (pairs >> 8).astype(np.int8).astype(int)
    for bit, made in enumerate(netlist.table(node.sum, inputs)):
        expected = np.packbits(x * w >> bit & 1, bitorder="little")
        assert made == int.from_bytes(expected.tobytes(), "little"), (node, bit)


def check_sum(
    netlist: Netlist, claim: Claim, node: Node, children: list[Node], leaves: dict[Node, int]
) -> None:
    """Show that a node is the sum of its children, and in its range if they are in theirs."""
    n = Numbers()
    terms = {bit: n.bit() for child in children for bit in (*child.sum, *child.owed)}

    def number(of: Node) -> tuple[Term, Term]:
        bits = {
            bit: term for bit in (*of.sum, *of.owed) for term in netlist.terms([bit], terms, n.tm)
        }
        total = n.value([bits[bit] for bit in of.sum])
        return total, claim.of(of)(n, total, [bits[bit] for bit in of.owed])

    given = []
    meanings = []
    for child in children:
        total, meaning = number(child)
        given.append(n.within(total, claim.low * leaves[child], claim.end * leaves[child]))
        meanings.append(meaning)
    total, meaning = number(node)
    assert n.implied(
        given,
        n.equal(meaning, n.add(*meanings)),
        n.within(total, claim.low * leaves[node], claim.end * leaves[node]),
    ), node


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", [0, 1])
@pytest.mark.parametrize("lane", LANES)
def test_every_node_of_a_lane_is_the_sum_of_its_own(
    lane: str, pipeline: int, tmp_path: Path
) -> None:
    fields, claim = LANES[lane]
    config = ArrayConfig(rows=1, columns=COLUMNS, pipeline=pipeline, **fields)
    netlist = Netlist(Row(config), folder=tmp_path)
    terms, sums = nodes_of(netlist, config)
    covered = [column for place in range(len(terms)) for column in columns_of(config, place)]
    assert covered == list(range(COLUMNS))
    for place, term in enumerate(terms):
        if config.is_ternary:
            check_term(netlist, config, claim, term, place)
        else:
            check_product(netlist, config, term, place)

    # From here on the terms are free: a node is made of other nodes alone.
    leaves = {node: len(columns_of(config, place)) for place, node in enumerate(terms)}
    by_bit = {bit: node for node in (*terms, *sums) for bit in node.sum}
    parents: Counter[Node] = Counter()
    for node in sums:
        behind = [source for bit in node.sum for source in netlist.behind(bit)]
        others = {bit for bit in by_bit if by_bit[bit] != node}
        owed = {bit for child in (*terms, *sums) if child != node for bit in child.owed}
        read = netlist.sources(behind, cut=others | owed)
        children = list({by_bit[bit]: None for bit in sorted(read & others)})
        their_owed = {bit for child in children for bit in child.owed}
        assert read <= others | their_owed, node
        assert netlist.sources(node.owed, cut=their_owed) <= their_owed, node
        leaves[node] = sum(leaves[child] for child in children)
        check_sum(netlist, claim, node, children, leaves)
        parents.update(children)
    root = sums[-1]
    assert leaves[root] == COLUMNS
    assert parents == Counter({node: 1 for node in (*terms, *sums) if node != root})

    # The accumulator's adder, and the registers on the way to it.
    n = Numbers()
    nets = netlist.nets
    free = {bit: n.bit() for bit in (*root.sum, *root.owed, *nets["accumulator"], *nets["first"])}
    assert netlist.sources(nets["next"], cut=free) <= set(free)
    given = n.value([free[bit] for bit in nets["accumulator"]])
    total = claim.of(root)(
        n, n.value([free[bit] for bit in root.sum]), [free[bit] for bit in root.owed]
    )
    expected = n.add(n.where(free[nets["first"][0]], n.of(0), given), total)
    low = n.tm.mk_term(Kind.BV_EXTRACT, [expected], [config.accumulator_bits - 1, 0])
    made = n.value(netlist.terms(nets["next"], free, n.tm))
    made_low = n.tm.mk_term(Kind.BV_EXTRACT, [made], [config.accumulator_bits - 1, 0])
    assert n.implied([], n.equal(low, made_low))
    delays = netlist.delays({"accumulator": config.lane_latency, "first": config.lane_latency})
    assert {delays[bit] for bit in nets["next"]} == {config.lane_latency}
