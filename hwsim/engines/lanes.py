"""C++ of the lanes of an emitted design: all rows side by side, in vectors.

Every row has the same lane, so its netlist is translated once, each cell to one operation on
vectors that have an element for each row. A word of the netlist is held in the narrowest elements
that have room for it; the bits above its width are what the operation left there, and are made
clean where it matters.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Self

from hwsim.native import CompilerError

Bit = int | str
"""A net of Yosys's JSON, or the digit of a constant."""

Module = Mapping[str, Any]
"""A module of Yosys's JSON."""

_OPERATORS = {"$add": "+", "$sub": "-", "$mul": "*", "$and": "&", "$or": "|", "$xor": "^"}
_COMPARISONS = {"$eq": "==", "$ne": "!=", "$lt": "<", "$le": "<=", "$gt": ">", "$ge": ">="}
_CLOCKED = ("$dff", "$sdff")


@dataclass(frozen=True)
class _Word:
    """A value in C++.

    Attributes
    ----------
    text
        An expression: a vector of elements of `size` bits.
    width
        How many bits of an element mean something.
    size
        16, 32 or 64.
    signed, unsigned
        Whether all bits above are known to be like the highest one, or 0.
    """

    text: str
    width: int
    size: int
    signed: bool = False
    unsigned: bool = False

    @classmethod
    def of(cls, text: str, width: int, *, signed: bool = False, unsigned: bool = False) -> Self:
        """Return one in the narrowest elements; nothing is above a word that fills them."""
        size = _size(width)
        full = size == width
        return cls(text, width, size, signed or full, unsigned or full)

    def clean(self, *, signed: bool) -> "_Word":
        """Return it with bits above that are known."""
        if self.signed if signed else self.unsigned:
            return self
        spare = self.size - self.width
        if signed:
            text = f"V{self.size}(S{self.size}({self.text} << {spare}) >> {spare})"
        else:
            text = f"({self.text} & {_literal((1 << self.width) - 1, self.size)})"
        return _Word(text, self.width, self.size, signed, not signed)


def _cast(word: _Word, size: int, *, signed: bool) -> str:
    """Return the text of a word in elements of another size, extended."""
    text = word.clean(signed=signed).text
    if size == word.size:
        return text
    kind = "S" if signed else "V"
    return f"V{size}(__builtin_convertvector({kind}{word.size}({text}), {kind}{size}))"


def _size(width: int) -> int:
    for size in (16, 32, 64):
        if width <= size:
            return size
    raise CompilerError(f"lanes: a word of {width} bits")


def _literal(value: int, size: int) -> str:
    return f"((V{size})(uint{size}_t({value & (1 << size) - 1:#x}{'ull' * (size == 64)})))"


@dataclass(frozen=True)
class _Chunk:
    """Neighbouring bits of a cell or port; those of a constant if `key` is empty."""

    key: str
    low: int
    width: int


@dataclass(frozen=True)
class _Port:
    """An input of the lane.

    Attributes
    ----------
    name
        Of it.
    width
        Bits.
    sources
        For each row the port of all lanes together, and the first bit in it.
    fields
        First bit and width of the parts that cells use as words.
    """

    name: str
    width: int
    sources: list[tuple[str, int]]
    fields: list[tuple[int, int]]

    @property
    def is_shared(self) -> bool:
        """Whether all rows have the same."""
        return len(set(self.sources)) == 1


class Lanes:
    """The class that CXXRTL evaluates in place of all lanes.

    Every evaluation is one of a rising clock, as ``driver.cc`` makes them.

    Parameters
    ----------
    modules
        Of the design, as Yosys's JSON.
    together
        Name of the module that has all lanes, and nothing else.
    lane
        Name of a lane, flat.
    """

    def __init__(self, modules: Mapping[str, Module], *, together: str, lane: str):
        self._name = together
        self._together = modules[together]
        self._lane = modules[lane]
        self._places: dict[Bit, tuple[str, int]] = {}  # of a bit: the cell or port, and where in it
        self._widths: dict[str, int] = {}
        self.cells = {
            f"v{index}": cell
            for index, cell in enumerate(self._lane["cells"].values())
            if cell["type"] != "$scopeinfo"
        }
        self.registers = [key for key, cell in self.cells.items() if cell["type"] in _CLOCKED]
        for key, cell in self.cells.items():
            self._place(key, cell["connections"]["Q" if key in self.registers else "Y"])
        ports = self._lane["ports"].items()
        for port, about in ports:
            if about["direction"] == "input":
                self._place(port, about["bits"])
        rows = [
            cell["connections"] for cell in self._together["cells"].values() if cell["type"] == lane
        ]
        self._rows = len(rows)
        fields = {port: self._fields(port) for port, _ in ports}
        self.inputs = {
            port: _Port(
                port,
                len(about["bits"]),
                [self._source(row[port]) for row in rows],
                fields[port],
            )
            for port, about in ports
            if about["direction"] == "input" and fields[port]
        }
        self._outputs = {
            port: [self._source(row[port])[0] for row in rows]
            for port, about in ports
            if about["direction"] == "output"
        }

    def _place(self, key: str, bits: Sequence[Bit]) -> None:
        self._widths[key] = len(bits)
        self._places |= {bit: (key, index) for index, bit in enumerate(bits)}

    def _source(self, bits: Sequence[Bit]) -> tuple[str, int]:
        for name, port in self._together["ports"].items():
            if bits[0] in port["bits"]:
                low = port["bits"].index(bits[0])
                if port["bits"][low : low + len(bits)] == list(bits):
                    return name, low
        raise CompilerError("lanes: a port of a lane is made of several signals")

    def _fields(self, port: str) -> list[tuple[int, int]]:
        """Return the parts of a port that are read; those that overlap are one."""
        reads = [
            bits
            for cell in self.cells.values()
            for pin, bits in cell["connections"].items()
            if cell["port_directions"][pin] == "input" and pin != "CLK"
        ]
        reads += [p["bits"] for p in self._lane["ports"].values() if p["direction"] == "output"]
        chunks = {chunk for bits in reads for chunk in self.chunks(bits) if chunk.key == port}
        spans: list[tuple[int, int]] = []
        for chunk in sorted(chunks, key=lambda chunk: chunk.low):
            high = chunk.low + chunk.width
            if spans and chunk.low < spans[-1][1]:
                spans[-1] = (spans[-1][0], max(high, spans[-1][1]))
            else:
                spans.append((chunk.low, high))
        return [(low, high - low) for low, high in spans]

    def width(self, key: str) -> int:
        """Return the bits of a cell's output."""
        return self._widths[key]

    def chunks(self, bits: Sequence[Bit]) -> list[_Chunk]:
        """Return what bits are made of, the lowest first."""
        chunks: list[_Chunk] = []
        for bit in bits:
            key, at = ("", int(bit == "1")) if isinstance(bit, str) else self._places[bit]
            if chunks:
                last = chunks[-1]
                joined = last.low | at << last.width if not key else last.low
                if key == last.key and (not key or at == last.low + last.width):
                    chunks[-1] = _Chunk(key, joined, last.width + 1)
                    continue
            chunks.append(_Chunk(key, at, 1))
        return chunks

    # C++.

    def text(self) -> str:
        """Return the class, to stand before what CXXRTL wrote."""
        return resources.files("hwsim.engines").joinpath("lanes.cc").read_text() + "\n".join(
            ["namespace cxxrtl_design {", *self._class(), "} // namespace cxxrtl_design\n"]
        )

    def _class(self) -> Iterator[str]:
        blocks = -(-self._rows // 16)
        rows = [port for port in self.inputs.values() if not port.is_shared]
        yield f"struct bb_{mangled(self._name)} final : public cxxrtl::module {{"
        yield f"enum {{ ROWS = {self._rows}, BLOCKS = {blocks} }};"
        for name, port in self._together["ports"].items():
            kind = "value" if port["direction"] == "input" else "wire"
            yield f"cxxrtl::{kind}<{len(port['bits'])}> {mangled(name)};"
        yield "struct Held {"
        yield from (f"V{_size(self.width(key))} {key}[BLOCKS];" for key in self.registers)
        yield "} held[2];"
        yield "bool now, stale, primed;"
        for port in self.inputs.values():
            for source in dict.fromkeys(source for source, _ in port.sources):
                width = len(self._together["ports"][source]["bits"])
                yield f"cxxrtl::value<{width}> {port.name}_{mangled(source)};"
            for low, width in port.fields:
                size = _size(width)
                if port.is_shared:
                    yield f"uint{size}_t {port.name}_{low};"
                else:
                    yield f"V{size} {port.name}_{low}[BLOCKS];"
        for port in rows:
            yield f"V32 {port.name}_words[{-(-port.width // 32)}][BLOCKS];"
            places = ", ".join(f"{{{mangled(name)}.data, {low}}}" for name, low in port.sources)
            yield f"const Place {port.name}_places[ROWS] = {{{places}}};"
        for port in self.inputs.values():
            yield f"void load_{port.name}() {{"
            yield from self._load_shared(port) if port.is_shared else self._load_rows(port)
            yield "}"
        yield "void settle() {"
        yield from self._settle()
        yield "}"
        yield "void rise() {"
        yield from self._rise()
        yield "}"
        yield "bool eval(cxxrtl::performer *) override {"
        for port in self.inputs.values():
            names = [mangled(source) for source in dict.fromkeys(name for name, _ in port.sources)]
            fresh = " | ".join(f"fresh({port.name}_{name}, {name})" for name in names)
            yield f"if (({fresh}) || !primed) {{ load_{port.name}(); stale = true; }}"
        yield "primed = true;"
        yield "if (stale) settle();"
        yield "stale = false;"
        if self.registers:
            yield "rise();"
        yield "return true;"
        yield "}"
        yield "template <class Observer> bool commit(Observer &) { return commit(); }"
        yield "bool commit() override {"
        if self.registers:
            yield "now = !now;"
            yield "stale = true;"
        yield "return false;"
        yield "}"
        yield "void reset() override {"
        yield "held[0] = held[1] = {}; now = stale = primed = false;"
        yield from (f"memset({port.name}_words, 0, sizeof {port.name}_words);" for port in rows)
        yield "}"
        name = f"bb_{mangled(self._name)}"
        yield f"{name}() {{ reset(); }}"
        yield f"static std::unique_ptr<{name}> create(std::string, cxxrtl::metadata_map,"
        yield f" cxxrtl::metadata_map) {{ return std::unique_ptr<{name}>(new {name}); }}"
        yield "};"

    def _load_shared(self, port: _Port) -> Iterator[str]:
        source, first = port.sources[0]
        for low, width in port.fields:
            bits = f"bits({mangled(source)}.data, {first + low}, {width})"
            yield f"{port.name}_{low} = int64_t({bits} << {64 - width}) >> {64 - width};"

    def _load_rows(self, port: _Port) -> Iterator[str]:
        for word in range(-(-port.width // 32)):
            width = min(32, port.width - 32 * word)
            into = f"{port.name}_words[{word}]"
            yield f"gather({into}, {port.name}_places, ROWS, {32 * word}, {width});"
        yield "for (int b = 0; b < BLOCKS; b++) {"
        for low, width in port.fields:
            size, parts = _size(width), []
            for word in range(low // 32, (low + width - 1) // 32 + 1):
                at = 32 * word - low
                text = f"{port.name}_words[{word}][b]"
                text = f"({text} >> {-at})" if at < 0 else text
                if size != 32:
                    text = f"__builtin_convertvector({text}, V{size})"
                parts.append(f"{text} << {at}" if at > 0 else text)
            held = _Word.of(f"({' | '.join(parts)})", width).clean(signed=True)
            yield f"{port.name}_{low}[b] = {held.text};"
        yield "}"

    def _settle(self) -> Iterator[str]:
        outputs = self._lane["ports"]
        for port in self._outputs:
            size = _size(len(outputs[port]["bits"]))
            yield f"V{size} {port}[BLOCKS];"
        yield "const Held &before = held[now];"
        yield "for (int b = 0; b < BLOCKS; b++) {"
        function = _Function(self)
        for port in self._outputs:
            word = function.read(outputs[port]["bits"]).clean(signed=False)
            function.lines.append(f"{port}[b] = {word.text};")
        yield from function.lines
        yield "}"
        for port, names in self._outputs.items():
            width = len(outputs[port]["bits"])
            for row, name in enumerate(names):
                for at in range(-(-width // 32)):
                    shift = f" >> {32 * at}" if at else ""
                    yield (
                        f"{mangled(name)}.next.data[{at}] = {port}[{row // 16}][{row % 16}]{shift};"
                    )

    def _rise(self) -> Iterator[str]:
        yield "const Held &before = held[now];"
        yield "Held &after = held[!now];"
        yield "for (int b = 0; b < BLOCKS; b++) {"
        function = _Function(self)
        for key in self.registers:
            function.lines.append(f"after.{key}[b] = {function.following(key)};")
        yield from function.lines
        yield "}"


def mangled(name: str) -> str:
    """Return the name that CXXRTL gives a port."""
    return "p_" + "".join("__" if c == "_" else c if c.isalnum() else f"_{ord(c):x}_" for c in name)


class _Function:
    """Statements that compute words, each when it is first needed."""

    def __init__(self, lanes: Lanes):
        self._lanes = lanes
        self._words: dict[str, _Word] = {}
        self.lines: list[str] = []

    def read(self, bits: Sequence[Bit]) -> _Word:
        """Return the word that bits make."""
        highest = bits[-1]
        end = len(bits)
        if highest != "1":
            while end > 1 and bits[end - 2] == highest:
                end -= 1
        if highest == "0" and end > 1:
            end -= 1
        core = self._joined(self._lanes.chunks(bits[:end]))
        if end == len(bits):
            return core
        return self._extended(core, len(bits), signed=not isinstance(highest, str))

    def _extended(self, word: _Word, width: int, *, signed: bool) -> _Word:
        """Return a word that is wider than another; signed ones are unsigned if they may be."""
        text = _cast(word, _size(width), signed=signed)
        return _Word.of(text, width, signed=True, unsigned=not signed)

    def _joined(self, chunks: Iterable[_Chunk]) -> _Word:
        words = [self._chunk(chunk) for chunk in chunks]
        if len(words) == 1:
            return words[0]
        width = sum(word.width for word in words)
        size = _size(width)
        parts, at = [], 0
        *others, top = words
        for word in others:
            parts.append(f"({_cast(word, size, signed=False)} << {at})")
            at += word.width
        parts.append(f"({_cast(top, size, signed=top.signed)} << {at})")
        return _Word.of(f"({' | '.join(parts)})", width, signed=top.signed, unsigned=not top.signed)

    def _chunk(self, chunk: _Chunk) -> _Word:
        if not chunk.key:
            negative = chunk.low >> chunk.width - 1
            value = chunk.low - (negative << chunk.width)
            text = _literal(value, _size(chunk.width))
            return _Word.of(text, chunk.width, signed=True, unsigned=not negative)
        if chunk.key in self._lanes.inputs:
            port = self._lanes.inputs[chunk.key]
            first, width = next(
                (low, width) for low, width in port.fields if low <= chunk.low < low + width
            )
            text = f"{port.name}_{first}"
            text = f"((V{_size(width)})({text}))" if port.is_shared else f"{text}[b]"
            whole = _Word.of(text, width, signed=True)
        else:
            first, whole = 0, self._cell(chunk.key)
        low = chunk.low - first
        if low == 0 and chunk.width == whole.width:
            return whole
        text = whole.text
        is_top = low + chunk.width == whole.width
        signed, unsigned = is_top and whole.signed, is_top and whole.unsigned
        if low:
            if signed and unsigned:
                unsigned = False
            kind = "S" if signed else "V"
            text = f"V{whole.size}({kind}{whole.size}({text}) >> {low})"
        size = _size(chunk.width)
        if size != whole.size:
            text = f"__builtin_convertvector({text}, V{size})"
        return _Word.of(text, chunk.width, signed=signed, unsigned=unsigned)

    def _cell(self, key: str) -> _Word:
        if key not in self._words:
            if key in self._lanes.registers:
                word = _Word.of(f"before.{key}[b]", self._lanes.width(key))
            else:
                word = self._operation(self._lanes.cells[key])
            self.lines.append(f"const V{word.size} {key} = {word.text};")
            self._words[key] = _Word(key, word.width, word.size, word.signed, word.unsigned)
        return self._words[key]

    def following(self, key: str) -> str:
        """Return what a register holds after the edge."""
        cell = self._lanes.cells[key]
        connections, parameters = cell["connections"], cell["parameters"]
        if int(parameters["CLK_POLARITY"], 2) != 1:
            raise CompilerError("lanes: a register with a falling clock")
        text = self.read(connections["D"]).text
        if cell["type"] == "$dff":
            return text
        size = _size(self._lanes.width(key))
        reset = self._mask(connections["SRST"][0], size)
        if int(parameters["SRST_POLARITY"], 2) != 1:
            reset = f"~{reset}"
        value = int(parameters["SRST_VALUE"].replace("x", "0"), 2)
        return _chosen(reset, _literal(value, size), text)

    def _mask(self, bit: Bit, size: int) -> str:
        """Return all ones where a bit is 1."""
        return _cast(self.read([bit]), size, signed=True)

    def _operand(self, bits: Sequence[Bit], width: int, *, signed: bool) -> _Word:
        """Return a word that is extended or cut."""
        if len(bits) < width:
            return self._extended(self.read(bits), width, signed=signed)
        return self.read(bits[:width])

    def _operation(self, cell: Mapping[str, Any]) -> _Word:
        kind, pins = cell["type"], cell["connections"]
        parameters = {
            name: int(value, 2)
            for name, value in cell["parameters"].items()
            if set(value) <= {"0", "1"}
        }
        width = len(pins["Y"])
        size = _size(width)
        if kind in ("$mux", "$pmux"):
            return self._choice(pins, width, size)
        signed = bool(parameters["A_SIGNED"])
        if kind in _COMPARISONS:
            widest = max(len(pins["A"]), len(pins["B"]))
            a, b = (
                self._operand(pins[pin], widest, signed=signed).clean(signed=signed)
                for pin in ("A", "B")
            )
            letter = "S" if signed else "V"
            return self._flag(
                f"({letter}{a.size}({a.text}) {_COMPARISONS[kind]} {letter}{a.size}({b.text}))",
                a.size,
                width,
            )
        if kind in ("$reduce_or", "$reduce_bool", "$reduce_and", "$logic_not"):
            word = self.read(pins["A"]).clean(signed=kind == "$reduce_and")
            against = -1 if kind == "$reduce_and" else 0
            operator = "!=" if kind in ("$reduce_or", "$reduce_bool") else "=="
            return self._flag(
                f"({word.text} {operator} {_literal(against, word.size)})", word.size, width
            )
        a = self._operand(pins["A"], width, signed=signed)
        grows = width > len(pins["A"])
        if kind == "$not":
            return _Word.of(f"(~{a.text})", width, signed=a.signed)
        if kind == "$neg":
            return _Word.of(f"(-{a.text})", width, signed=grows and a.signed)
        if kind in ("$shl", "$sshl", "$shr"):
            by = self.read(pins["B"]).clean(signed=False)
            if by.size > size:
                raise CompilerError("lanes: a shift by a word wider than the shifted one")
            amount = _cast(by, size, signed=False)
            if kind == "$shr":
                a = a.clean(signed=False)
            sign = ">>" if kind == "$shr" else "<<"
            inside = f"V{size}({amount} < {_literal(size, size)})"
            shifted = f"({a.text} {sign} ({amount} & {_literal(size - 1, size)}))"
            return _Word.of(f"({inside} & {shifted})", width, unsigned=kind == "$shr")
        if kind not in _OPERATORS:
            raise CompilerError(f"lanes: no translation of a cell {kind}")
        b = self._operand(pins["B"], width, signed=signed)
        text = f"({a.text} {_OPERATORS[kind]} {b.text})"
        widths = len(pins["A"]), len(pins["B"])
        if kind in ("$and", "$or", "$xor"):
            return _Word.of(
                text, width, signed=a.signed and b.signed, unsigned=a.unsigned and b.unsigned
            )
        # What a sum of words that are narrower has above its width is right by itself.
        exact = width >= (sum(widths) if kind == "$mul" else max(widths) + 1)
        return _Word.of(
            text,
            width,
            signed=exact and (kind == "$sub" if not signed else a.signed and b.signed),
            unsigned=exact and not signed and kind != "$sub",
        )

    @staticmethod
    def _flag(text: str, size: int, width: int) -> _Word:
        text = f"V{size}{text}"
        if size > 16:
            text = f"__builtin_convertvector({text}, V16)"
        if width > 1:
            raise CompilerError("lanes: a comparison with more than one bit")
        return _Word.of(text, 1, signed=True)

    def _choice(self, pins: Mapping[str, Sequence[Bit]], width: int, size: int) -> _Word:
        """Return the last of `B` whose bit in `S` is set, else `A`."""
        result = self.read(pins["A"])
        for index, bit in enumerate(pins["S"]):
            other = self.read(pins["B"][index * width : (index + 1) * width])
            text = _chosen(self._mask(bit, size), other.text, result.text)
            result = _Word.of(
                text,
                width,
                signed=result.signed and other.signed,
                unsigned=result.unsigned and other.unsigned,
            )
        return result


def _chosen(mask: str, there: str, elsewhere: str) -> str:
    return f"(({there} & {mask}) | ({elsewhere} & ~{mask}))"
