// Plays a layer on the emitted Verilog: hwsim_core under Verilator, without stalls.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "Vhwsim_core.h"
#include "verilated.h"

static std::vector<char> read(const char *name) {
  std::ifstream file(name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Words of a file, offered again from the first one when they are used up.
struct Source {
  std::vector<char> bytes;
  size_t width, taken = 0;
  template <class Port> void offer(Port &port) {
    memcpy(&port, bytes.data() + taken * width % bytes.size(), width);
  }
};

int main() {
  VerilatedContext context;
  Vhwsim_core core(&context);
  Source weights{read("weights.bin"), WEIGHT_BYTES}, activations{read("activations.bin"), ACTIVATION_BYTES};
  std::vector<char> command = read("command.bin");
  std::ofstream results("results.bin", std::ios::binary);
  core.rst = 0;
  core.m_axis_result_tready = 1;
  core.s_axis_weight_tvalid = core.s_axis_activation_tvalid = 1;
  memcpy(&core.s_axis_command_tdata, command.data(), command.size());
  auto started = std::chrono::steady_clock::now();
  int64_t cycle = 0;
  for (;; cycle++) {
    core.s_axis_command_tvalid = cycle == 0;
    weights.offer(core.s_axis_weight_tdata);
    activations.offer(core.s_axis_activation_tdata);
    core.clk = 0;
    core.eval();
    weights.taken += core.s_axis_weight_tready;
    activations.taken += core.s_axis_activation_tready;
    if (core.m_axis_result_tvalid)
      results.write(reinterpret_cast<const char *>(&core.m_axis_result_tdata), RESULT_BYTES);
    if (cycle > 0 && !core.busy)
      break;
    core.clk = 1;
    core.eval();
  }
  std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - started;
  printf("%f %u\n", seconds.count(), core.cycles_total);
}
