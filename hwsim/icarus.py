"""A layer on Verilog of the core, in a simulator that is not ours: Icarus."""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwsim import streams
from hwsim.errors import InputError
from hwsim.operands import Operands
from hwsim.schedule import Schedule

_BENCH = """
module tb;
  reg clk = 0; always #1 clk = ~clk;
  reg [159:0] command = {command};
  reg [{w}:0] weights [0:{nw}]; reg [{a}:0] activations [0:{na}];
  integer wi = 0, ai = 0, cycle = 0; reg started = 0, was_busy = 0, rst = 1;
  wire cr, wr, ar, rv, rl, busy; wire [{r}:0] rd; wire [31:0] total;
  hwsim_core core(.clk(clk), .rst(rst),
    .s_axis_command_tvalid(~started & ~rst), .s_axis_command_tready(cr),
    .s_axis_command_tdata(command),
    .s_axis_weight_tvalid(1'b1), .s_axis_weight_tready(wr), .s_axis_weight_tlast(1'b0),
    .s_axis_weight_tdata(weights[wi]),
    .s_axis_activation_tvalid(ai <= {na}), .s_axis_activation_tready(ar),
    .s_axis_activation_tlast(1'b0), .s_axis_activation_tdata(activations[ai]),
    .m_axis_result_tvalid(rv), .m_axis_result_tready(1'b1), .m_axis_result_tdata(rd),
    .m_axis_result_tlast(rl), .busy(busy), .cycles_total(total));
  initial begin $readmemh("w.hex", weights); $readmemh("a.hex", activations); end
  always @(posedge clk) begin
    cycle <= cycle + 1;
    rst <= cycle < 2;
    if (!rst) begin
      if (cr) started <= 1;
      if (wr) wi <= wi == {nw} ? 0 : wi + 1;
      if (ar && ai <= {na}) ai <= ai + 1;
      if (rv) $display("result %h", rd);
      was_busy <= busy;
      if (was_busy && !busy) begin $display("cycles %0d", total); $finish; end
    end
    if (cycle == {patience}) $finish;
  end
endmodule
"""


def check_installed() -> None:
    """Refuse to go on without Icarus.

    Raises
    ------
    InputError
        Saying what to install.
    """
    if shutil.which("iverilog") is None or shutil.which("vvp") is None:
        raise InputError("--check needs Icarus Verilog (iverilog, vvp) on the PATH")


def run(
    sources: Sequence[Path],
    schedule: Schedule,
    operands: Operands,
    *,
    patience: int,
    options: Sequence[str] = (),
) -> tuple[NDArray[np.generic] | None, int]:
    """Run a layer, with inputs offered and results taken in every cycle.

    Parameters
    ----------
    sources
        Verilog files with `hwsim_core` and all that it needs.
    schedule
        The loops of the layer.
    operands
        Its weights and activations.
    patience
        Cycles after which it is given up.
    options
        Further arguments of ``iverilog``.

    Returns
    -------
    outputs
        Shape (tokens, out_features), or nothing if results were missing or undefined.
    cycles
        As the core counted them.
    """
    weights = streams.weight_words(operands.weight, schedule)
    activations = streams.activation_words(operands.activation, schedule)
    config = schedule.config
    bench = _BENCH.format(
        command="{" + ", ".join(f"32'd{word}" for word in reversed(schedule.command)) + "}",
        w=config.weight_bus_bits - 1,
        a=config.activation_bus_bits - 1,
        r=config.result_bus_bits - 1,
        nw=len(weights) - 1,
        na=len(activations) - 1,
        patience=patience,
    )
    with tempfile.TemporaryDirectory(prefix="hwsim-") as name:
        folder = Path(name)
        (folder / "tb.v").write_text(bench)
        (folder / "w.hex").write_text(_hex(weights))
        (folder / "a.hex").write_text(_hex(activations))
        files = [*(str(source.resolve()) for source in sources), "tb.v"]
        _call("iverilog", "-g2012", *options, "-s", "tb", "-o", "tb", *files, folder=folder)
        lines = _call("vvp", "tb", folder=folder).splitlines()
    results = [line.split()[1] for line in lines if line.startswith("result ")]
    cycles = next((int(line.split()[1]) for line in lines if line.startswith("cycles ")), 0)
    if not cycles or len(results) != schedule.result_words or "x" in "".join(results):
        return None, cycles
    words = np.array([list(bytes.fromhex(word)[::-1]) for word in results], np.uint8)
    return streams.outputs(words, schedule), cycles


def _call(*command: str, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def _hex(words: streams.Words) -> str:
    return "\n".join(word[::-1].tobytes().hex() for word in words)
