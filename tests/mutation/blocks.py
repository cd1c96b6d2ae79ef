"""What is mutated, and the default tests that have to notice.

Each test is a function of `tests/rtl` that is also run by default, with arguments for the very
component that is mutated. It drives the component through `simulation.simulate`, so it runs on a
mutant as it runs on the design.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from amaranth.hdl import Const, Mux, Signal, Value
from amaranth.lib import wiring
from formal.contract import Contract
from formal.ghosts import counted
from rows import Row

from hwsim.config import ArrayConfig
from hwsim.engines.stalls import Stalls
from hwsim.rtl.core import Core
from hwsim.rtl.counters import CAUSES
from hwsim.rtl.decoder import WeightDecoder

FOLDER = Path(__file__).parents[1] / "rtl"

Call = tuple[str, str, tuple[Any, ...]]
"""Module of `tests/rtl`, function, arguments."""


@cache
def _module(name: str) -> ModuleType:
    """Import a module of `tests/rtl`, by its file: the name `rtl` is that of the hardware, too."""
    spec = spec_from_file_location(f"mutated_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Block:
    """A component to mutate.

    Attributes
    ----------
    make
        Makes it.
    tests
        The calls that have to notice.
    count
        Mutants.
    where
        See `Mutants`.
    settling
        Cycles after a reset until registers that have none hold what was put in since.
    zeros
        Whether proofs begin with zeros in all registers, and have resets in any cycle, which is
        easier for a large block. Else they begin with anything, and a reset.
    belongs
        Outputs that say something only while another port is 1; a stream's payload always does.
    used
        Adds to a contract what may come in, and returns whether the block is in use: what it shows
        counts then only. It is given the ports by name.
    proof
        Adds claims to a contract about every state; they hold in all cycles if they hold in the
        first `WINDOW` of them. What fails it is a fault, though no test is long enough to see it.
    """

    make: Callable[[], wiring.Component]
    tests: list[Call] = field(default_factory=list)
    count: int = 200
    where: str = ""
    settling: int = 1
    zeros: bool = False
    belongs: dict[str, str] = field(default_factory=dict)
    used: Callable[[Contract, dict[str, Signal]], Value] = lambda c, ports: Const(1)
    proof: Callable[[Contract, dict[str, Signal]], None] | None = None

    def check(self) -> None:
        """Run all tests; an AssertionError is what kills a mutant."""
        for module, function, arguments in self.tests:
            test = getattr(_module(module), function)
            test(*arguments)


def _lane(**fields: Any) -> Block:
    # Whole groups: what a lane does with the places of a short one is no matter.
    group = fields.get("group")
    columns = 2 * group if group else 5
    config = ArrayConfig(rows=1, columns=columns, pipeline=1, accumulator_bits=20, **fields)
    tests: list[Call] = [
        (
            "test_lanes",
            "test_next_belongs_to_the_operands_of_latency_cycles_before",
            (fields, columns, 1),
        )
    ]
    if group:
        tests.append(("test_lanes", "test_a_group_with_an_illegal_code_counts_as_zero", (group, 1)))
    return Block(lambda: Row(config), tests, settling=config.step_latency + 1)


def _floats() -> Block:
    config = _module("test_lanes").FLOATS
    tests: list[Call] = [("test_lanes", "test_floats_are_rounded_as_numpy_does", ())]
    return Block(lambda: Row(config), tests, settling=config.step_latency + 1)


def _decoder(encoding: str) -> Block:
    config = ArrayConfig(weight_encoding=encoding, weight_bus_bits=24)
    return Block(
        lambda: WeightDecoder(config),
        [
            ("test_decoder", "test_words_are_decoded_in_turn", (encoding,)),
            ("test_decoder", "test_a_reset_takes_the_words_that_wait", (encoding,)),
        ],
    )


def _repacker() -> Block:
    def used(c: Contract, ports: dict[str, Signal]) -> Value:
        """A packet has a length that holds still from the cycle before `start` on.

        It begins after that of `start`, which comes while nothing is inside.
        """
        length, start = ports["length"], ports["start"]
        before = Signal.like(length, name="length_before")
        begun = Signal()
        still = length == before
        c.m.d.sync += [before.eq(length), begun.eq(still & (begun | start))]
        inside = Signal(4)  # packets of which all has come
        open_ = Signal()  # another one of which some has
        accept = ports["i__valid"] & ports["i__ready"]
        comes, goes = accept & ports["i_last"], ports["o__valid"] & ports["o_last"]
        c.m.d.sync += [inside.eq(inside + comes - goes), open_.eq(Mux(accept, ~comes, open_))]
        c.assume(~start | ((inside == 0) & ~open_))
        c.assume(~ports["i__valid"] | (begun & ~start))
        return begun & still & (length >= 1) & (length <= 13)

    return Block(
        _module("test_repacker").fixed,
        [
            ("test_repacker", "test_packets_of_all_lengths", ()),
            ("test_repacker", "test_a_reset_takes_what_is_inside", ()),
        ],
        belongs={"i_last": "i__valid", "o_last": "o__valid", "o_mark": "o_last"},
        used=used,
        zeros=True,
    )


def _core() -> Block:
    def proof(c: Contract, ports: dict[str, Signal]) -> None:
        """Count cycles as `tests/formal/test_counters.py` says, from what the ports show of it."""
        counts = {
            name: ports["cycles"].word_select(place, 32)
            for place, name in enumerate(("total", *CAUSES))
        }
        counted(c, counts, begins=ports["command__valid"] & ports["command__ready"])

    small = _module("test_core").SMALL
    test = "test_layers_of_all_shapes_one_after_the_other"
    return Block(
        lambda: Core(small),
        [
            ("test_core", "test_bad_commands_and_codes_are_reported", ()),
            ("test_core", "test_the_first_words_of_layers_of_any_size", ()),
            *(("test_core", test, (s,)) for s in (Stalls(), Stalls(0.5, 1), Stalls(0.8, 2))),
            ("test_core", "test_a_layer_after_a_reset_in_the_midst_of_another", ()),
            ("test_core", "test_layers_of_many_blocks", ()),
            ("test_core", "test_while_a_port_waits_its_cause_is_counted", ()),
        ],
        where="c:*lane_* %n",
        zeros=True,
        proof=proof,
    )


BLOCKS: dict[str, Callable[[], Block]] = {
    "lane negate": lambda: _lane(lane="negate"),
    "lane carry-fold": lambda: _lane(lane="carry-fold"),
    "lane grouped 2": lambda: _lane(lane="grouped", group=2),
    "lane grouped 3": lambda: _lane(lane="grouped", group=3),
    "lane int8": lambda: _lane(lane="int8"),
    "lane fp16": _floats,
    "decoder 1bit": lambda: _decoder("1bit"),
    "decoder 2bit": lambda: _decoder("2bit"),
    "decoder base3": lambda: _decoder("base3"),
    "repacker": _repacker,
    "control": _core,
}
"""By the name that the table of `docs/verification.md` gives them.

`control` is the whole core without its lanes: decoder, tile, buffer, walkers, counters, bank,
serializer, and what joins them.
"""
