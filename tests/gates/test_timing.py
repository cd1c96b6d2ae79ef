import numpy as np
import pytest

from hwsim.gates.activity import net_energies_fj
from hwsim.gates.library import load
from hwsim.gates.netlist import Gate, Netlist, NetlistError
from hwsim.gates.timing import timed_toggles


def chain(inverters: int) -> Netlist:
    """Return a AND NOT a, by way of an odd number of inverters: 0 but for a pulse."""
    cells = load().cells
    nets = [2, *range(3, 3 + inverters)]
    gates = [Gate(f"not{i}", cells["INVx1"], (nets[i],), nets[i + 1]) for i in range(inverters)]
    out = nets[-1] + 1
    gates.append(Gate("and", cells["AND2x2"], (2, nets[-1]), out))
    names = tuple(f"n{net}" for net in range(out + 1))
    return Netlist("chain", names, {"a": (2,)}, {"out": (out,)}, tuple(gates))


RISE = np.array([[0]], np.uint8), np.array([[1]], np.uint8)


def test_a_pulse_as_long_as_a_chain_is_seen_and_a_short_one_swallowed() -> None:
    long, settled = timed_toggles(chain(9), load(), *RISE)
    assert settled.tolist() == [0, 0, 1, *[1] * 9, 0]
    assert long.tolist() == [0, 0, 1, *[1] * 9, 2]
    short, _ = timed_toggles(chain(1), load(), *RISE)
    assert short.tolist() == [0, 0, 1, 1, 0]
    # Falling, the gate is closed before the inverter opens it.
    fall, _ = timed_toggles(chain(9), load(), *reversed(RISE))
    assert fall[-1] == 0


def test_a_toggle_costs_pins_wire_and_cell() -> None:
    library = load()
    inverter, gate = library.cells["INVx1"], library.cells["AND2x2"]
    energies = net_energies_fj(chain(1), library)
    pins = inverter.input_cap_ff[0] + gate.input_cap_ff[0]
    assert energies[2] == pytest.approx(0.5 * (pins + 2 * 0.3) * 0.7**2)
    driven = 0.5 * (gate.input_cap_ff[1] + 0.3) * 0.7**2
    assert energies[3] == pytest.approx(inverter.internal_fj + driven)
    assert energies[4] == pytest.approx(gate.internal_fj)


def test_nets_of_different_steps_must_not_meet() -> None:
    cells = load().cells
    gates = (
        Gate("register", cells["DFFHQNx1"], (2,), 3),
        Gate("and", cells["AND2x2"], (2, 3), 4),
    )
    netlist = Netlist("late", ("zero", "one", "a", "b", "c"), {"a": (2,)}, {"c": (4,)}, gates)
    with pytest.raises(NetlistError, match=r"^late: and meets steps \[0, 1\]$"):
        netlist.stages({})
