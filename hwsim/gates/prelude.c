// What the generated gates are written in.
typedef unsigned char uint8_t;
typedef signed char int8_t;
typedef int int32_t;
typedef unsigned uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
typedef uint64_t V __attribute__((vector_size(32)));

#ifdef HIGH
enum { KINDS = 2 };
#else
enum { KINDS = 1 };
#endif

#define NOINLINE __attribute__((noinline))
#define BARRIER __asm__ volatile("" ::: "memory")

static inline uint64_t ones(const V *vectors) {
  const uint64_t *words = (const uint64_t *)vectors;
  uint64_t sum = 0;
#pragma clang loop vectorize(disable) unroll(full)
  for (int i = 0; i < 4 * U; i++) sum += __builtin_popcountll(words[i]);
  return sum;
}

// Adds the toggles of some nets into counters, and how long they are 1 into others, `all` places
// behind.
NOINLINE static void tally(const V *restrict nets, int64_t some, const V *restrict counted,
                           uint64_t *restrict counters, int64_t all) {
  for (int64_t i = 0; i < some; i++, nets += U) {
    V moved[U];
    for (int u = 0; u < U; u++) moved[u] = (nets[u] ^ (nets[u] << 1)) & counted[u];
    counters[i] += ones(moved);
#ifdef HIGH
    for (int u = 0; u < U; u++) moved[u] = nets[u] & counted[u];
    counters[all + i] += ones(moved);
#else
    (void)all;
#endif
  }
}
