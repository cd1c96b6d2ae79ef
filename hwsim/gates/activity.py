"""`GateActivity`: how often every net of the gates moved, and what that costs."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwsim.config import ArrayConfig
from hwsim.gates.designs import Netlists
from hwsim.gates.library import FLIP_FLOP, Library
from hwsim.gates.netlist import Netlist
from hwsim.gates.parts import INPUTS, REGISTERS, lane_parts, part_names
from hwsim.gates.timing import timed_toggles

Counts = NDArray[np.int64]

Samples = dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]
"""For `lane` and `shared`: bits of their inputs before and after steps, shape (samples, inputs)."""

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
        How often each byte of the weight stream follows each other one at a decoder, all of them
        together: shape (256, 256).
    recoder
        The same for the groups of trits at the recoders; None if there are none.
    samples
        Inputs of some steps, if they were asked for.
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
    samples: Samples | None

    def toggles(self) -> dict[str, int]:
        """Return the toggles by part, their `total` last; a net belongs to what drives it."""
        by_part = dict.fromkeys(self.parts, 0)
        for _, netlist, counts, parts in self._instances():
            driven = {gate.output for gate in netlist.gates}
            for net, (part, count) in enumerate(zip(parts, counts.tolist(), strict=True)):
                if net in driven or part == INPUTS:
                    by_part[part] += count
        return {**by_part, "total": sum(by_part.values())}

    @property
    def parts(self) -> tuple[str, ...]:
        """What there are toggles and energies of."""
        return ("decode", "shared", *part_names(self.config))

    def energy_pj(self, library: Library, *, glitches: bool = False) -> dict[str, float]:
        """Return the energy of the gates by part, their `total` last.

        Of each toggle: the internal energy of its cell, the pins that its net drives, and an
        assumed wire to each. Of each register of the lanes and cycle: its clock pin and what it
        takes inside.

        Parameters
        ----------
        library
            The cells.
        glitches
            Multiply each part by how much more the samples take with delays than without.

        Raises
        ------
        ValueError
            If there are no samples for that.
        """
        by_part = dict.fromkeys(self.parts, 0.0)
        for key, netlist, counts, parts in self._instances():
            energies = net_energies_fj(netlist, library)
            factors = dict.fromkeys(parts, 1.0)
            if glitches:
                factors |= self._glitch_factors(key, netlist, library, energies, parts)
            for part, fj in zip(parts, counts * energies, strict=True):
                by_part[part] += factors[part] * float(fj)
        lane = self.netlists.lane
        clocked = lane.registers * self.config.rows * self.cycles
        by_part[REGISTERS] += clocked * library.cells[FLIP_FLOP].idle_clock_fj
        by_part = {part: fj / FEMTO_PER_PICO for part, fj in by_part.items()}
        return {**by_part, "total": sum(by_part.values())}

    def _instances(self) -> Iterator[tuple[str, Netlist, Counts, list[str]]]:
        """Give for each netlist its name, itself, and toggles and parts of its nets."""
        lane = self.netlists.lane
        yield "lane", lane, self.lane.sum(axis=0), lane_parts(lane, self.config)
        shared = self.netlists.shared
        yield "shared", shared, self.shared, ["shared"] * len(shared.names)
        for key, decoder, pairs in (
            ("decoder", self.netlists.decoder, self.decoder),
            ("recoder", self.netlists.recoder, self.recoder),
        ):
            if decoder is not None and pairs is not None:
                yield key, decoder, _toggles_of(decoder, pairs), ["decode"] * len(decoder.names)

    def _glitch_factors(
        self,
        key: str,
        netlist: Netlist,
        library: Library,
        energies: NDArray[np.float64],
        parts: list[str],
    ) -> dict[str, float]:
        if self.samples is None:
            raise ValueError("glitches need samples of steps")
        if key in self.samples:
            before, after = self.samples[key]
        else:
            pairs = self.decoder if key == "decoder" else self.recoder
            assert pairs is not None
            before, after = _sampled_pairs(pairs, len(self.samples["lane"][0]))
        timed, zero_delay = timed_toggles(netlist, library, before, after)
        with_, without = dict.fromkeys(parts, 0.0), dict.fromkeys(parts, 0.0)
        for net, part in enumerate(parts):
            with_[part] += float(timed[net] * energies[net])
            without[part] += float(zero_delay[net] * energies[net])
        return {part: with_[part] / fj for part, fj in without.items() if fj}


def _toggles_of(netlist: Netlist, pairs: Counts) -> Counts:
    """Return the toggles of each net of decoders that see each code after each other so often."""
    values = netlist.settle(_bits(np.arange(len(pairs)), pairs)).astype(np.int64)
    risen: Counts = ((pairs.T @ (1 - values)) * values).sum(axis=0)
    fallen: Counts = ((pairs.T @ values) * (1 - values)).sum(axis=0)
    return risen + fallen


def _sampled_pairs(pairs: Counts, count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    chosen = rng.choice(pairs.size, count, p=pairs.ravel() / pairs.sum())
    before, after = np.divmod(chosen, len(pairs))
    return _bits(before, pairs), _bits(after, pairs)


def _bits(codes: NDArray[np.integer], pairs: Counts) -> NDArray[np.uint8]:
    width = (len(pairs) - 1).bit_length()
    return (codes[:, None] >> np.arange(width) & 1).astype(np.uint8)


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
