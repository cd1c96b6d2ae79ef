// Runs the gates of all lanes over the steps of a layer. Follows the generated part, which defines
//
//   ACTIVATION_BITS OPERAND_BITS WEIGHT_BITS ACCUMULATOR_BITS   widths of the ports
//   COLUMNS                   of a lane
//   {SHARED,LANE}_SLOTS       nets in memory, U vectors each; slot 0 is 0, then come the inputs,
//                             without the operands, which are the shared outputs
//   {SHARED,LANE}_COUNTERS    counters, those inputs' first
//   shared_outputs, lane_outputs   their slots, and whether those hold the inverse
//   shared_gates, lane_gates       all gates
//
// A block is SEGMENTS segments of U - 1 consecutive steps, of a group of lanes.

enum { BLOCK_STEPS = SEGMENTS * (U - 1), FIRST_INPUT = 1, WORD = 64 };
enum { WEIGHT_WORDS = (WEIGHT_BITS + WORD - 1) / WORD };

typedef struct {
  const uint64_t *activations;      // a row for each (token, column block); zeros
  const int32_t *activation_index;  // for each step the row, after that of the step before
  int64_t activation_stride;        // in words
  const Unaligned *weights;         // for each tile and group of lanes WEIGHT_WORDS; zeros
  const int32_t *weight_index;      // for each step the tile, likewise
  const Unaligned *sums;  // for each group and step: accumulator, and next in the upper half
  const uint8_t *first;
  int64_t steps;
  int64_t rows;
  Unaligned *shared_counters;  // toggles, and (if HIGH) steps at 1, of GROUP lanes
  Unaligned *lane_counters;    // likewise, for each group
} job;

// Three steps of a transposition, of eight lines that are `apart` lines from each other: exchanges
// bits `apart` * 4, * 2, * 1 apart between lines that are as far from each other.
static inline void exchange(V *a, const int apart) {
  static const uint64_t masks[] = {0x5555555555555555, 0x3333333333333333, 0x0f0f0f0f0f0f0f0f,
                                   0x00ff00ff00ff00ff, 0x0000ffff0000ffff, 0x00000000ffffffff};
  V line[8];
#pragma clang loop unroll(full)
  for (int i = 0; i < 8; i++) line[i] = a[i * apart];
#pragma clang loop unroll(full)
  for (int far = 4; far; far /= 2) {
    const int bits = far * apart;
    const uint64_t mask = masks[__builtin_ctz(bits)];
#pragma clang loop unroll(full)
    for (int i = 0; i < 8; i++)
      if (!(i & far)) {
        V t = ((line[i] >> bits) ^ line[i + far]) & mask;
        line[i] ^= t << bits;
        line[i + far] ^= t;
      }
  }
#pragma clang loop unroll(full)
  for (int i = 0; i < 8; i++) a[i * apart] = line[i];
}

static void transpose(V a[WORD]) {
  for (int i = 0; i < 8; i++) exchange(a + i, 8);
  for (int i = 0; i < 8; i++) exchange(a + 8 * i, 1);
}

// Turns rows of bits, one a step, into vectors of steps, U for each bit. `at` says where the row of
// each step begins.
static void pack(V *slots, const Unaligned *base, const int64_t at[U][SEGMENTS], int64_t bits) {
  for (int64_t word = 0; word * WORD < bits; word++)
    for (int u = 0; u < U; u++) {
      V a[WORD];
      for (int s = 0; s < SEGMENTS; s++) a[s] = base[at[u][s] + word];
      transpose(a);
      int64_t some = bits - word * WORD < WORD ? bits - word * WORD : WORD;
      for (int64_t i = 0; i < some; i++) slots[(word * WORD + i) * U + u] = a[i];
    }
}

// Does the same with rows that all lanes have.
static void pack_shared(V *slots, const uint64_t *base, const int64_t at[U][SEGMENTS],
                        int64_t bits) {
  for (int64_t word = 0; word * WORD < bits; word++)
    for (int u = 0; u < U; u += GROUP) {
      V a[WORD];
      for (int s = 0; s < SEGMENTS; s++)
        for (int k = 0; k < GROUP; k++) a[s][k] = base[at[u + k][s] + word];
      transpose(a);
      int64_t some = bits - word * WORD < WORD ? bits - word * WORD : WORD;
      for (int64_t i = 0; i < some; i++)
        for (int k = 0; k < GROUP; k++)
          slots[(word * WORD + i) * U + u + k] = ALL(a[i][k]);
    }
}

typedef struct {
  int64_t step[U][SEGMENTS], tile[U][SEGMENTS];
  V first[U], counted[U];
} block_steps;

// Finds the steps of a block, and evaluates what is the same for all lanes.
static void begin(const job *task, int64_t block, block_steps *steps, V *shared,
                  Unaligned *counters) {
  int64_t row[U][SEGMENTS], groups = (task->rows + GROUP - 1) / GROUP;
  for (int u = 0; u < U; u++) {
    uint64_t first = 0, counted = 0;
    for (int s = 0; s < SEGMENTS; s++) {
      int64_t at = block * BLOCK_STEPS + s * (U - 1) + u;
      counted |= (uint64_t)(u && at <= task->steps) << s;
      if (at > task->steps) at = task->steps;
      first |= (uint64_t)task->first[at] << s;
      steps->step[u][s] = at;
      steps->tile[u][s] = task->weight_index[at] * groups * WEIGHT_WORDS;
      row[u][s] = task->activation_index[at] * task->activation_stride;
    }
    steps->first[u] = ALL(first);
    steps->counted[u] = ALL(counted);
  }
  V *inputs = shared + FIRST_INPUT * U;
  pack_shared(inputs, task->activations, row, ACTIVATION_BITS);
  for (int i = 0; i < ACTIVATION_BITS; i++)
    tally(inputs + i * U, steps->counted, counters + i * KINDS);
  shared_gates(0, shared, steps->counted, counters);
}

// Returns -1, or step * GROUP + lane of the first sum that is not as expected.
static int64_t find_wrong(const block_steps *steps, const V *lane, const V *expected,
                          int64_t lanes) {
  int64_t found = -1;
  for (int u = 0; u < U; u++) {
    V wrong = {0};
    for (int i = 0; i < ACCUMULATOR_BITS; i++)
      wrong |= lane[lane_outputs[i].slot * U + u] ^ expected[i * U + u] ^
               ALL(lane_outputs[i].inverse);
    wrong &= steps->counted[u];
    for (int k = 0; k < lanes; k++)
      if (wrong[k]) {
        int64_t at = steps->step[u][__builtin_ctzll(wrong[k])] * GROUP + k;
        if (found < 0 || at < found) found = at;
      }
  }
  return found;
}

// Evaluates pairs of a block and a group of lanes: all groups of one block, then of the next one.
// Returns -1, or lane * (steps + 1) + step of a sum that is not as expected, the first step being 1.
int64_t hwsim_run(const job *task, int64_t from, int64_t to) {
  static _Thread_local V shared[SHARED_SLOTS * U], lane[LANE_SLOTS * U], sums[WORD * U];
  static _Thread_local uint64_t operands[OPERAND_BITS * U];
  static _Thread_local Unaligned ignored[SHARED_COUNTERS * KINDS];
  static _Thread_local block_steps steps;
  const int64_t groups = (task->rows + GROUP - 1) / GROUP;
  V *weights = lane + FIRST_INPUT * U, *accumulator = weights + WEIGHT_BITS * U;
  V *first = accumulator + ACCUMULATOR_BITS * U;
  for (int64_t pair = from; pair < to; pair++) {
    const int64_t group = pair % groups;
    if (pair == from || group == 0) {
      begin(task, pair / groups, &steps, shared, group ? ignored : task->shared_counters);
      for (int i = 0; i < OPERAND_BITS; i++)
        for (int u = 0; u < U; u++)
          operands[i * U + u] =
              shared[shared_outputs[i].slot * U + u][0] ^ shared_outputs[i].inverse;
      for (int u = 0; u < U; u++) first[u] = steps.first[u];
    }
    pack(weights, task->weights + group * WEIGHT_WORDS, steps.tile, WEIGHT_BITS);
    pack(sums, task->sums + group * (task->steps + 1), steps.step, WORD);
    for (int i = 0; i < ACCUMULATOR_BITS * U; i++) accumulator[i] = sums[i];
    Unaligned *counters = task->lane_counters + group * LANE_COUNTERS * KINDS;
    for (int i = 0; i < WEIGHT_BITS + ACCUMULATOR_BITS + 1; i++)
      tally(weights + i * U, steps.counted, counters + i * KINDS);
    lane_gates(operands, lane, steps.counted, counters);
    const int64_t left = task->rows - group * GROUP;
    int64_t wrong = find_wrong(&steps, lane, sums + WORD / 2 * U, left < GROUP ? left : GROUP);
    if (wrong >= 0) return (group * GROUP + wrong % GROUP) * (task->steps + 1) + wrong / GROUP;
  }
  return -1;
}

typedef struct {
  const int8_t *weights;      // (row blocks * rows, columns of all blocks)
  const int8_t *activations;  // (tokens, columns of all blocks)
  const uint32_t *given;      // or the sums themselves: (row blocks * rows, column blocks, tokens)
  Unaligned *sums;            // as in job: (groups, the step before + steps)
  uint32_t *bank;             // (groups, 2, batch, GROUP): what the accumulators hold
  int64_t rows, row_blocks, column_blocks, tokens, batch, half;
} exact_job;

static inline int32_t dot(const int8_t *a, const int8_t *b) {
  int32_t sum = 0;
  for (int64_t i = 0; i < COLUMNS; i++) sum += (int32_t)a[i] * b[i];
  return sum;
}

// Writes what the accumulators of some groups of lanes hold before and after each step.
void hwsim_exact(const exact_job *task, int64_t from, int64_t to) {
  const int64_t width = COLUMNS * task->column_blocks, tokens = task->tokens;
  const uint32_t mask = ACCUMULATOR_BITS < 32 ? (1u << ACCUMULATOR_BITS % 32) - 1 : ~0u;
  for (int64_t group = from; group < to; group++) {
    const int64_t left = task->rows - group * GROUP, lanes = left < GROUP ? left : GROUP;
    Unaligned *out = task->sums + group * (task->row_blocks * task->column_blocks * tokens + 1) + 1;
    for (int64_t row_block = 0; row_block < task->row_blocks; row_block++) {
      const int64_t row = row_block * task->rows + group * GROUP;
      uint32_t *bank =
          task->bank + (group * 2 + (task->half + row_block) % 2) * task->batch * GROUP;
      for (int64_t block = 0; block < task->column_blocks; block++)
        for (int64_t token = 0; token < tokens; token++) {
          uint32_t *held = bank + token * GROUP;
          const int8_t *activations = task->activations + token * width + block * COLUMNS;
          const int8_t *weights = task->weights + row * width + block * COLUMNS;
          V sums = {0};
          for (int64_t k = 0; k < lanes; k++) {
            uint32_t next;
            if (task->given)
              next = task->given[((row + k) * task->column_blocks + block) * tokens + token];
            else
              next = ((block ? held[k] : 0) + dot(weights + k * width, activations)) & mask;
            sums[k] = held[k] | (uint64_t)next << 32;
            held[k] = next;
          }
          *out++ = sums;
        }
    }
  }
}

typedef struct {
  const uint8_t *from;  // rows, which begin with a new byte
  int64_t from_stride, from_bits, fields;
  const uint32_t *table;
  uint64_t *to;  // zeros: rows of `words`, of which `used` bits are replaced
  int64_t to_bits, used, words;
  int64_t lanes;  // of a tile, if its rows are to stand in groups, as in job; else 0
} replace_job;

INLINE static void replace_rows(const replace_job *task, int64_t from_bits, int64_t start,
                                int64_t end) {
  const uint32_t *restrict table = task->table;
  const int64_t to_bits = task->to_bits, fields = task->fields, words = task->words;
  const int64_t lanes = task->lanes, groups = (lanes + GROUP - 1) / GROUP;
  const int64_t step = lanes ? GROUP : 1;
  for (int64_t row = start; row < end; row++) {
    const uint8_t *bytes = task->from + row * task->from_stride;
    uint64_t *out = task->to + row * words;
    if (lanes) {
      const int64_t lane = row % lanes;
      out = task->to + (row / lanes * groups + lane / GROUP) * words * GROUP + lane % GROUP;
    }
    uint64_t in = 0, word = 0;
    int64_t in_bits = 0, filled = 0, left = task->used, at = 0;
    for (int64_t field = 0; field < fields && left > 0; field++) {
      for (; in_bits < from_bits; in_bits += 8) in |= (uint64_t)*bytes++ << in_bits;
      uint64_t code = table[in & ((1u << from_bits) - 1)];
      in >>= from_bits;
      in_bits -= from_bits;
      if (left < to_bits) code &= (1ull << left) - 1;
      left -= to_bits;
      word |= code << filled;
      filled += to_bits;
      if (filled >= WORD) {
        out[at++ * step] = word;
        filled -= WORD;
        word = filled ? code >> (to_bits - filled) : 0;
      }
    }
    if (filled && at < words) out[at * step] = word;
  }
}

// Replaces the fields of some rows by what a table has for them.
void hwsim_replace(const replace_job *task, int64_t start, int64_t end) {
  if (task->from_bits == 8)  // all that is known helps
    replace_rows(task, 8, start, end);
  else
    replace_rows(task, task->from_bits, start, end);
}

static inline uint32_t field(const uint8_t *row, int64_t bit, int64_t bits) {
  uint32_t byte = row[bit / 8];
  if (bit % 8 + bits > 8) byte |= row[bit / 8 + 1] << 8;
  return byte >> bit % 8 & ((1 << bits) - 1);
}

INLINE static void pairs_of(const uint8_t *rows, int64_t stride, int64_t lanes, int64_t bits,
                            int64_t places, int64_t start, int64_t end, uint32_t *pairs) {
  for (int64_t row = start; row < end; row++)
    for (int64_t place = 0; place < places; place++) {
      const uint8_t *here = rows + row * stride;
      uint32_t before = field(here - lanes * stride, place * bits, bits);
      pairs[before << bits | field(here, place * bits, bits)]++;
    }
}

// Counts how often code b comes after code a at the same place of rows of `places` fields, which
// the lanes have by turns; at the rows from `start` on, which is no less than `lanes`.
void hwsim_pairs(const uint8_t *rows, int64_t stride, int64_t lanes, int64_t bits, int64_t places,
                 int64_t start, int64_t end, uint32_t *pairs) {
  if (bits == 8)  // all that is known helps
    pairs_of(rows, stride, lanes, 8, places, start, end, pairs);
  else
    pairs_of(rows, stride, lanes, bits, places, start, end, pairs);
}
