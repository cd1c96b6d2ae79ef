"""`Top`: the core with the port names of AXI4-Stream."""

from amaranth.hdl import Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwsim.config import ArrayConfig
from hwsim.rtl.core import Core
from hwsim.rtl.counters import CAUSES
from hwsim.rtl.layouts import Command
from hwsim.rtl.registers import BUS_MEMBERS, RegisterBlock

TOP_MODULE = "hwsim_core"
"""Name of the top module in emitted designs."""

AXIL_TOP_MODULE = "hwsim_core_axil"
"""Name of the top module with registers."""


def _ports(config: ArrayConfig) -> dict[str, wiring.Member]:
    members = {
        "s_axis_command_tdata": In(Command.as_shape().size),
        "s_axis_weight_tdata": In(config.weight_bus_bits),
        "s_axis_activation_tdata": In(config.activation_bus_bits),
        "m_axis_result_tdata": Out(config.result_bus_bits),
        "m_axis_result_tvalid": Out(1),
        "m_axis_result_tready": In(1),
        "m_axis_result_tlast": Out(1),
        "busy": Out(1),
        "error": Out(1),
    }
    for name in ("command", "weight", "activation"):
        members[f"s_axis_{name}_tvalid"] = In(1)
        members[f"s_axis_{name}_tready"] = Out(1)
    for name in ("weight", "activation"):
        members[f"s_axis_{name}_tlast"] = In(1)
    for name in ("total", *CAUSES):
        members[f"cycles_{name}"] = Out(32)
    return members


class Top(wiring.Component):
    """Module `hwsim_core`, with `clk` and a synchronous, active-high `rst`.

    Parameters
    ----------
    config : ArrayConfig
        All of it.

    Members
    -------
    s_axis_command_* : stream in
        One word of 5 x 32 bits as `Command`, lowest first.
    s_axis_weight_*, s_axis_activation_* : streams in
        `tlast` is ignored; `tready` is low until a command has been accepted.
    m_axis_result_* : stream out
        `tlast` marks the last word of the layer.
    busy, error, cycles_* : Out
        As in `Core`.
    """

    def __init__(self, config: ArrayConfig):
        self._config = config
        super().__init__(_ports(config))

    def elaborate(self, platform: object) -> Module:
        """Rename."""
        m = Module()
        m.submodules.core = core = Core(self._config)
        for name, port in (
            ("command", core.command),
            ("weight", core.weights),
            ("activation", core.activations),
        ):
            ready = getattr(self, f"s_axis_{name}_tready")
            m.d.comb += [
                port.payload.eq(getattr(self, f"s_axis_{name}_tdata")),
                port.valid.eq(getattr(self, f"s_axis_{name}_tvalid")),
                ready.eq(port.ready),
            ]
        m.d.comb += [
            self.m_axis_result_tdata.eq(core.results.payload.data),
            self.m_axis_result_tlast.eq(core.results.payload.last),
            self.m_axis_result_tvalid.eq(core.results.valid),
            core.results.ready.eq(self.m_axis_result_tready),
            self.busy.eq(core.busy),
            self.error.eq(core.error),
        ]
        m.d.comb += [getattr(self, f"cycles_{n}").eq(core.cycles[n]) for n in ("total", *CAUSES)]
        return m


class AxiLiteTop(wiring.Component):
    """Module `hwsim_core_axil`: `Top` with its command and its counters in registers.

    Parameters
    ----------
    config : ArrayConfig
        All of it.

    Members
    -------
    s_axil_* : AXI4-Lite in
        Port of the `RegisterBlock`.
    s_axis_weight_*, s_axis_activation_*, m_axis_result_*, busy, error
        As in `Top`.
    """

    def __init__(self, config: ArrayConfig):
        self._config = config
        self._passed = {
            name: member
            for name, member in _ports(config).items()
            if not name.startswith(("s_axis_command_", "cycles_"))
        }
        super().__init__(
            self._passed | {f"s_axil_{name}": member for name, member in BUS_MEMBERS.items()}
        )

    def elaborate(self, platform: object) -> Module:
        """Put the registers before the core."""
        m = Module()
        m.submodules.core = core = Top(self._config)
        m.submodules.registers = registers = RegisterBlock()

        def connect(outer: Value, inner: Value, flow: wiring.Flow) -> None:
            m.d.comb += inner.eq(outer) if flow is In else outer.eq(inner)

        for name, member in self._passed.items():
            connect(getattr(self, name), getattr(core, name), member.flow)
        for name, member in BUS_MEMBERS.items():
            connect(getattr(self, f"s_axil_{name}"), getattr(registers, name), member.flow)
        m.d.comb += [
            core.s_axis_command_tdata.eq(registers.command.payload),
            core.s_axis_command_tvalid.eq(registers.command.valid),
            registers.command.ready.eq(core.s_axis_command_tready),
            registers.busy.eq(core.busy),
            registers.error.eq(core.error),
        ]
        for name in ("total", *CAUSES):
            m.d.comb += getattr(registers, f"cycles_{name}").eq(getattr(core, f"cycles_{name}"))
        return m


TOPS = {None: (TOP_MODULE, Top), "axi-lite": (AXIL_TOP_MODULE, AxiLiteTop)}
"""For each kind of registers, the name of the top module and the module."""
