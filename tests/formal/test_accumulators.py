"""No accumulator overflows for the layers that `ArrayConfig.check_in_features` lets pass."""

import pytest
from bitwuzla import Bitwuzla, Kind, Options, Result, Term, TermManager

from hwsim.config import ArrayConfig
from hwsim.errors import InputError

WIDTH = 64  # more bits than any number here takes


def longest(config: ArrayConfig) -> int:
    """Return the longest layer that is let pass."""
    low, high = 0, config.max_in_features + 1
    while high - low > 1:
        middle = (low + high) // 2
        try:
            config.check_in_features(middle, where="test")
            low = middle
        except InputError:
            high = middle
    return low


@pytest.mark.parametrize("lane", ["negate", "int8"])
@pytest.mark.parametrize("bits", [8, 12, 16, 24, 32])
def test_sums_of_the_layers_that_pass_stay_in_the_accumulator(lane: str, bits: int) -> None:
    config = ArrayConfig(lane=lane, accumulator_bits=bits, max_in_features=1 << 20)
    product = 128 * (1 if config.is_ternary else 128)  # largest magnitude of a weight times an x
    k = longest(config)
    # It is the widest layer that fits, unless the buffer ends first.
    assert k == min(((1 << (bits - 1)) - 1) // product, 1 << 20)

    # Induction over the steps: after `done` inputs the sum is within done * product; a step of n
    # more that do not go beyond k adds at most n * product, and the sum stays in `bits` bits.
    tm = TermManager()
    sort = tm.mk_bv_sort(WIDTH)

    def number(value: int) -> Term:
        return tm.mk_bv_value(sort, value)

    def within(term: Term, limit: Term) -> Term:
        below = tm.mk_term(Kind.BV_NEG, [limit])
        return tm.mk_term(
            Kind.AND,
            [tm.mk_term(Kind.BV_SLE, [below, term]), tm.mk_term(Kind.BV_SLE, [term, limit])],
        )

    def times_product(term: Term) -> Term:
        return tm.mk_term(Kind.BV_SHL, [term, number(product.bit_length() - 1)])

    done, more, held, added = (tm.mk_const(sort, name) for name in ("done", "more", "held", "add"))
    after = tm.mk_term(Kind.BV_ADD, [done, more])
    result = tm.mk_term(Kind.BV_ADD, [held, added])
    solver = Bitwuzla(tm, Options())
    for count in (done, more, after):
        solver.assert_formula(tm.mk_term(Kind.BV_ULE, [count, number(k)]))
    solver.assert_formula(within(held, times_product(done)))
    solver.assert_formula(within(added, times_product(more)))
    fits = tm.mk_term(
        Kind.EQUAL,
        [
            tm.mk_term(
                Kind.BV_SIGN_EXTEND,
                [tm.mk_term(Kind.BV_EXTRACT, [result], [bits - 1, 0])],
                [WIDTH - bits],
            ),
            result,
        ],
    )
    stays = tm.mk_term(Kind.AND, [within(result, times_product(after)), fits])
    solver.assert_formula(tm.mk_term(Kind.NOT, [stays]))
    assert solver.check_sat() == Result.UNSAT
