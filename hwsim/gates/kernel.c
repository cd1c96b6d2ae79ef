// Runs the gates of all lanes over the steps of a layer. Follows the generated part, which defines
//
//   ACTIVATION_BITS OPERAND_BITS WEIGHT_BITS ACCUMULATOR_BITS   widths of the ports
//   {SHARED,LANE}_SLOTS       nets that are kept in memory, with the constants in slots 0 and 1
//   {SHARED,LANE}_COUNTERS    counters, the inputs' first, but for the operands: the shared outputs
//   shared_outputs, lane_outputs   their slots
//   shared_gates, lane_gates       all gates: chunks of straight-line code
//
// and V, U, tally() from prelude.c. One word holds 64 consecutive steps, of which the first belongs
// to the word before: 63 toggles. A block is U vectors of 4 words.

enum { LANES_OF_V = 4, WORDS = U * LANES_OF_V, BLOCK_STEPS = WORDS * 63 };
enum { FIRST_INPUT = 2 };

typedef struct {
  const uint8_t *activations;  // a row for each (token, column block), rows of activation_stride
  const int32_t *activation_index;  // for each step the row, after that of the step before; < 0: 0
  int64_t activation_stride;
  const uint8_t *weights;  // likewise for each (tile, lane)
  const int32_t *weight_index;  // row of lane 0; the others follow it
  int64_t weight_stride;
  const uint64_t *sums;  // for each lane and step: accumulator, and next in the upper half
  const uint8_t *first;
  int64_t steps;
  int64_t rows;
  uint64_t *shared_counters;  // toggles, and (if HIGH) after them the steps at 1
  uint64_t *lane_counters;    // likewise, for each lane
} job;

static const uint64_t zeros[(ACTIVATION_BITS > WEIGHT_BITS ? ACTIVATION_BITS : WEIGHT_BITS) / 64 + 1];

// Position of step `at` in arrays that begin with the step before; steps beyond the last repeat it.
static int64_t clamp(int64_t at, int64_t steps) { return at < steps ? at : steps; }

static void transpose(V a[64]) {
  uint64_t mask = 0xffffffff;
  for (int j = 32; j; j >>= 1, mask ^= mask << j)
    for (int k = 0; k < 64; k = ((k | j) + 1) & ~j) {
      V t = ((a[k] >> j) ^ a[k | j]) & mask;
      a[k] ^= t << j;
      a[k | j] ^= t;
    }
}

// Turns rows of bits, one a step, into bits of steps, one vector a bit.
static void pack(V *slots, const uint8_t *const *rows, int64_t bits) {
  for (int64_t group = 0; group * 64 < bits; group++)
    for (int u = 0; u < U; u++) {
      V a[64];
      for (int j = 0; j < 64; j++)
        for (int k = 0; k < LANES_OF_V; k++)
          a[j][k] = ((const uint64_t *)rows[(u * LANES_OF_V + k) * 64 + j])[group];
      transpose(a);
      int64_t some = bits - group * 64 < 64 ? bits - group * 64 : 64;
      for (int64_t i = 0; i < some; i++) slots[(group * 64 + i) * U + u] = a[i];
    }
}

static void find(const uint8_t **rows, const uint8_t *base, const int32_t *index, int64_t stride,
                 int64_t start, int64_t steps) {
  for (int64_t word = 0; word < WORDS; word++)
    for (int j = 0; j < 64; j++) {
      int32_t at = index[clamp(start + word * 63 + j, steps)];
      rows[word * 64 + j] = at < 0 ? (const uint8_t *)zeros : base + at * stride;
    }
}

// Evaluates blocks of 63 * WORDS steps. Returns -1, or lane * (steps + 1) + step of the first sum
// that is not as expected, the first step being 1.
int64_t hwsim_run(const job *task, int64_t from, int64_t to) {
  static _Thread_local V shared[SHARED_SLOTS * U], lane[LANE_SLOTS * U];
  const int64_t steps = task->steps;
  const uint8_t *activation_rows[WORDS * 64], *weight_rows[WORDS * 64], *rows[WORDS * 64];
  V first[U], counted[U], sums[64 * U];
  for (int u = 0; u < U; u++) {
    shared[u] = lane[u] = (V){0};
    shared[U + u] = lane[U + u] = ~(V){0};
  }
  V *operands = lane + FIRST_INPUT * U, *weights = operands + OPERAND_BITS * U;
  V *accumulator = weights + WEIGHT_BITS * U, *first_slot = accumulator + ACCUMULATOR_BITS * U;
  for (int64_t block = from; block < to; block++) {
    const int64_t start = block * BLOCK_STEPS;
    for (int64_t word = 0; word < WORDS; word++) {
      uint64_t ones = 0, valid = 0;
      for (int j = 0; j < 64; j++) {
        int64_t at = start + word * 63 + j;
        ones |= (uint64_t)task->first[clamp(at, steps)] << j;
        valid |= (uint64_t)(j && at <= steps) << j;
      }
      first[word / LANES_OF_V][word % LANES_OF_V] = ones;
      counted[word / LANES_OF_V][word % LANES_OF_V] = valid;
    }
    find(activation_rows, task->activations, task->activation_index, task->activation_stride,
         start, steps);
    pack(shared + FIRST_INPUT * U, activation_rows, ACTIVATION_BITS);
    tally(shared + FIRST_INPUT * U, ACTIVATION_BITS, counted, task->shared_counters,
          SHARED_COUNTERS);
    shared_gates(shared, counted, task->shared_counters);
    for (int i = 0; i < OPERAND_BITS; i++)
      for (int u = 0; u < U; u++) operands[i * U + u] = shared[shared_outputs[i] * U + u];
    for (int u = 0; u < U; u++) first_slot[u] = first[u];
    find(weight_rows, task->weights, task->weight_index, task->weight_stride, start, steps);

    for (int64_t row = 0; row < task->rows; row++) {
      uint64_t *counters = task->lane_counters + row * LANE_COUNTERS * KINDS;
      for (int i = 0; i < WORDS * 64; i++) {
        int is_zero = weight_rows[i] == (const uint8_t *)zeros;
        rows[i] = weight_rows[i] + (is_zero ? 0 : row * task->weight_stride);
      }
      pack(weights, rows, WEIGHT_BITS);
      for (int64_t word = 0; word < WORDS; word++)
        for (int j = 0; j < 64; j++)
          rows[word * 64 + j] = (const uint8_t *)(task->sums + row * (steps + 1) +
                                                  clamp(start + word * 63 + j, steps));
      pack(sums, rows, 64);
      for (int i = 0; i < ACCUMULATOR_BITS * U; i++) accumulator[i] = sums[i];
      tally(weights, WEIGHT_BITS + ACCUMULATOR_BITS + 1, counted, counters, LANE_COUNTERS);
      lane_gates(lane, counted, counters);

      V wrong[U] = {{0}};
      for (int i = 0; i < ACCUMULATOR_BITS; i++)
        for (int u = 0; u < U; u++)
          wrong[u] |= lane[lane_outputs[i] * U + u] ^ sums[(32 + i) * U + u];
      for (int word = 0; word < WORDS; word++) {
        uint64_t bits = (wrong[word / LANES_OF_V] & counted[word / LANES_OF_V])[word % LANES_OF_V];
        if (bits)
          return row * (steps + 1) + start + word * 63 + __builtin_ctzll(bits);
      }
    }
  }
  return -1;
}

typedef struct {
  const int8_t *weights;      // (row blocks * rows, columns of all blocks)
  const int8_t *activations;  // (tokens, columns of all blocks)
  const uint32_t *given;      // or the sums themselves: (row blocks * rows, column blocks, tokens)
  uint64_t *sums;             // as in job
  uint32_t *bank;             // (2, batch, rows): what the accumulators hold
  int64_t rows, columns, row_blocks, column_blocks, tokens, batch, half;
} exact_job;

static int32_t dot(const int8_t *a, const int8_t *b, int64_t count) {
  int32_t sum = 0;
  for (int64_t i = 0; i < count; i++) sum += (int32_t)a[i] * b[i];
  return sum;
}

// Writes what the accumulators of some lanes hold before and after each step.
void hwsim_exact(const exact_job *task, int64_t from, int64_t to) {
  const int64_t width = task->columns * task->column_blocks;
  const int64_t block_steps = task->column_blocks * task->tokens;
  const uint32_t mask = ACCUMULATOR_BITS < 32 ? (1u << ACCUMULATOR_BITS % 32) - 1 : ~0u;
  for (int64_t row = from; row < to; row++) {
    uint64_t *out = task->sums + row * (task->row_blocks * block_steps + 1) + 1;
    for (int64_t row_block = 0; row_block < task->row_blocks; row_block++) {
      const int64_t output = row_block * task->rows + row;
      uint32_t *bank = task->bank + (task->half + row_block) % 2 * task->batch * task->rows + row;
      for (int64_t block = 0; block < task->column_blocks; block++)
        for (int64_t token = 0; token < task->tokens; token++) {
          uint32_t *held = bank + token * task->rows, next;
          if (task->given)
            next = task->given[(output * task->column_blocks + block) * task->tokens + token];
          else
            next = ((block ? *held : 0) +
                    dot(task->weights + output * width + block * task->columns,
                        task->activations + token * width + block * task->columns,
                        task->columns)) & mask;
          *out++ = *held | (uint64_t)next << 32;
          *held = next;
        }
    }
  }
}

// Replaces the fields of some rows by what a table has for them; what is beyond `used` bits is 0.
// Rows begin with a new byte, the replaced ones with a new word of 64 bits.
void hwsim_replace(const uint8_t *from, int64_t from_stride, int64_t from_bits, int64_t fields,
                   const uint32_t *table, int64_t to_bits, int64_t used, uint64_t *to,
                   int64_t to_stride, int64_t rows) {
  for (int64_t row = 0; row < rows; row++, from += from_stride, to += to_stride) {
    uint64_t in = 0;
    int64_t in_bits = 0, at = 0, word = 0;
    for (int64_t i = 0; i < to_stride; i++) to[i] = 0;
    for (int64_t field = 0; field < fields && word < used; field++) {
      while (in_bits < from_bits) {
        in |= (uint64_t)from[at++] << in_bits;
        in_bits += 8;
      }
      uint64_t code = table[in & ((1u << from_bits) - 1)];
      in >>= from_bits;
      in_bits -= from_bits;
      int64_t some = used - word < to_bits ? used - word : to_bits;
      code &= (1ull << some) - 1;
      to[word / 64] |= code << word % 64;
      if (word % 64 + some > 64) to[word / 64 + 1] |= code >> (64 - word % 64);
      word += some;
    }
  }
}

// Counts how often code b comes after code a at the same place of rows of `places` fields.
void hwsim_pairs(const uint8_t *rows, int64_t stride, int64_t count, int64_t bits, int64_t places,
                 int64_t *pairs) {
  for (int64_t row = 1; row < count; row++, rows += stride)
    for (int64_t place = 0; place < places; place++) {
      int64_t bit = place * bits, mask = (1 << bits) - 1;
      int64_t more = bit % 8 + bits > 8;
      int64_t before = (rows[bit / 8] | (more ? rows[bit / 8 + 1] << 8 : 0)) >> bit % 8 & mask;
      const uint8_t *next = rows + stride;
      int64_t after = (next[bit / 8] | (more ? next[bit / 8 + 1] << 8 : 0)) >> bit % 8 & mask;
      pairs[before << bits | after]++;
    }
}
