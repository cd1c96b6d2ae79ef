"""`Top`: the core with the port names of AXI4-Stream."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwsim.config import ArrayConfig
from hwsim.rtl.core import Core
from hwsim.rtl.counters import CAUSES
from hwsim.rtl.layouts import Command

TOP_MODULE = "hwsim_core"
"""Name of the top module in emitted designs."""


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
        super().__init__(members)

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
