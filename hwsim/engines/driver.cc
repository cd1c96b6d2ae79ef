// Drives the ports of hwsim_core for one layer. `design.cc` is what CXXRTL made of the design, and
// `recoder.cc` what it made of a recoder, if the lane has one.
//
// A cycle is one evaluation, that of the rising clock: outputs settle in it, and are read, before
// the registers turn to what they hold next.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "lanes.cc"
#include "recoder.cc"

namespace recoder {
struct p_hwsim__recoder;
}

namespace cxxrtl_design {

// A recoder as part of the design: evaluated when its row changes.
template <class Recoder> struct Settled final : public Recoder {
  decltype(Recoder::p_weights) last;
  bool primed = false;
  bool eval(cxxrtl::performer *performer) override {
    if (fresh(last, this->p_weights) || !primed)
      Recoder::eval(performer);
    primed = true;
    return true;
  }
  static auto create(std::string, cxxrtl::metadata_map, cxxrtl::metadata_map) {
    return std::make_unique<Settled>();
  }
};
using bb_p_hwsim__recoder = Settled<recoder::p_hwsim__recoder>;

} // namespace cxxrtl_design

#include "design.cc"

#ifdef _LIBCPP_VERSION
// The library is linked without libc++, of whose objects CXXRTL needs no more than these.
void *operator new(size_t size) { return __builtin_malloc(size); }
void *operator new[](size_t size) { return __builtin_malloc(size); }
void operator delete(void *p) noexcept { __builtin_free(p); }
void operator delete[](void *p) noexcept { __builtin_free(p); }
void operator delete(void *p, size_t) noexcept { __builtin_free(p); }
void operator delete[](void *p, size_t) noexcept { __builtin_free(p); }
void *operator new(size_t size, std::align_val_t to) {
  return aligned_alloc(size_t(to), (size + size_t(to) - 1) & -size_t(to));
}
void operator delete(void *p, std::align_val_t) noexcept { __builtin_free(p); }
void operator delete(void *p, size_t, std::align_val_t) noexcept { __builtin_free(p); }
_LIBCPP_BEGIN_NAMESPACE_STD
[[noreturn]] void __libcpp_verbose_abort(const char *, ...) noexcept { __builtin_trap(); }
_LIBCPP_END_NAMESPACE_STD
#endif

namespace {

using Core = cxxrtl_design::p_hwsim__core;

// An output is a wire or a value, whichever CXXRTL found cheaper.
template <size_t bits> const cxxrtl::value<bits> &seen(const cxxrtl::value<bits> &v) { return v; }
template <size_t bits> const cxxrtl::value<bits> &seen(const cxxrtl::wire<bits> &w) { return w.curr; }

// The same as hwsim.engines.stalls.
struct Draws {
  uint64_t start;
  bool below(uint32_t threshold, int64_t cycle) const {
    uint64_t x = start + uint64_t(cycle) * 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return uint32_t((x ^ x >> 31) >> 32) < threshold;
  }
};

} // namespace

extern "C" {

// Fields as in hwsim.engines.rtl.
struct Supply {
  int64_t latency, period, burst_bytes, word_bytes;
};

struct Port {
  Supply supply;
  uint8_t *words; // those from number `start` up to `end` of the stream, or room for them
  int64_t start, end, ended; // whether nothing comes after these words
  Draws draws;
  int64_t taken;
  int64_t offering; // of a source
  int64_t free;     // of a sink
};

struct Job {
  uint32_t command[5];
  uint32_t threshold;
  Port weights, activations, results;
  int64_t patience, cycle, moved;
  uint32_t error, compute, weight_stall, activation_stall, result_stall, fill_drain;
};

void *hwsim_create() { return new Core; }
void hwsim_destroy(void *core) { delete static_cast<Core *>(core); }

} // extern "C"

namespace {

// The same as hwsim.supply.
constexpr int64_t BELOW = (int64_t(1) << FRACTION) - 1;

int64_t bursts(const Supply &s, int64_t words) {
  return (words * s.word_bytes + s.burst_bytes - 1) / s.burst_bytes;
}

int64_t begun(const Supply &s, int64_t word) {
  return s.period ? bursts(s, word + 1) - bursts(s, word) : 0;
}

int64_t arrival(const Supply &s, int64_t word) {
  return s.latency + (s.period ? (bursts(s, word + 1) * s.period + BELOW) >> FRACTION : 0);
}

int64_t opening(int64_t bursts, int64_t free) { return bursts ? (free + BELOW) >> FRACTION : 0; }

int64_t after(const Supply &s, int64_t bursts, int64_t cycle, int64_t free) {
  int64_t now = (cycle << FRACTION) - BELOW;
  return bursts ? (free > now ? free : now) + bursts * s.period : free;
}

template <size_t bits>
void offer(Port &source, cxxrtl::value<bits> &data, cxxrtl::value<1> &valid, const Job &job) {
  if (!source.offering && source.taken < source.end &&
      job.cycle >= arrival(source.supply, source.taken)) {
    source.offering = !source.draws.below(job.threshold, job.cycle);
    if (source.offering)
      memcpy(data.data, source.words + (source.taken - source.start) * (bits / 8), bits / 8);
  }
  valid.data[0] = source.offering;
}

bool accept(Port &source, bool ready) {
  bool taken = source.offering && ready;
  if (taken) {
    source.offering = 0;
    source.taken++;
  }
  return taken;
}

// Whether a port needs other words, or other room, before the next cycle.
bool used_up(const Port &port) { return port.taken == port.end && !port.ended; }

} // namespace

extern "C" {

// Runs until the layer is done, something is wrong, a port has used up what it was given, or so
// many cycles have passed. Returns 0 if there is more to do, 1 when done, 2 if nothing moves, 3 if
// there are more results than the layer has, 4 if the design needs more than one evaluation.
int hwsim_run(void *handle, Job *job, int64_t cycles) {
  Core &core = *static_cast<Core *>(handle);
  core.p_clk.data[0] = 1;
  for (int64_t end = job->cycle + cycles; job->cycle < end; job->cycle++) {
    if (used_up(job->weights) || used_up(job->activations) || used_up(job->results))
      break;
    core.p_s__axis__command__tvalid.data[0] = job->cycle == 0;
    memcpy(core.p_s__axis__command__tdata.data, job->command, sizeof job->command);
    offer(job->weights, core.p_s__axis__weight__tdata, core.p_s__axis__weight__tvalid, *job);
    offer(job->activations, core.p_s__axis__activation__tdata,
          core.p_s__axis__activation__tvalid, *job);
    Port &sink = job->results;
    bool ready = job->cycle >= opening(begun(sink.supply, sink.taken), sink.free) &&
                 !sink.draws.below(job->threshold, job->cycle);
    core.p_m__axis__result__tready.data[0] = ready;

    core.prev_p_clk.data[0] = 0;
    if (!core.eval())
      return 4;
    bool moved = accept(job->weights, seen(core.p_s__axis__weight__tready).data[0]);
    moved |= accept(job->activations, seen(core.p_s__axis__activation__tready).data[0]);
    if (ready && seen(core.p_m__axis__result__tvalid).data[0]) {
      if (sink.taken == sink.end)
        return 3;
      const auto &data = seen(core.p_m__axis__result__tdata);
      int64_t bursts = begun(sink.supply, sink.taken);
      sink.free = after(sink.supply, bursts, job->cycle, sink.free);
      constexpr size_t bytes = std::decay<decltype(data)>::type::bits / 8;
      memcpy(sink.words + (sink.taken++ - sink.start) * bytes, data.data, bytes);
      moved = true;
    }
    if (moved)
      job->moved = job->cycle;
    else if (job->cycle - job->moved > job->patience)
      return 2;
    if (job->cycle > 0 && !seen(core.p_busy).data[0]) {
      job->error = seen(core.p_error).data[0];
      job->compute = seen(core.p_cycles__compute).data[0];
      job->weight_stall = seen(core.p_cycles__weight__stall).data[0];
      job->activation_stall = seen(core.p_cycles__activation__stall).data[0];
      job->result_stall = seen(core.p_cycles__result__stall).data[0];
      job->fill_drain = seen(core.p_cycles__fill__drain).data[0];
      return 1;
    }
    core.commit();
  }
  job->compute = seen(core.p_cycles__compute).data[0];
  return 0;
}

} // extern "C"
