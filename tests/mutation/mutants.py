"""Mutants of a component, all compiled into one simulator.

Yosys picks the mutations (`mutate -list`) and puts each of them behind a comparison with the input
`mutant` (`mutate -ctrl`); 0 is the design as it is. CXXRTL and a C++ compiler make a library of it.
"""

import ctypes
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Module, Value
from amaranth.hdl._ast import Signal, Slice
from amaranth.lib import wiring
from simulation import Bench, Runner

from hwsim import yosys
from hwsim.engines.lanes import mangled

# `pmuxtree`, since what a choice makes of two selects is up to each tool: simulator and proof would
# differ. `splitcells`, since a mutant of a bit that nobody reads says nothing.
_LIST = """\
read_rtlil design.il
hierarchy -top top
proc
flatten
opt -full
pmuxtree
memory
splitcells t:$*dff*
opt_clean
write_rtlil prepared.il
{lists}
"""
_LIST_SIZE = 50
"""Mutations in a list: asked for more than a small block offers, Yosys does not end."""

_APPLY = """\
read_rtlil prepared.il
script mutants.ys
write_rtlil mutants.il
write_cxxrtl -g0 -noflatten design.cc
"""

_DRIVER = """\
#include <cstdint>
#include "design.cc"
#ifdef _LIBCPP_VERSION
void *operator new(size_t size) {{ return __builtin_malloc(size); }}
void *operator new[](size_t size) {{ return __builtin_malloc(size); }}
void operator delete(void *p) noexcept {{ __builtin_free(p); }}
void operator delete[](void *p) noexcept {{ __builtin_free(p); }}
void operator delete(void *p, size_t) noexcept {{ __builtin_free(p); }}
void operator delete[](void *p, size_t) noexcept {{ __builtin_free(p); }}
_LIBCPP_BEGIN_NAMESPACE_STD
[[noreturn]] void __libcpp_verbose_abort(const char *, ...) noexcept {{ __builtin_trap(); }}
_LIBCPP_END_NAMESPACE_STD
extern "C" void __cxa_pure_virtual() {{ __builtin_trap(); }}
#endif
using Top = cxxrtl_design::p_top;
template <size_t bits> void *seen(cxxrtl::value<bits> &v) {{ return v.data; }}
template <size_t bits> void *seen(cxxrtl::wire<bits> &w) {{ return w.curr.data; }}
extern "C" {{
void *make() {{ return new Top; }}
void drop(void *top) {{ delete static_cast<Top *>(top); }}
void settle(void *top) {{ static_cast<Top *>(top)->step(); }}
void tick(void *p) {{
  Top *top = static_cast<Top *>(p);
  top->step();
  top->p_clk.data[0] = 1;
  top->step();
  top->p_clk.data[0] = 0;
  top->step();
}}
void *port(void *p, int index) {{
  Top *top = static_cast<Top *>(p);
  switch (index) {{
{ports}
  }}
  return nullptr;
}}
}}
"""


class Mutants:
    """A component and its mutants.

    Parameters
    ----------
    component
        Simulated by its ports.
    count
        How many to pick.
    seed
        Of the first list of them, the next ones have the next.
    folder
        For the files of Yosys and the compiler.
    where
        Which of the cells to mutate, as a selection of Yosys; else all.

    Attributes
    ----------
    mutations
        What each mutant changes, as Yosys says it; mutant n is the n-th from 1.
    widths, is_output
        Of each port, by its name.
    """

    def __init__(
        self,
        component: wiring.Component,
        *,
        count: int,
        seed: int,
        folder: Path,
        where: str = "",
    ):
        self.folder = folder
        self._names = {"__".join(map(str, path)): value for path, value in _ports(component)}
        self.widths = {name: len(value) for name, value in self._names.items()}
        flows = {
            "__".join(map(str, path)): member.flow
            for path, member, _ in component.signature.flatten(component)
        }
        self.is_output = {name: flows[name] == wiring.Out for name in self._names}
        # A module around it, since a signature may hold constants, which are no ports.
        m = Module()
        m.domains.sync = sync = ClockDomain()
        m.submodules.dut = component
        ports = [sync.clk, sync.rst, *self._names.values()]
        (folder / "design.il").write_text(rtlil.convert(m, ports=ports, emit_src=False))
        # Lists overlap, so there are more than would be needed.
        files = [f"listed_{number}.ys" for number in range(3 * -(-count // _LIST_SIZE))]
        lists = [
            f"mutate -list {_LIST_SIZE} -seed {seed + number} -o {file} {where}"
            for number, file in enumerate(files)
        ]
        yosys.run(_LIST.format(lists="\n".join(lists)), folder=folder)
        listed = dict.fromkeys(
            line for file in files for line in (folder / file).read_text().splitlines()
        )
        # A mutated clock would be a gated one, of which the simulator makes races.
        self.mutations = [line for line in listed if "-port CLK " not in line][:count]
        bits = len(self.mutations).bit_length()
        numbered = [
            f"{line.strip()} -ctrl mutant {bits} {number}\n"
            for number, line in enumerate(self.mutations, start=1)
        ]
        (folder / "mutants.ys").write_text("".join(numbered))
        yosys.run(_APPLY, folder=folder)
        names = [*self._names, "rst", "mutant"]
        cases = "\n".join(
            f"    case {index}: return seen(top->{mangled(name)});"
            for index, name in enumerate(names)
        )
        (folder / "driver.cc").write_text(_DRIVER.format(ports=cases))
        self._library = ctypes.CDLL(str(_compiled(folder)))
        for name, returns in (("make", True), ("port", True), ("drop", False)):
            function = getattr(self._library, name)
            function.restype = ctypes.c_void_p if returns else None
            function.argtypes = [ctypes.c_void_p, ctypes.c_int][
                : 2 if name == "port" else name != "make"
            ]
        for name in ("settle", "tick"):
            getattr(self._library, name).argtypes = [ctypes.c_void_p]
            getattr(self._library, name).restype = None
        self._places = {name: index for index, name in enumerate(names)}

    def runner(self, number: int) -> Runner:
        """Return what runs testbenches on one mutant, or on the design itself for 0."""

        def run(dut: wiring.Component, bench: Bench, clocked: bool, reset: Signal | None) -> None:
            ports = {"__".join(map(str, path)): value for path, value in _ports(dut)}
            assert {name: len(value) for name, value in ports.items()} == self.widths
            if reset is not None:
                ports["rst"] = reset
            top = self._library.make()
            try:
                context = _Context(self._library, top, ports, self._places)
                context.begin(number)
                coroutine: Any = bench(context)
                try:
                    coroutine.send(None)
                except StopIteration:
                    return
                raise RuntimeError("a bench waits for what is no tick")
            finally:
                self._library.drop(top)

        return run


class _Now:
    """Something to await that has happened already."""

    def __await__(self) -> Any:
        return iter(())


class _Context:
    """What a bench does with the simulator; the subset that `simulate` names."""

    def __init__(
        self, library: ctypes.CDLL, top: int, ports: dict[str, Signal], places: dict[str, int]
    ):
        self._library, self._top = library, top
        self._settled = False
        self._known: dict[int, tuple[Any, Any, int, int, int, bool]] = {}
        self._signals = {}
        for name, signal in ports.items():
            address = library.port(top, places[name])
            chunks = (ctypes.c_uint32 * max(1, -(-len(signal) // 32))).from_address(address)
            self._signals[id(signal)] = (chunks, len(signal))
        self._mutant, self._reset = (
            (ctypes.c_uint32 * 1).from_address(library.port(top, places[name]))
            for name in ("mutant", "rst")
        )

    def begin(self, number: int) -> None:
        """Choose a mutant and reset it: the initial value of a mutated register is lost."""
        self._mutant[0] = number
        self._reset[0] = 1
        self.tick()
        self._reset[0] = 0
        self._settled = False

    def _place(self, what: Any) -> tuple[Any, Any, int, int, int, bool]:
        """Return the words of a port, which bits of them are meant, and how to read them."""
        if (known := self._known.get(id(what))) is None:
            value = Value.cast(what)
            signed, width, offset = value.shape().signed, len(value), 0
            while isinstance(value, Slice) or not isinstance(value, Signal):
                assert isinstance(value, Slice) or hasattr(value, "operands"), value
                if isinstance(value, Slice):
                    offset += value.start
                    value = value.value
                else:
                    (value,) = value.operands
            chunks, whole = self._signals[id(value)]
            known = self._known[id(what)] = (what, chunks, whole, offset, width, signed)
        return known

    def set(self, what: Any, value: Any) -> None:
        _, chunks, whole, offset, width, _ = self._place(what)
        number = int(value) & ((1 << width) - 1)
        self._settled = False
        if whole <= 32 and width == whole:
            chunks[0] = number
            return
        held = int.from_bytes(chunks, "little")
        held = held & ~(((1 << width) - 1) << offset) | number << offset
        ctypes.memmove(chunks, held.to_bytes(len(chunks) * 4, "little"), len(chunks) * 4)

    def get(self, what: Any) -> int:
        if not self._settled:
            self._library.settle(self._top)
            self._settled = True
        _, chunks, whole, offset, width, signed = self._place(what)
        number = chunks[0] if whole <= 32 else int.from_bytes(chunks, "little")
        number = number >> offset & ((1 << width) - 1)
        return number - (1 << width) if signed and number >> (width - 1) else number

    def tick(self) -> _Now:
        self._library.tick(self._top)
        self._settled = True
        return _Now()

    def delay(self, seconds: float) -> _Now:
        self._settled = False
        return _Now()


def _ports(component: wiring.Component) -> list[tuple[tuple[Any, ...], Signal]]:
    """Return path and signal of every port that has bits."""
    found = [(path, Value.cast(value)) for path, _, value in component.signature.flatten(component)]
    return [(path, value) for path, value in found if len(value) and isinstance(value, Signal)]


def _compiled(folder: Path) -> Path:
    runtime = resources.files("pyosys") / "share/include/backends/cxxrtl/runtime"
    options = (
        "-c",
        "-std=c++17",
        "-fPIC",
        "-fno-rtti",
        "-fno-exceptions",
        "-O1",
        "-fno-sanitize=undefined",
        f"-I{runtime}",
    )
    for arguments in (
        ("c++", *options, "driver.cc", "-o", "driver.o"),
        ("ld.lld", "-shared", "driver.o", "-o", "driver.so"),
    ):
        subprocess.run(
            [sys.executable, "-m", "ziglang", *arguments],
            cwd=folder,
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
    return folder / "driver.so"
