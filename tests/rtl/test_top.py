import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import SimulatorContext
from hypothesis import given
from hypothesis import strategies as st
from layers import make_layer, reference
from ports import Sink, Source, simulate
from strategies import arrays, examples

from hwsim import streams, yosys
from hwsim.config import ArrayConfig
from hwsim.engines import schedule_of
from hwsim.layer import Layer
from hwsim.predict import predict_cycles
from hwsim.rtl.activations import activation_ram_shape
from hwsim.rtl.emit import emit
from hwsim.rtl.top import Top
from hwsim.schedule import Schedule


@examples(4)
@given(config=arrays(most=4), cycles=st.integers(0, 120), seed=st.integers(0, 2**32))
def test_a_layer_runs_after_a_reset_in_the_middle_of_another(
    config: ArrayConfig, cycles: int, seed: int
) -> None:
    zero = 0.0 if config.weight_encoding == "1bit" else 0.4
    zero = 0.0 if config.weight_encoding == "1bit" else 0.4
    layers = [make_layer(9, 11, 9, seed, zero), make_layer(5, 7, 6, seed + 1, zero)]
    schedules = [schedule_of(layer, config) for layer in layers]
    top, rst = Top(config), Signal()
    weights, activations, sink = Source(top, "weight"), Source(top, "activation"), Sink(top)

    async def host(ctx: SimulatorContext) -> None:
        async def start(layer: Layer, schedule: Schedule) -> None:
            assert layer.activation is not None
            weights.play(streams.weight_words(layer.weight, schedule))
            activations.play(streams.activation_words(layer.activation, schedule))
            command = sum(word << 32 * place for place, word in enumerate(schedule.command))
            ctx.set(top.s_axis_command_tdata, command)
            ctx.set(top.s_axis_command_tvalid, 1)
            *_, taken = await ctx.tick().sample(top.s_axis_command_tready)
            assert taken
            ctx.set(top.s_axis_command_tvalid, 0)

        await start(layers[0], schedules[0])
        if cycles:
            await ctx.tick().repeat(cycles)
        ctx.set(rst, 1)
        await ctx.tick()
        ctx.set(rst, 0)
        assert not ctx.get(top.busy | top.error | top.m_axis_result_tvalid)
        await ctx.tick()  # by now the sources know what was taken last
        assert not ctx.get(top.cycles_total | top.cycles_fill_drain | top.cycles_compute)
        sink.taken.clear()
        await start(layers[1], schedules[1])
        await ctx.tick().until(~top.busy)
        for name, count in predict_cycles(schedules[1]).as_dict().items():
            assert ctx.get(getattr(top, f"cycles_{name}")) == count

    simulate(ResetInserter(rst)(top), host, sink.run, weights.run, activations.run)
    assert np.array_equal(streams.outputs(sink.words(), schedules[1]), reference(layers[1]))


def cells_of(config: ArrayConfig, folder: Path, commands: str) -> tuple[int, list[dict[str, Any]]]:
    """Return the net of the reset, and the cells of a core after some commands of Yosys."""
    design = emit(config)
    folder.mkdir()
    (folder / "design.il").write_text(design.rtlil)
    (folder / "design.v").write_text(design.verilog)
    yosys.run(
        f"read_rtlil design.il\nread_verilog design.v\nhierarchy -check -top {design.top}\n"
        f"{commands}\nwrite_json -selected design.json\n",
        folder=folder,
    )
    core = json.loads((folder / "design.json").read_text())["modules"][design.top]
    return core["ports"]["rst"]["bits"][0], list(core["cells"].values())


def test_the_activation_buffer_is_block_ram_and_the_accumulators_are_not(tmp_path: Path) -> None:
    config = ArrayConfig()
    commands = "synth_ecp5 -top hwsim_core -run begin:map_gates\nselect hwsim_core"
    _, cells = cells_of(config, tmp_path / "ecp5", commands)
    counts = Counter(cell["type"] for cell in cells)
    shape = activation_ram_shape(config)
    # A DP16KD holds at most 18 Kbit, parity bits included.
    least = shape["width"] * shape["depth"] / (18 * 1024)
    assert least <= counts["DP16KD"] <= 1.2 * least
    assert counts["TRELLIS_DPR16X4"] >= config.rows * config.accumulator_bits // 4
    assert not [kind for kind in counts if kind.startswith("$mem")]


def test_a_reset_reaches_the_control_only(tmp_path: Path) -> None:
    """A wider array has more registers, but hardly more that are reset."""

    def registers(config: ArrayConfig, name: str) -> tuple[int, int]:
        rst, cells = cells_of(config, tmp_path / name, "proc\nflatten\nopt_clean\nselect *")
        reset = total = 0
        for cell in cells:
            if "WIDTH" in cell["parameters"]:
                width = int(cell["parameters"]["WIDTH"], 2)
                total += width * (cell["type"] == "$dff")
                reset += width * (cell["connections"].get("S") == [rst])
        return reset, total

    narrow = ArrayConfig(rows=4, columns=8)
    reset, total = registers(narrow, "narrow")
    wide_reset, wide_total = registers(narrow.replace(rows=16, columns=32), "wide")
    assert 0 < reset < 700
    assert 0 <= wide_reset - reset <= 16  # counters of rows and items
    assert wide_total > 3 * total
