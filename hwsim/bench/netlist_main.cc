// Clocks a netlist in its bench until that has had enough.

#include "Vhwsim_bench.h"
#include "verilated.h"

int main() {
  VerilatedContext context;
  Vhwsim_bench bench(&context);
  while (!context.gotFinish()) {
    bench.clk = !bench.clk;
    bench.eval();
  }
}
