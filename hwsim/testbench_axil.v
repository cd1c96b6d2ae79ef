// The core with its AXI4-Lite registers.
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
    output wrong  // whether registers or responses were not as expected
);
  // Offsets of registers.
  localparam CONTROL = 'h04, STATUS = 'h08, SHAPE = 'h10, CYCLES = 'h40;

  reg awvalid = 0, wvalid = 0, arvalid = 0;
  reg bad_response = 0, bad_access = 0;
  reg [11:0] awaddr = 0, araddr = 0;
  reg [31:0] wdata = 0;
  wire awready, wready, bvalid, arready, rvalid;
  wire [1:0] bresp, rresp;
  wire [31:0] rdata;

  hwsim_core_axil core (
      .clk(clk),
      .rst(rst),
      .s_axil_awaddr(awaddr),
      .s_axil_awvalid(awvalid),
      .s_axil_awready(awready),
      .s_axil_wdata(wdata),
      .s_axil_wstrb(4'b1111),
      .s_axil_wvalid(wvalid),
      .s_axil_wready(wready),
      .s_axil_bresp(bresp),
      .s_axil_bvalid(bvalid),
      .s_axil_bready(1'b1),
      .s_axil_araddr(araddr),
      .s_axil_arvalid(arvalid),
      .s_axil_arready(arready),
      .s_axil_rdata(rdata),
      .s_axil_rresp(rresp),
      .s_axil_rvalid(rvalid),
      .s_axil_rready(1'b1),
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
      .error(error)
  );

  // Whether a command would be taken cannot be seen; counters are compared after the layer.
  assign idle = ~busy;
  assign wrong = bad_response | bad_access;
  always @(posedge clk)
    if (!rst && {bvalid && bresp != 0, rvalid && rresp != 0} !== 2'd0) bad_response <= 1;

  // Address and data are taken at once, in the first cycle; returns at the edge that ends it.
  task write(input [11:0] address, input [31:0] data);
    begin
      awvalid <= 1;
      awaddr <= address;
      wvalid <= 1;
      wdata <= data;
      @(posedge clk);
      if ({awready, wready} !== 2'b11) bad_access <= 1;
      awvalid <= 0;
      wvalid <= 0;
    end
  endtask

  task read(input [11:0] address, output [31:0] data);
    begin
      arvalid <= 1;
      araddr <= address;
      @(posedge clk);
      if (arready !== 1) bad_access <= 1;
      arvalid <= 0;
      @(posedge clk);
      if (rvalid !== 1) bad_access <= 1;
      data = rdata;
    end
  endtask

  integer place;
  reg [31:0] status, count, back;

  task put(input [11:0] address, input [31:0] data);
    begin
      write(address, data);
      @(posedge clk);
      read(address, back);
      if (back !== data) bad_access <= 1;
    end
  endtask

  // Returns at the edge that begins the cycle in which the command is accepted.
  task start(input [159:0] command);
    begin
      for (place = 0; place < 5; place = place + 1) begin
        put(SHAPE + 4 * place, ~command[32*place+:32]);
        put(SHAPE + 4 * place, command[32*place+:32]);
      end
      write(CONTROL, 1);
    end
  endtask

  task read_counters(output [191:0] counters);
    begin
      for (place = 0; place < 6; place = place + 1) begin
        read(CYCLES + 4 * place, count);
        counters[32*(5-place)+:32] = count;
      end
      // A layer that has been counted is done.
      read(STATUS, status);
      if (status !== (counters != 0 ? 2 : 0)) bad_access <= 1;
    end
  endtask
endmodule
