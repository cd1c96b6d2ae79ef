"""What is synthesized: the lane, what all lanes share, and the decoders of the weights."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwsim.config import ArrayConfig
from hwsim.gates.library import load
from hwsim.gates.netlist import Netlist, synthesize
from hwsim.rtl.decoder import DECODERS
from hwsim.rtl.emit import joined
from hwsim.rtl.lanes import LANE_MODULE, LANES, RECODER_MODULE, Lane, Recoder

LANE_PORTS = ("operands", "weights", "accumulator", "first")
"""Inputs of a lane, in the order in which they are evaluated."""

_BYTE = 8


class ByteDecoder(wiring.Component):
    """Decodes one byte of the weight stream.

    Members
    -------
    byte : In(8)
        As it comes.
    weights : Out
        Its weights, the first one lowest.
    illegal : Out(1)
        Whether it is no code.
    """

    def __init__(self, config: ArrayConfig):
        self._encoding = config.weight_encoding
        super().__init__(
            {"byte": In(_BYTE), "weights": Out(config.decoded_byte_bits), "illegal": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        """Decode."""
        m = Module()
        weights, illegal = DECODERS[self._encoding](m, self.byte)
        m.d.comb += [self.weights.eq(weights), self.illegal.eq(illegal)]
        return m


class Preparation(wiring.Component):
    """Makes of a word of activations what all lanes share.

    Members
    -------
    activations : In
        `columns` activations.
    operands : Out
        As the lanes take them.
    """

    def __init__(self, config: ArrayConfig):
        self._config = config
        operands = LANES[config.lane].operand_layout(config).size
        activations = config.columns * config.activation_bits
        super().__init__({"activations": In(activations), "operands": Out(operands)})

    def elaborate(self, platform: object) -> Module:
        """Prepare."""
        m = Module()
        prepared = LANES[self._config.lane].prepare(self._config, self.activations)
        m.d.comb += self.operands.eq(prepared)
        return m


@dataclass(frozen=True, eq=False)
class Netlists:
    """The netlists of an array.

    Attributes
    ----------
    lane
        One row.
    shared
        What is made of the activations for all rows; may have no gates.
    decoder
        Of a byte of the weight stream; may have no gates.
    recoder
        From the trits of one group to its pick, for lanes that have that.
    """

    lane: Netlist
    shared: Netlist
    decoder: Netlist
    recoder: Netlist | None


def netlists(config: ArrayConfig) -> Netlists:
    """Synthesize what an array is made of; netlists are kept in the cache."""
    # Only what the netlists depend on, so that arrays which differ in buffers share them.
    fields = ("columns", "lane", "group", "weight_encoding", "accumulator_bits", "pipeline")
    return _netlists(config.__class__.make(**{name: getattr(config, name) for name in fields}))


@cache
def _netlists(config: ArrayConfig) -> Netlists:
    lane: type[Lane] = LANES[config.lane]
    mapped = _synthesize(lane(config), LANE_MODULE, **lane.parts(config))
    inputs = {port: mapped.inputs[port] for port in LANE_PORTS}
    mapped = Netlist(mapped.top, mapped.names, inputs, mapped.outputs, mapped.gates)
    latency = config.lane_latency
    mapped.stages({"accumulator": latency, "first": latency})
    recoder = None
    if lane.recodes:
        group = config.replace(columns=config.group)
        recoder = _synthesize(Recoder(group, lane), RECODER_MODULE)
    return Netlists(
        lane=mapped,
        shared=_synthesize(Preparation(config), "hwsim_preparation"),
        decoder=_synthesize(ByteDecoder(config), "hwsim_byte_decoder"),
        recoder=recoder,
    )


def _synthesize(component: Any, name: str, **parts: Any) -> Netlist:
    """Map a component; `parts` are the modules that it has instances of."""
    return synthesize(joined({**parts, name: component}), name, load())
