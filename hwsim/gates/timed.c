// Event-driven simulation of one netlist with inertial delays: a pulse that is shorter than the
// delay of a gate does not pass it.

typedef unsigned char uint8_t;
typedef int int32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;

typedef struct {
  int32_t inputs[6];
  int32_t input_count;
  int32_t output;
  int32_t delay;
  int32_t is_source;  // a register: what it shows follows from the step alone
  uint64_t truth;
} gate;

typedef struct {
  int64_t nets, gates, input_count;
  const gate *gate;            // each after those that drive it
  const int32_t *input;        // nets of the inputs
  int32_t input_delay;         // when they change
  const int32_t *load_start;   // for each net, and one more: where its gates begin in `load`
  const int32_t *load;
  uint8_t *value;              // of each net; constants are set
  uint8_t *settled;            // likewise
  int64_t *due;                // for each net, when it changes; < 0: it does not
  struct event { int64_t time; int32_t net; } *heap;  // grows to `capacity`
  int64_t capacity;
} circuit;

static int output(const gate *g, const uint8_t *value) {
  int number = 0;
  for (int i = 0; i < g->input_count; i++) number |= value[g->inputs[i]] << i;
  return g->truth >> number & 1;
}

static void settle(const circuit *c, const uint8_t *bits, uint8_t *value) {
  for (int64_t i = 0; i < c->input_count; i++) value[c->input[i]] = bits[i];
  for (int64_t i = 0; i < c->gates; i++) value[c->gate[i].output] = output(c->gate + i, value);
}

static int before(struct event a, struct event b) {
  return a.time < b.time || (a.time == b.time && a.net < b.net);
}

static int push(circuit *c, int64_t *size, int64_t time, int32_t net) {
  if (*size == c->capacity) return 0;
  int64_t at = (*size)++;
  struct event event = {time, net};
  for (; at && before(event, c->heap[(at - 1) / 2]); at = (at - 1) / 2)
    c->heap[at] = c->heap[(at - 1) / 2];
  c->heap[at] = event;
  c->due[net] = time;
  return 1;
}

static struct event pop(circuit *c, int64_t *size) {
  struct event top = c->heap[0], last = c->heap[--*size];
  int64_t at = 0;
  for (;;) {
    int64_t child = 2 * at + 1;
    if (child >= *size) break;
    if (child + 1 < *size && before(c->heap[child + 1], c->heap[child])) child++;
    if (!before(c->heap[child], last)) break;
    c->heap[at] = c->heap[child];
    at = child;
  }
  c->heap[at] = last;
  return top;
}

// Goes from one step to another, from settled to settled, for each pair of rows of input bits.
// Counts all changes of each net, and those of a circuit without delays. Returns 0; 1 if the queue
// is too short; 2 if the circuit does not settle where one without delays does.
int64_t hwsim_timed(circuit *c, int64_t pairs, const uint8_t *from, const uint8_t *to,
                    int64_t *timed, int64_t *zero_delay) {
  for (int64_t pair = 0; pair < pairs; pair++, from += c->input_count, to += c->input_count) {
    int64_t size = 0;
    settle(c, from, c->value);
    settle(c, to, c->settled);
    for (int64_t net = 0; net < c->nets; net++) {
      zero_delay[net] += c->value[net] != c->settled[net];
      c->due[net] = -1;
    }
    for (int64_t i = 0; i < c->input_count; i++)
      if (c->value[c->input[i]] != c->settled[c->input[i]])
        if (!push(c, &size, c->input_delay, c->input[i])) return 1;
    for (int64_t i = 0; i < c->gates; i++)
      if (c->gate[i].is_source && c->value[c->gate[i].output] != c->settled[c->gate[i].output])
        if (!push(c, &size, c->gate[i].delay, c->gate[i].output)) return 1;
    while (size) {
      struct event event = pop(c, &size);
      if (c->due[event.net] != event.time) continue;  // cancelled meanwhile
      c->due[event.net] = -1;
      c->value[event.net] ^= 1;
      timed[event.net]++;
      for (int32_t i = c->load_start[event.net]; i < c->load_start[event.net + 1]; i++) {
        const gate *g = c->gate + c->load[i];
        if (g->is_source) continue;
        int changes = output(g, c->value) != c->value[g->output];
        if (!changes)
          c->due[g->output] = -1;
        else if (c->due[g->output] < 0)
          if (!push(c, &size, event.time + g->delay, g->output)) return 1;
      }
    }
    for (int64_t net = 0; net < c->nets; net++)
      if (c->value[net] != c->settled[net]) return 2;
  }
  return 0;
}
