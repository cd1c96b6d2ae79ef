"""AIGER, the format in which Yosys and ABC exchange circuits: and-gates, inverters, registers.

A literal is twice the number of a variable, plus one where it is inverted; 0 is false. The
variables are the inputs, then the registers, then the gates.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Circuit:
    """A circuit whose registers begin with zeros.

    Attributes
    ----------
    inputs
        How many there are.
    registers
        What each is next.
    outputs
        Literals.
    gates
        The two inputs of each, the greater one first; no gate comes before one that it reads.
    names
        Of the inputs, where the file has them.
    """

    inputs: int
    registers: list[int]
    outputs: list[int]
    gates: list[tuple[int, int]]
    names: dict[str, int]

    @classmethod
    def read(cls, path: Path) -> "Circuit":
        """Read the binary form; all registers have to begin with zeros."""
        text = path.read_bytes()
        lines = text.split(b"\n", 1)
        _, inputs, registers, outputs, gates = map(int, lines[0].split()[1:6])
        *numbers, rest = lines[1].split(b"\n", registers + outputs)
        place = 0

        def delta() -> int:
            nonlocal place
            value = shift = 0
            while True:
                byte = rest[place]
                place += 1
                value |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    return value

        pairs = []
        for gate in range(gates):
            first = 2 * (1 + inputs + registers + gate) - delta()
            pairs.append((first, first - delta()))
        names = re.findall(rb"^i(\d+) (.*)$", rest[place:], re.MULTILINE)
        return cls(
            inputs,
            [int(number) for number in numbers[:registers]],
            [int(number) for number in numbers[registers:]],
            pairs,
            {name.decode(): int(index) for index, name in names},
        )

    def write(self, path: Path) -> None:
        """Write the binary form."""
        before = 1 + self.inputs + len(self.registers)
        counts = (self.inputs, len(self.registers), len(self.outputs), len(self.gates))
        head = [f"aig {before - 1 + len(self.gates)} {' '.join(map(str, counts))}"]
        lines = "\n".join([*head, *map(str, [*self.registers, *self.outputs]), ""])
        deltas = bytearray()
        for gate, pair in enumerate(self.gates):
            last = 2 * (before + gate)
            for literal in pair:
                value, last = last - literal, literal
                while value > 0x7F:
                    deltas.append(value & 0x7F | 0x80)
                    value >>= 7
                deltas.append(value)
        path.write_bytes(lines.encode() + deltas)


class _Gates(list[tuple[int, int]]):
    """Gates of a new circuit, behind its inputs and registers."""

    def __init__(self, before: int):
        super().__init__()
        self._before = before

    def add(self, first: int, second: int) -> int:
        """Add one; return its literal."""
        self.append((max(first, second), min(first, second)))
        return 2 * (self._before + len(self))

    def differ(self, first: int, second: int) -> int:
        """Return whether two literals differ."""
        return self.add(self.add(first, second) ^ 1, self.add(first ^ 1, second ^ 1) ^ 1)

    def copy(
        self, circuit: Circuit, fixed: Mapping[int, int], *, registers: int
    ) -> tuple[list[int], list[int]]:
        """Add the gates of a circuit; return what its registers are next, and its outputs.

        Inputs that are not fixed are those of the new circuit, in their order; `registers` are in
        front of the ones that the copy has.
        """
        others = iter(range(1, 1 + circuit.inputs))
        literals = [0]
        literals += [fixed[n] if n in fixed else 2 * next(others) for n in range(circuit.inputs)]
        start = circuit.inputs - len(fixed) + 1 + registers
        literals += [2 * (start + place) for place in range(len(circuit.registers))]

        def of(literal: int) -> int:
            return literals[literal >> 1] ^ literal & 1

        for left, right in circuit.gates:
            literals.append(self.add(of(left), of(right)))
        return [of(n) for n in circuit.registers], [of(n) for n in circuit.outputs]


def fixing(circuit: Circuit, fixed: Mapping[int, int]) -> Circuit:
    """Return a circuit some of whose inputs, by number, have always the same bit."""
    inputs = circuit.inputs - len(fixed)
    gates = _Gates(inputs + len(circuit.registers))
    following, shown = gates.copy(circuit, fixed, registers=0)
    return Circuit(inputs, following, shown, gates, {})


def differing(
    circuit: Circuit, first: Mapping[int, int], second: Mapping[int, int], *, together: bool
) -> Circuit:
    """Return two copies of a circuit, side by side, whose outputs say where they differ.

    Parameters
    ----------
    circuit
        What is copied.
    first, second
        What is fixed in each copy: the same inputs. The other inputs are those of both.
    together
        Whether both go on from what the first copy has in its registers. Then what the registers
        would be next is compared, too: so from no state that the first copy reaches does a step of
        the second one differ. Else each has its own registers.
    """
    inputs, registers = circuit.inputs - len(first), len(circuit.registers)
    gates = _Gates(inputs + registers * (1 if together else 2))
    first_next, first_shown = gates.copy(circuit, first, registers=0)
    second_next, second_shown = gates.copy(circuit, second, registers=0 if together else registers)
    pairs = list(zip(first_shown, second_shown, strict=True))
    if together:
        pairs += zip(first_next, second_next, strict=True)
        second_next = []
    outputs = [gates.differ(*pair) for pair in pairs]
    return Circuit(inputs, first_next + second_next, outputs, gates, {})
