"""Temporary files, and the removal of those that killed processes left."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from marcot.engine.results.output_file import write_output
from marcot.model.files.working_file import working_names


def test_what_killed_processes_left_goes(tmp_path: Path) -> None:
    (tmp_path / ".report.md.0123abcd").write_bytes(b"half a rep")
    (tmp_path / ".report.md.89abcdef").mkdir()
    write_output(tmp_path / "report.md", b"all of it")
    assert os.listdir(tmp_path) == ["report.md"]


def test_a_file_that_is_being_written_stays(tmp_path: Path) -> None:
    with working_names([tmp_path / "report.md"]) as [first]:
        first.write_bytes(b"so far")
        write_output(tmp_path / "report.md", b"of another process")
        assert first.read_bytes() == b"so far"
        first.replace(tmp_path / "report.md")
    assert os.listdir(tmp_path) == ["report.md"]


OTHERS = [".report.md.backup", ".report.md.0123abcd.txt", ".report.html.0123abcd", "report.md.0123abcd"]


@pytest.mark.parametrize("name", OTHERS)
def test_files_of_others_stay(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"mine")
    write_output(tmp_path / "report.md", b"ours")
    assert (tmp_path / name).read_bytes() == b"mine"


def test_nobody_waits_for_a_lock_on_the_folder(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        write_output(tmp_path / "report.md", b"all of it")
    finally:
        os.close(folder)
    assert (tmp_path / "report.md").read_bytes() == b"all of it"
