"""`GateActivity`: how often every net of the gates moved, and what that costs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.config import ArrayConfig
from hwsim.gates.designs import Netlists
from hwsim.gates.library import Library
from hwsim.gates.netlist import Netlist
from hwsim.gates.parts import REGISTERS, lane_parts, part_names

Counts = NDArray[np.int64]

FEMTO_PER_PICO = 1000


@dataclass(frozen=True, eq=False, kw_only=True)
class GateActivity:
    """Toggles of one run, net by net: zero-delay, so without glitches.

    Lanes, and what they share, are counted from step to step, starting from all inputs at 0;
    decoders from word to word that is loaded. In other cycles nothing in them moves.

    Attributes
    ----------
    config
        The array.
    netlists
        What was evaluated.
    steps, cycles
        Steps that were evaluated, and clock cycles of the run.
    lane
        Toggles, shape (rows, nets of the lane).
    lane_high
        Steps in which a net is 1, of that shape, if they were asked for.
    shared
        Toggles, shape (nets,), of what is made of the activations for all lanes.
    decoder
        Likewise, the sum over all byte decoders of the weight bus.
    recoder
        Likewise, the sum over the recoders of all groups and rows; None if there are none.
    """

    config: ArrayConfig
    netlists: Netlists
    steps: int
    cycles: int
    lane: Counts
    lane_high: Counts | None
    shared: Counts
    decoder: Counts
    recoder: Counts | None

    def toggles(self) -> dict[str, int]:
        """Return the toggles by part, their `total` last; a net belongs to what drives it."""
        parts = lane_parts(self.netlists.lane, self.config)
        by_part = dict.fromkeys(("decode", "shared", *part_names(self.config)), 0)
        for part, count in zip(parts, self.lane.sum(axis=0).tolist(), strict=True):
            by_part[part] += count
        for part, netlist, counts in self._others():
            by_part[part] += sum(int(counts[gate.output]) for gate in netlist.gates)
        return {**by_part, "total": sum(by_part.values())}

    def energy_pj(
        self, library: Library, factors: NDArray[np.float64] | None = None
    ) -> dict[str, float]:
        """Return the energy of the gates by part, their `total` last.

        Of each toggle: the internal energy of its cell, the pins that its net drives, and an
        assumed wire to each. Of each register and cycle: its clock pin and what it takes inside.

        Parameters
        ----------
        library
            The cells.
        factors
            For each net of the lane, what its toggles are multiplied with: see
            `hwsim.gates.timing`.
        """
        lane = self.netlists.lane
        counts = self.lane.sum(axis=0) * (1.0 if factors is None else factors)
        parts = lane_parts(lane, self.config)
        by_part = dict.fromkeys(("decode", "shared", *part_names(self.config)), 0.0)
        for part, fj in zip(parts, counts * net_energies_fj(lane, library), strict=True):
            by_part[part] += float(fj)
        registers = next((g.cell for g in lane.gates if g.cell.is_register), None)
        if registers is not None:
            clocked = lane.registers * self.config.rows * self.cycles
            by_part[REGISTERS] += clocked * registers.idle_clock_fj
        for part, netlist, toggles in self._others():
            by_part[part] += float((toggles * net_energies_fj(netlist, library)).sum())
        by_part = {part: fj / FEMTO_PER_PICO for part, fj in by_part.items()}
        return {**by_part, "total": sum(by_part.values())}

    def _others(self) -> list[tuple[str, Netlist, Counts]]:
        others = [
            ("decode", self.netlists.decoder, self.decoder),
            ("shared", self.netlists.shared, self.shared),
        ]
        if self.netlists.recoder is not None and self.recoder is not None:
            others.append(("decode", self.netlists.recoder, self.recoder))
        return others


def net_energies_fj(netlist: Netlist, library: Library) -> NDArray[np.float64]:
    """Return for each net the energy of one toggle: its load, and inside the cell that drives it.

    The clock of a register is not in it, only what a moving output takes beyond it.
    """
    energies = np.array(
        [library.swing_fj(netlist.load_ff(net, library)) for net in range(len(netlist.names))]
    )
    for gate in netlist.gates:
        energies[gate.output] += gate.cell.internal_fj - gate.cell.idle_rise_fj
        if gate.cell.is_register:
            energies[gate.inputs[0]] += gate.cell.hidden_fj
    return energies


