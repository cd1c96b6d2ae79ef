"""Writing files so that they are there complete, or not at all."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hwsim.errors import InputError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and put what is written there in its place.

    If the body raises, the temporary file is removed and `path` stays as it was.

    Raises
    ------
    InputError
        If the file cannot be written there.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Write `content` to `path`; it appears complete or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_together(folder: str | Path, contents: Mapping[str, str]) -> None:
    """Write files, by name, into a folder: none appears before all have been written."""
    with ExitStack() as stack:
        for name, content in contents.items():
            stack.enter_context(replacing(Path(folder) / name)).write_text(content)
