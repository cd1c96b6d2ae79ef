"""Which part of a lane a gate belongs to.

Mapping leaves no names inside a lane, but what a gate depends on: one place of the tree's inputs,
or several. The smallest subtree that holds them all is where the gate belongs, whatever the mapper
has moved.
"""

from hwsim.config import ArrayConfig, tree_levels
from hwsim.gates.netlist import ONE, Netlist

SUMMED = "accumulator"
REGISTERS = "registers"
INPUTS = "inputs"
"""The lane's own input pins and their wires: what drives them stands outside."""


def part_names(config: ArrayConfig) -> tuple[str, ...]:
    """Return the parts of a lane in the order of the data."""
    levels = tree_levels(config.tree_inputs)
    return (INPUTS, *(_level(config, level) for level in range(levels + 1)), SUMMED, REGISTERS)


def lane_parts(lane: Netlist, config: ArrayConfig) -> list[str]:
    """Return the part of every net: that of the gate which drives it.

    ============= ================================================================
    part          gates that depend on
    ============= ================================================================
    `select`      one input of the tree: its activations and weight (`multiply` in
                  lanes with multipliers)
    `level_1`...  2, 4... neighbouring inputs, no fewer
    `accumulator` the sum so far
    `registers`   (all flip-flops)
    `inputs`      (nets that no gate of the lane drives)
    ============= ================================================================
    """
    spans: dict[int, tuple[int, int]] = {}
    late: set[int] = set()
    for port in ("operands", "weights"):
        nets = lane.inputs[port]
        width = len(nets) // config.tree_inputs
        spans |= {net: (place // width,) * 2 for place, net in enumerate(nets)}
    for port in ("accumulator", "first"):
        late |= set(lane.inputs[port])
    parts = [INPUTS] * len(lane.names)
    for gate in lane.gates:
        known = [spans[net] for net in gate.inputs if net > ONE and net in spans]
        if known:
            spans[gate.output] = min(a for a, _ in known), max(b for _, b in known)
        if gate.cell.is_register:
            part = REGISTERS
        elif any(net in late for net in gate.inputs):
            part = SUMMED
        else:
            first, last = spans.get(gate.output, (0, 0))
            part = _level(config, (first ^ last).bit_length())
        if any(net in late for net in gate.inputs):
            late.add(gate.output)
        parts[gate.output] = part
    return parts


def _level(config: ArrayConfig, level: int) -> str:
    if level:
        return f"level_{level}"
    return "select" if config.is_ternary else "multiply"
