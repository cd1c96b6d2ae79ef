import os
from pathlib import Path

import pytest

from hwsim.errors import InputError
from hwsim.files import check_writable, make_folder, write_atomically


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_atomically(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "target"]


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_atomically(pipe, "through")
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent" / "file"):
        with pytest.raises(InputError, match=str(path)):
            write_atomically(path, "x")
        with pytest.raises(InputError, match=f"{path}: cannot be written: "):
            check_writable(path)


def test_a_file_that_can_be_written_is_not_touched_by_trying(tmp_path: Path) -> None:
    file = tmp_path / "file"
    check_writable(file)
    assert not list(tmp_path.iterdir())
    file.write_text("x")
    check_writable(file)
    check_writable("/dev/null")
    assert file.read_text() == "x"
    assert list(tmp_path.iterdir()) == [file]


def test_what_cannot_be_made_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be made a folder"):
        make_folder(tmp_path / "file" / "folder")
