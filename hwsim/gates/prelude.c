// What the generated gates are written in. A net has U vectors: vector u holds step u of every
// segment, one in each bit, and 64-bit word k of it is of lane k of a group. Vector 0 is of the step
// before the segment, so a segment has U - 1 toggles.
typedef unsigned char uint8_t;
typedef signed char int8_t;
typedef int int32_t;
typedef unsigned uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
typedef uint64_t V __attribute__((vector_size(32)));
typedef uint64_t Unaligned __attribute__((vector_size(32), aligned(8), may_alias));

enum { U = 16, GROUP = sizeof(V) / 8, SEGMENTS = 64 };

#ifdef HIGH
enum { KINDS = 2 };
#else
enum { KINDS = 1 };
#endif

#define ALL(word) ((word) - (V){0})  // the same word for all lanes of a group
#define NOINLINE __attribute__((noinline))
#define INLINE inline __attribute__((always_inline))
#define EACH(u, start) _Pragma("clang loop unroll(full)") for (int u = start; u < U; u++)

// Adds b and c to *sum, bit by bit; returns the carries.
static inline V carry(V *sum, V b, V c) {
  V differ = *sum ^ b, carries = (*sum & b) | (differ & c);
  *sum = differ ^ c;
  return carries;
}

// Adds to the counter of each lane the ones of fifteen vectors, given as their sums bit by bit: the
// lowest bits, and the seven carries of those.
static inline void add(Unaligned *counter, V ones, const V twos[7]) {
  V two = twos[0], more[3];
  for (int i = 0; i < 3; i++) more[i] = carry(&two, twos[2 * i + 1], twos[2 * i + 2]);
  V four = more[0], eight = carry(&four, more[1], more[2]);
  for (int k = 0; k < GROUP; k++)
    (*counter)[k] += __builtin_popcountll(ones[k]) + 2 * __builtin_popcountll(two[k]) +
                     4 * __builtin_popcountll(four[k]) + 8 * __builtin_popcountll(eight[k]);
}

// Counts toggles; if HIGH, also for how many of the steps to be counted a net is 1. Steps that are
// not to be counted repeat the last one, so nothing moves there.
static inline void tally(const V net[U], const V counted[U], Unaligned *counter) {
  V twos[7];
  // Of the toggles up to i, those of i + 1 and those of i + 2, a sum without the carries is what
  // differs from the first vector; what is carried is the middle one where the first two differ
  // in that, else the last.
  for (int i = 1; i < U - 1; i += 2)
    twos[i / 2] = (net[i] ^ net[i + 1]) ^ ((net[0] ^ net[i + 1]) & (net[i] ^ net[i + 2]));
  add(counter, net[0] ^ net[U - 1], twos);
#ifdef HIGH
  V ones = net[1] & counted[1];
  for (int i = 1; i < U - 1; i += 2)
    twos[i / 2] = carry(&ones, net[i + 1] & counted[i + 1], net[i + 2] & counted[i + 2]);
  add(counter + 1, ones, twos);
#else
  (void)counted;
#endif
}

typedef struct {
  int slot;
  uint64_t inverse;  // whether it holds the inverse: all bits, or none
} output;
