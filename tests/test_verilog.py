"""The emitted Verilog, in a simulator that is not ours: Icarus."""

import shutil
import subprocess
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from hwsim import streams, trace
from hwsim.config import preset
from hwsim.engines import schedule_of
from hwsim.operands import operands_of
from hwsim.predict import predict_cycles
from hwsim.verilog import to_verilog

BENCH = """
module tb;
  reg clk = 0; always #1 clk = ~clk;
  reg [159:0] command = {command};
  reg [{w}:0] weights [0:{nw}]; reg [{a}:0] activations [0:{na}];
  integer wi = 0, ai = 0; reg started = 0, was_busy = 0;
  wire cr, wr, ar, rv, rl, busy; wire [{r}:0] rd; wire [31:0] total;
  hwsim_core core(.clk(clk), .rst(1'b0),
    .s_axis_command_tvalid(~started), .s_axis_command_tready(cr), .s_axis_command_tdata(command),
    .s_axis_weight_tvalid(1'b1), .s_axis_weight_tready(wr), .s_axis_weight_tlast(1'b0),
    .s_axis_weight_tdata(weights[wi]),
    .s_axis_activation_tvalid(ai <= {na}), .s_axis_activation_tready(ar),
    .s_axis_activation_tlast(1'b0), .s_axis_activation_tdata(activations[ai]),
    .m_axis_result_tvalid(rv), .m_axis_result_tready(1'b1), .m_axis_result_tdata(rd),
    .m_axis_result_tlast(rl), .busy(busy), .cycles_total(total));
  initial begin $readmemh("w.hex", weights); $readmemh("a.hex", activations); end
  always @(posedge clk) begin
    if (cr) started <= 1;
    if (wr) wi <= wi == {nw} ? 0 : wi + 1;
    if (ar && ai <= {na}) ai <= ai + 1;
    if (rv) $display("%h", rd);
    was_busy <= busy;
    if (was_busy && !busy) begin $display("cycles %0d", total); $finish; end
  end
endmodule
"""


def hex_words(words: np.ndarray) -> str:
    return "\n".join(word[::-1].tobytes().hex() for word in words)


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs Icarus Verilog (iverilog)")
def test_icarus_gives_the_sums_and_cycles_of_the_shipped_layer(tmp_path: Path) -> None:
    config = preset("default-16x16")
    with resources.as_file(resources.files("hwsim.data") / "adder-trace.safetensors") as file:
        layer = trace.read(file).layer("blocks.0.ffn.up")
    schedule = schedule_of(layer, config)
    operands = operands_of(layer, config)
    weights = streams.weight_words(operands.weight, schedule)
    activations = streams.activation_words(operands.activation, schedule)
    command = "{" + ", ".join(f"32'd{word}" for word in reversed(schedule.command)) + "}"
    bench = BENCH.format(
        command=command,
        w=config.weight_bus_bits - 1,
        a=config.activation_bus_bits - 1,
        r=config.result_bus_bits - 1,
        nw=len(weights) - 1,
        na=len(activations) - 1,
    )
    (tmp_path / "tb.v").write_text(bench)
    (tmp_path / "core.v").write_text(to_verilog(config))
    (tmp_path / "w.hex").write_text(hex_words(weights))
    (tmp_path / "a.hex").write_text(hex_words(activations))
    compiled = subprocess.run(
        ["iverilog", "-g2012", "-Wall", "-o", "core.vvp", "core.v"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert compiled.stderr == ""
    subprocess.run(["iverilog", "-g2012", "-o", "tb", "core.v", "tb.v"], cwd=tmp_path, check=True)
    *results, cycles = subprocess.run(
        ["vvp", "tb"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    ).stdout.split("\n")[:-1]
    results = [line for line in results if "tb.v" not in line]
    words = np.array([list(bytes.fromhex(line)[::-1]) for line in results], np.uint8)
    expected = layer.activation.astype(np.int64) @ layer.weight.T.astype(np.int64)
    assert np.array_equal(streams.outputs(words, schedule), expected)
    assert cycles == f"cycles {predict_cycles(schedule).total}"
