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

static inline uint64_t ones(V a) {
  return __builtin_popcountll(a[0]) + __builtin_popcountll(a[1]) + __builtin_popcountll(a[2]) +
         __builtin_popcountll(a[3]);
}

// Adds the toggles of a net into its counter, and its steps at 1 into one `all` places behind it.
static inline void count(V net, V counted, uint64_t *counters, int64_t at, int64_t all) {
  counters[at] += ones((net ^ (net << 1)) & counted);
#ifdef HIGH
  counters[all + at] += ones(net & counted);
#else
  (void)all;
#endif
}

