"""Files that are replaced whole or not at all."""

from __future__ import annotations

import os
import resource
import signal
import stat
import time
from pathlib import Path

import pytest
from marcot.model.files.atomic_file import write_all_atomically, write_atomically
from support.programs.limits import limited

BIG = b"new" * 100_000


def test_it_is_written_in_place_of_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    for content in (b"old", b"", BIG):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["report.md"]


def test_owner_permissions_and_links_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "report.md", tmp_path / "latest.md"
    path.write_bytes(b"old")
    path.chmod(0o604)
    if os.geteuid() == 0:
        os.chown(path, 12345, 54321)
    link.symlink_to("report.md")
    before = path.stat()
    write_atomically(link, b"new")
    after = path.stat()
    assert (link.is_symlink(), path.read_bytes()) == (True, b"new")
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)


def test_a_new_file_is_as_the_mask_has_it(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "report.md", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "report.md").stat().st_mode) == 0o640


def test_a_link_to_nothing_gets_its_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "target").read_bytes() == b"new"


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        write_atomically(tmp_path / "a", b"new")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_the_longest_name_will_do(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("n" * 255), b"new")
    assert os.listdir(tmp_path) == ["n" * 255]


@pytest.mark.parametrize("full", [0, 4096, len(BIG) - 1])
def test_a_full_disk_leaves_all_as_it_was(tmp_path: Path, full: int) -> None:
    paths = [tmp_path / name for name in ("small", "big", "missing")]
    for path in paths[:2]:
        path.write_bytes(b"old")
    with limited(resource.RLIMIT_FSIZE, full), pytest.raises(OSError, match="too large") as caught:
        write_all_atomically(dict(zip(paths, (b"s", BIG, b"m"), strict=True)))
    assert caught.value.filename == str(paths[1 if full else 0])
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == {"small": b"old", "big": b"old"}


def test_no_more_files_leave_all_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "report.md").write_bytes(b"old")
    with limited(resource.RLIMIT_NOFILE, 0), pytest.raises(OSError, match="Too many open files"):
        write_atomically(tmp_path / "report.md", b"new")
    assert (tmp_path / "report.md").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["report.md"]


def test_a_reader_sees_one_or_the_other_and_a_killed_writer_changes_nothing_of_it(tmp_path: Path) -> None:
    path, contents = tmp_path / "report.md", [letter * 300_000 for letter in (b"a", b"b")]
    write_atomically(path, contents[0])
    for _ in range(5):
        child = os.fork()
        if not child:
            while True:
                for content in contents:
                    write_atomically(path, content)
        until = time.monotonic() + 0.05
        while time.monotonic() < until:
            assert path.read_bytes() in contents
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert path.read_bytes() in contents
