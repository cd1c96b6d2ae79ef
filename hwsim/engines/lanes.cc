// What the generated class of all lanes is written in: see hwsim.engines.lanes.

#include <cstdint>
#include <cstring>
#include <memory>

#include <cxxrtl/cxxrtl.h>

namespace cxxrtl_design {

typedef uint16_t V16 __attribute__((ext_vector_type(16)));
typedef uint32_t V32 __attribute__((ext_vector_type(16)));
typedef uint64_t V64 __attribute__((ext_vector_type(16)));
typedef int16_t S16 __attribute__((ext_vector_type(16)));
typedef int32_t S32 __attribute__((ext_vector_type(16)));
typedef int64_t S64 __attribute__((ext_vector_type(16)));

// Where a row has its port from: words of 32 bits, and the first bit in them.
struct Place {
  const uint32_t *words;
  int low;
};

inline uint64_t bits(const uint32_t *words, int low, int width) {
  words += low / 32;
  low %= 32;
  uint64_t found = words[0] >> low;
  if (low + width > 32)
    found |= uint64_t(words[1]) << (32 - low);
  if (low + width > 64)
    found |= uint64_t(words[2]) << (64 - low);
  return found;
}

inline void gather(V32 *to, const Place *places, int rows, int low, int width) {
  for (int row = 0; row < rows; row++)
    reinterpret_cast<uint32_t *>(to)[row] =
        bits(places[row].words, places[row].low + low, width);
}

template <size_t width>
bool fresh(cxxrtl::value<width> &seen, const cxxrtl::value<width> &now) {
  bool differs = memcmp(seen.data, now.data, sizeof now.data) != 0;
  seen = now;
  return differs;
}

} // namespace cxxrtl_design

