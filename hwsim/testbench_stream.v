// The core with its command stream.
module hwsim_tb_device #(
    parameter WEIGHT_BITS = 8,
    parameter ACTIVATION_BITS = 8,
    parameter RESULT_BITS = 8
) (
    input clk,
    input rst,
    input weight_tvalid,
    output weight_tready,
    input [WEIGHT_BITS-1:0] weight_tdata,
    input activation_tvalid,
    output activation_tready,
    input [ACTIVATION_BITS-1:0] activation_tdata,
    output result_tvalid,
    input result_tready,
    output [RESULT_BITS-1:0] result_tdata,
    output result_tlast,
    output idle,  // whether a command would be taken
    output busy,
    output error,
    output wrong  // whether the counters contradict each other
);
  reg asked = 0, answered = 0;  // a command is offered where they differ: for one cycle
  reg [159:0] command_tdata = 0;
  wire command_tready;
  wire [31:0] total, compute, weight_stall, activation_stall, result_stall, fill_drain;

  hwsim_core core (
      .clk(clk),
      .rst(rst),
      .s_axis_command_tvalid(asked ^ answered),
      .s_axis_command_tready(command_tready),
      .s_axis_command_tdata(command_tdata),
      .s_axis_weight_tvalid(weight_tvalid),
      .s_axis_weight_tready(weight_tready),
      .s_axis_weight_tdata(weight_tdata),
      .s_axis_weight_tlast(1'b0),  // ignored
      .s_axis_activation_tvalid(activation_tvalid),
      .s_axis_activation_tready(activation_tready),
      .s_axis_activation_tdata(activation_tdata),
      .s_axis_activation_tlast(1'b0),  // ignored
      .m_axis_result_tvalid(result_tvalid),
      .m_axis_result_tready(result_tready),
      .m_axis_result_tdata(result_tdata),
      .m_axis_result_tlast(result_tlast),
      .busy(busy),
      .error(error),
      .cycles_total(total),
      .cycles_compute(compute),
      .cycles_weight_stall(weight_stall),
      .cycles_activation_stall(activation_stall),
      .cycles_result_stall(result_stall),
      .cycles_fill_drain(fill_drain)
  );

  assign wrong =
      total !== compute + weight_stall + activation_stall + result_stall + fill_drain;
  assign idle = command_tready;
  always @(posedge clk) answered <= asked;

  // Returns at the edge that begins the cycle in which the command is accepted.
  task start(input [159:0] command);
    begin
      asked <= ~asked;
      command_tdata <= command;
    end
  endtask

  task read_counters(output [191:0] counters);
    counters = {total, compute, weight_stall, activation_stall, result_stall, fill_drain};
  endtask
endmodule
