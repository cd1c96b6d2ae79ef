// Plays a layer through the ports of the core and compares all that comes out. After a reset
//
// 1. commands that the core must refuse, and the largest one that it must accept;
// 2. the layer with inputs offered and results taken in every cycle;
// 3. the layer with seeded stalls, broken off by a reset in its middle, and again nearer and nearer
//    to its beginning; then with one port that waits most of the time, broken off likewise;
// 4. the layer with those stalls, to its end;
// 5. pieces of the layer, of other shapes, one after the other;
// 6. illegal weight codes in every byte of a weight word.
//
// In 2, 4 and 5 the results, their tlast and all cycle counters must be the expected ones, in every
// cycle an X on a control output is a fault, and what is offered may not change until it is taken.
// Each wait is a number of cycles, so that hardware that hangs is found as well.
//
// A cycle is what lies between two rising edges of clk: inputs change just after the first one,
// outputs are looked at just before the second one.
module hwsim_tb_player #(
    // Widths of the buses.
    parameter WEIGHT_BITS = 8,
    parameter ACTIVATION_BITS = 8,
    parameter RESULT_BITS = 8,
    // Bus words of all layers, and where they stand.
    parameter WEIGHT_WORDS = 1,
    parameter ACTIVATION_WORDS = 1,
    parameter RESULT_WORDS = 1,
    parameter WEIGHT_FILE = "",
    parameter ACTIVATION_FILE = "",
    parameter RESULT_FILE = "",
    // The layer, lowest, and its pieces. Of each: its command; its bus words of weights, which are
    // streamed once for each token block, those blocks, its words of activations and of results; its
    // cycles without stalls: total, compute, weight_stall, activation_stall, result_stall, fill_drain.
    parameter LAYERS = 1,
    parameter [160*LAYERS-1:0] COMMANDS = 0,
    parameter [128*LAYERS-1:0] WORDS = 0,
    parameter [192*LAYERS-1:0] CYCLES = 0,
    // The cycles of the layer with stalls.
    parameter [191:0] STALLED_CYCLES = 0,
    // The largest command that the activation buffer holds.
    parameter [159:0] LARGEST_COMMAND = 0,
    // A port waits in a cycle if its draw is below this threshold; where its draws begin.
    parameter [31:0] STALL_THRESHOLD = 0,
    parameter [63:0] WEIGHT_DRAWS = 0,
    parameter [63:0] ACTIVATION_DRAWS = 0,
    parameter [63:0] RESULT_DRAWS = 0,
    // Cycles in which nothing may happen after a reset or a layer: more than a step takes.
    parameter [63:0] IDLE = 0,
    // Cycles after a command in which an error in it, or in the first word of weights, has shown.
    parameter SHOWN = 0,
    // Bytes of the weight stream with an illegal code, a bit for each.
    parameter [255:0] ILLEGAL_BYTES = 0
);
  localparam [63:0] TOTAL = {32'd0, CYCLES[191:160]};
  localparam [31:0] NEVER = 0, MOSTLY = 32'hC0000000;  // thresholds of stalls

  reg [WEIGHT_BITS-1:0] weights[0:WEIGHT_WORDS-1];
  reg [ACTIVATION_BITS-1:0] activations[0:ACTIVATION_WORDS-1];
  reg [RESULT_BITS-1:0] results[0:RESULT_WORDS-1];

  // What is played, and where its words begin.
  reg [159:0] command;
  reg [31:0] weight_words, token_blocks, activation_words, result_words;
  reg [63:0] first_weight, first_activation, first_result;

  integer layer;
  task choose(input integer index);
    begin
      {first_weight, first_activation, first_result} = 0;
      {weight_words, token_blocks, activation_words, result_words} = 0;
      for (layer = 0; layer <= index; layer = layer + 1) begin
        first_weight = first_weight + weight_words;
        first_activation = first_activation + activation_words;
        first_result = first_result + result_words;
        {weight_words, token_blocks, activation_words, result_words} = WORDS[128*layer+:128];
      end
      command = COMMANDS[160*index+:160];
    end
  endtask

  reg clk = 0;
  always #5 clk = ~clk;

  reg rst = 1;
  reg weight_tvalid = 0, activation_tvalid = 0, result_tready = 0;
  reg [WEIGHT_BITS-1:0] weight_tdata = 0;
  reg [ACTIVATION_BITS-1:0] activation_tdata = 0;
  wire weight_tready, activation_tready, result_tvalid, result_tlast, idle, busy, error, wrong;
  wire [RESULT_BITS-1:0] result_tdata;

  hwsim_tb_device #(
      .WEIGHT_BITS(WEIGHT_BITS),
      .ACTIVATION_BITS(ACTIVATION_BITS),
      .RESULT_BITS(RESULT_BITS)
  ) device (
      .clk(clk),
      .rst(rst),
      .weight_tvalid(weight_tvalid),
      .weight_tready(weight_tready),
      .weight_tdata(weight_tdata),
      .activation_tvalid(activation_tvalid),
      .activation_tready(activation_tready),
      .activation_tdata(activation_tdata),
      .result_tvalid(result_tvalid),
      .result_tready(result_tready),
      .result_tdata(result_tdata),
      .result_tlast(result_tlast),
      .idle(idle),
      .busy(busy),
      .error(error),
      .wrong(wrong)
  );

  // The first fault ends the simulation; where the simulator allows it, with an exit code.
  string doing = "reset";
  reg [63:0] cycle = 0;
  reg failed = 0;

  task fail(input string what);
    if (!failed) begin
      failed = 1;
      $display("FAIL %s, cycle %0d: %s", doing, cycle, what);
`ifdef __ICARUS__
      $finish_and_return(1);
`else
      $fatal(0);
`endif
    end
  endtask

  // Stalls are a function of seed, port and cycle, the same as those of `hwsim simulate`:
  // SplitMix64 at the place of the cycle.
  function waits(input [63:0] draws, input [63:0] at, input [31:0] threshold);
    reg [63:0] x;
    begin
      x = draws + at * 64'h9E3779B97F4A7C15;
      x = (x ^ (x >> 30)) * 64'hBF58476D1CE4E5B9;
      x = (x ^ (x >> 27)) * 64'h94D049BB133111EB;
      x = x ^ (x >> 31);
      waits = x[63:32] < threshold;
    end
  endfunction

  task expect_counters(input [191:0] expected);
    reg [191:0] counters;
    begin
      device.read_counters(counters);
      if (counters !== expected)
        fail($sformatf("the counters are %h, not %h", counters, expected));
      @(posedge clk);
      if (wrong !== 0) fail("counters or registers contradict what happens");
    end
  endtask

  task reset;
    begin
      rst <= 1;
      @(posedge clk);
      rst <= 0;
      weight_tvalid <= 1;
      activation_tvalid <= 1;
      result_tready <= 0;
      repeat (IDLE) begin
        @(posedge clk);
        if ({weight_tready, activation_tready, result_tvalid, busy, error} !== 5'd0)
          fail("an output is not low after a reset");
      end
      expect_counters(0);
    end
  endtask

  reg weight_offered, activation_offered, result_held;
  reg [63:0] weights_taken, activations_taken, results_taken, weight_at;
  reg [RESULT_BITS:0] held_result;

  // Plays the layer for some cycles, from the one in which its command is accepted. Both sources
  // begin again when all has been taken: of that nothing may be.
  task play(input [31:0] weight_stalls, input [31:0] activation_stalls,
            input [31:0] result_stalls, input [63:0] cycles);
    reg running;
    begin
      {weight_offered, activation_offered, result_held} = 0;
      {weights_taken, activations_taken, results_taken, weight_at} = 0;
      device.start(command);
      for (cycle = 0; cycle < cycles && !failed; cycle = cycle + 1) begin
        if (!weight_offered) weight_offered = !waits(WEIGHT_DRAWS, cycle, weight_stalls);
        weight_tvalid <= weight_offered;
        weight_tdata <= weights[first_weight+weight_at];
        if (!activation_offered)
          activation_offered = !waits(ACTIVATION_DRAWS, cycle, activation_stalls);
        activation_tvalid <= activation_offered;
        activation_tdata <= activations[first_activation+activations_taken%activation_words];
        result_tready <= !waits(RESULT_DRAWS, cycle, result_stalls);

        @(posedge clk);
        running = cycle != 0 && results_taken != result_words;
        if (^{weight_tready, activation_tready, result_tvalid, busy, error} === 1'bx)
          fail("an output is X");
        if (idle !== ~busy) fail("whether a command is taken is not ~busy");
        if (wrong !== 0) fail("counters or registers contradict what happens");
        if (busy !== running) fail(busy ? "busy without a layer" : "not busy");
        if (cycle != 0 && error) fail("the error flag is raised");
        if (!running && (weight_tready || activation_tready || result_tvalid))
          fail("a port is active without a layer");
        if (result_held && (!result_tvalid || {result_tlast, result_tdata} !== held_result))
          fail("a result changed before it was taken");
        if (weight_offered && weight_tready) begin
          weight_offered = 0;
          weights_taken = weights_taken + 1;
          weight_at = weight_at == weight_words - 1 ? 0 : weight_at + 1;
        end
        if (activation_offered && activation_tready) begin
          activation_offered = 0;
          activations_taken = activations_taken + 1;
        end
        result_held = result_tvalid && !result_tready;
        held_result = {result_tlast, result_tdata};
        if (result_tvalid && result_tready) begin
          if (result_tdata !== results[first_result+results_taken])
            fail($sformatf("result word %0d is %h, not %h", results_taken, result_tdata,
                           results[first_result+results_taken]));
          if (result_tlast !== (results_taken == result_words - 1))
            fail($sformatf("tlast of result word %0d is wrong", results_taken));
          results_taken = results_taken + 1;
        end
      end
      weight_tvalid <= 0;
      activation_tvalid <= 0;
      result_tready <= 0;
    end
  endtask

  task run(input [31:0] stalls, input [191:0] expected);
    begin
      play(stalls, stalls, stalls, {32'd0, expected[191:160]} + IDLE);
      if (results_taken != result_words)
        fail($sformatf("%0d of %0d result words so far", results_taken, result_words));
      if (weights_taken != weight_words * token_blocks)
        fail($sformatf("%0d of %0d weight words taken", weights_taken, weight_words * token_blocks));
      if (activations_taken != activation_words)
        fail($sformatf("%0d of %0d activation words taken", activations_taken, activation_words));
      expect_counters(expected);
    end
  endtask

  // The layer's command with another number in it.
  localparam COLUMN_BLOCKS = 1, IN_FEATURES = 4;
  function [159:0] with_field(input integer index, input [31:0] value);
    begin
      with_field = command;
      with_field[32*index+:32] = value;
    end
  endfunction

  // Gives a command with both sources offering, and looks some cycles later.
  task try(input [159:0] tried, input expect_busy, input expect_error);
    begin
      cycle = 0;
      device.start(tried);
      weight_tvalid <= 1;
      activation_tvalid <= 1;
      repeat (SHOWN) @(posedge clk);
      if (busy !== expect_busy) fail($sformatf("busy after command %h is %b", tried, busy));
      if (error !== expect_error) fail($sformatf("error after command %h is %b", tried, error));
      if (!busy && {weight_tready, activation_tready} !== 2'd0) fail("a port is active");
    end
  endtask

  integer field, piece, place, code;
  reg [63:0] at;

  // Not an initial block, since in those Verilator takes `<=` for `=`.
  always begin
    $readmemh(WEIGHT_FILE, weights);
    $readmemh(ACTIVATION_FILE, activations);
    $readmemh(RESULT_FILE, results);
    choose(0);
    @(posedge clk);
    reset;

    doing = "a layer as large as the buffer";
    weight_tdata <= weights[0];
    try(LARGEST_COMMAND, 1, 0);
    reset;
    doing = "a refused command";
    for (field = 0; field < 5; field = field + 1) try(with_field(field, 0), 0, 1);
    try(with_field(COLUMN_BLOCKS, LARGEST_COMMAND[63:32] + 1), 0, 1);
    try(with_field(IN_FEATURES, LARGEST_COMMAND[159:128] + 1), 0, 1);

    doing = "the run without stalls";
    run(NEVER, CYCLES[191:0]);

    doing = "a run that a reset breaks off";
    for (at = TOTAL / 2; at > 0; at = at / 4) begin
      play(STALL_THRESHOLD, STALL_THRESHOLD, STALL_THRESHOLD, at);
      reset;
    end
    play(MOSTLY, NEVER, NEVER, TOTAL / 2 + 500);
    reset;
    play(NEVER, MOSTLY, NEVER, TOTAL / 2 + 500);
    reset;
    play(NEVER, NEVER, MOSTLY, TOTAL / 2 + 500);
    reset;

    doing = "the run with stalls";
    run(STALL_THRESHOLD, STALLED_CYCLES);

    doing = "a piece of the layer";
    for (piece = 1; piece < LAYERS; piece = piece + 1) begin
      choose(piece);
      run(NEVER, CYCLES[192*piece+:192]);
    end
    choose(0);

    doing = "illegal weights";
    for (code = 0; code < 256; code = code + 1)
      if (ILLEGAL_BYTES[code])
        for (place = 0; place < WEIGHT_BITS / 8; place = place + 1) begin
          weight_tdata <= {{WEIGHT_BITS{1'b0}}, code} << 8 * place;
          try(command, 1, 1);
          reset;
        end

    if (!failed) begin
      $display("PASS cycles=%0d", TOTAL);
      $finish(0);
    end
  end
endmodule
