"""Files are written whole or not at all."""

from __future__ import annotations

import os
import threading

import pytest

from codegen.outcome import BadInput
from codegen.write import write_whole


def test_a_new_file_gets_the_usual_permissions(tmp_path):
    write_whole(tmp_path / "new", b"x")
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_file_keeps_its_permissions_and_a_link_stays_a_link(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"old")
    file.chmod(0o640)
    link.symlink_to(file)
    write_whole(link, b"new")
    assert link.is_symlink() and file.read_bytes() == b"new"
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "link"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_a_file_of_another_user_stays_theirs(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"old")
    os.chown(file, 12345, 23456)
    file.chmod(0o2750)
    write_whole(file, b"new")
    found = file.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (12345, 23456, 0o2750)


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, b"data")
    reader.join()
    assert read == [b"data"] and pipe.is_fifo()


@pytest.mark.parametrize("place", ["no/such/folder/file", "."])
def test_a_place_that_can_not_be_written_gets_one_line(tmp_path, place):
    with pytest.raises(BadInput, match="can't write there"):
        write_whole(tmp_path / place, b"x")
    assert list(tmp_path.iterdir()) == []
