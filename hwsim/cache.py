"""What takes long to make is made once, and kept in the user's cache folder."""

import hashlib
import tempfile
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

import platformdirs

from hwsim.files import make_folder


def cached(prefix: str, suffix: str, parts: Iterable[str], make: Callable[[Path], Path]) -> Path:
    """Return a file or folder of the cache, made now unless it is there.

    Two processes may make the same one at once: each works in a folder of its own and moves what
    is finished into place.

    Parameters
    ----------
    prefix, suffix
        Of its name.
    parts
        Everything that it depends on, besides the versions of hwsim, Amaranth, Yosys and compiler.
    make
        Makes it in an empty folder and returns its path: a file's, or the folder's own.

    Raises
    ------
    InputError
        If there can be no cache folder.
    """
    key = hashlib.sha256()
    versions = (metadata.version(name) for name in ("hwsim", "amaranth", "pyosys", "ziglang"))
    for part in (*versions, *parts):
        key.update(part.encode() + b"\0")
    folder = Path(platformdirs.user_cache_dir("hwsim"))
    kept = folder / f"{prefix}-{key.hexdigest()[:32]}{suffix}"
    if not kept.exists():
        make_folder(folder)
        with tempfile.TemporaryDirectory(dir=folder, prefix="build-") as name:
            inside = Path(name) / "made"
            inside.mkdir()
            made = make(inside)
            try:
                made.replace(kept)
            except OSError:  # a folder is not replaced: another process was faster
                if not kept.exists():
                    raise
    return kept
