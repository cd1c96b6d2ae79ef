"""Compiled code: the compiler of the `ziglang` wheel, and the libraries that it makes."""

import ctypes
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from hwsim.cache import cached


class CompilerError(RuntimeError):
    """A compiler refused what it was given; the message is its own."""


def zig(folder: Path, *arguments: str) -> None:
    """Run the compiler of the `ziglang` wheel in a folder.

    Raises
    ------
    CompilerError
        If it fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", "ziglang", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise CompilerError(f"ziglang {arguments[0]}: {done.stdout.strip()[-2000:]}")


def load(build: Callable[[], Path]) -> ctypes.CDLL:
    """Load a library that `build` takes from the cache, or makes."""
    file = build()
    try:
        return ctypes.CDLL(str(file))
    except OSError:  # what was kept is damaged
        file.unlink()
        return ctypes.CDLL(str(build()))


def load_c(prefix: str, source: str, flags: tuple[str, ...]) -> ctypes.CDLL:
    """Load the library that a C source makes, from the cache or built now."""

    def make(folder: Path) -> Path:
        (folder / "source.c").write_text(source)
        zig(folder, "cc", "-c", "-fPIC", *flags, "source.c", "-o", "source.o")
        # Linked by itself: the compiler would look for a C library first.
        zig(folder, "ld.lld", "-shared", "source.o", "-o", "library.so")
        return folder / "library.so"

    return load(lambda: cached(prefix, ".so", (source, *flags, machine()), make))


def machine() -> str:
    """Return what tells processors apart for code that is built for this one."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith("flags")), "")
