"""Writing files so that they are there complete, or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hwsim.errors import InputError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and put what is written there in its place.

    If the body raises, the temporary file is removed and `path` stays as it was. A link stays one:
    the file that it leads to is replaced. What is there and no file, such as a pipe or
    ``/dev/null``, is not replaced but written to.

    Raises
    ------
    InputError
        If the file cannot be written there.
    """
    path = Path(path)
    target = Path(os.path.realpath(path))
    is_special = target.exists() and not target.is_file() and not target.is_dir()
    temporary: Path | None = None
    try:
        folder = None if is_special else target.parent
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=folder)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        if is_special:
            with open(temporary, "rb") as source, open(target, "wb") as sink:
                shutil.copyfileobj(source, sink)
            return
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Refuse a file that cannot be written, before there is anything to write to it.

    Raises
    ------
    InputError
        As `replacing` would.
    """
    path = Path(path)
    target = Path(os.path.realpath(path))
    reason = None
    if target.is_dir():
        reason = os.strerror(errno.EISDIR)
    elif target.exists() and not target.is_file():
        if not os.access(target, os.W_OK):
            reason = os.strerror(errno.EACCES)
    else:
        try:
            with tempfile.TemporaryFile(dir=target.parent):
                pass
        except OSError as error:
            reason = error.strerror or str(error)
    if reason is not None:
        raise InputError(f"{path}: cannot be written: {reason}")


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Write `content` to `path`; it appears complete or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_together(folder: str | Path, contents: Mapping[str, str]) -> None:
    """Write files, by name, into a folder: none appears before all have been written."""
    for name in contents:
        check_writable(Path(folder) / name)
    with ExitStack() as stack:
        for name, content in contents.items():
            stack.enter_context(replacing(Path(folder) / name)).write_text(content)


def make_folder(path: str | Path) -> None:
    """Make a folder, and those that it is in, unless it is there.

    Raises
    ------
    InputError
        If that cannot be done.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be made a folder: {error.strerror or error}") from error
