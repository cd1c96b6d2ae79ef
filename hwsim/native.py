"""Compiled code: built once, and kept in the user's cache folder."""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

import platformdirs

from hwsim.files import make_folder


class CompilerError(RuntimeError):
    """A compiler refused what it was given; the message is its own."""


def cached(prefix: str, suffix: str, parts: Iterable[str], make: Callable[[Path], Path]) -> Path:
    """Return a file of the cache, made now unless it is there.

    Two processes may make the same one at once: each works in a folder of its own and moves the
    finished file into place.

    Parameters
    ----------
    prefix, suffix
        Of the file's name.
    parts
        Everything that the file depends on, besides the versions of what makes it.
    make
        Makes the file in a folder and returns its path.
    """
    key = hashlib.sha256()
    versions = (metadata.version(name) for name in ("hwsim", "amaranth", "pyosys", "ziglang"))
    for part in (*versions, *parts):
        key.update(part.encode() + b"\0")
    cache = Path(platformdirs.user_cache_dir("hwsim"))
    file = cache / f"{prefix}-{key.hexdigest()[:32]}{suffix}"
    if not file.exists():
        make_folder(cache)
        with tempfile.TemporaryDirectory(dir=cache, prefix="build-") as folder:
            make(Path(folder)).replace(file)
    return file


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


def shared_library(prefix: str, source: str, flags: tuple[str, ...]) -> Path:
    """Return the shared library that a C source makes, from the cache or built now."""

    def make(folder: Path) -> Path:
        (folder / "source.c").write_text(source)
        zig(folder, "cc", "-c", "-fPIC", *flags, "source.c", "-o", "source.o")
        # Linked by itself: the compiler would look for a C library first.
        zig(folder, "ld.lld", "-shared", "source.o", "-o", "library.so")
        return folder / "library.so"

    return cached(prefix, ".so", (source, *flags, _machine()), make)


def _machine() -> str:
    """Return what tells processors apart for code that is built for this one."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith("flags")), "")
