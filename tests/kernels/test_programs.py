"""Finding programs, and ending them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from marcot.kernels.programs import environment, find_program, running, search_path
from support.programs.processes import is_running, wait_until


def program(folder: Path, mode: int = 0o755) -> Path:
    """A program `tool` in a new `folder`."""
    folder.mkdir()
    (folder / "tool").write_text("#!/bin/sh\n")
    (folder / "tool").chmod(0o755)
    folder.chmod(mode)
    return folder / "tool"


@pytest.mark.parametrize(
    "path", ["", ":", ".", "./", "::/bin", "/bin:", "bad", "../here", "/bin:.:/usr/bin", "$PWD/../here:/nowhere"]
)
def test_the_current_folder_is_not_searched(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = program(tmp_path / "here")
    program(tmp_path / "here" / "bad")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PATH", path)
    assert find_program("tool") is None
    assert all(map(os.path.isabs, environment()["PATH"].split(":")))
    monkeypatch.setenv("PATH", f"{path}:{tool.parent}")
    assert find_program("tool") == str(tool)
    assert environment()["PATH"] == search_path()


@pytest.mark.parametrize("mode", [0o777, 0o1777], ids=oct)
def test_where_everybody_writes_is_not_searched(mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "open", mode)
    own = program(tmp_path / "own")
    monkeypatch.setenv("PATH", f"{tmp_path}/open:{tmp_path}/own")
    assert find_program("tool") == str(own)


def test_a_path_is_taken_at_its_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = program(tmp_path / "own")
    monkeypatch.chdir(own.parent)
    assert find_program("./tool") == find_program(str(own)) == str(own)


@pytest.mark.parametrize("path", ["", ":", ".", "modules:/m", "/m::"])
def test_modules_are_not_looked_for_in_the_current_folder(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", path)
    assert environment()["PYTHONPATH"] in ("", "/m")
    monkeypatch.delenv("PYTHONPATH")
    assert "PYTHONPATH" not in environment()


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill $$", 143)])
def test_the_exit_code_is_that_of_the_command(script: str, code: int, tmp_path: Path) -> None:
    with running(["/bin/sh", "-c", f"echo out; echo err >&2; {script}"], tmp_path, subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read() == b"out\nerr\n"
        assert process.wait() == code
    assert tmp_path.exists()


def test_no_such_program(tmp_path: Path) -> None:
    with running(["/no/such/program"], tmp_path, subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"/no/such/program: cannot be started: No such file" in process.stdout.read()
        assert process.wait() == 127


def test_what_has_not_ended_is_killed_and_its_files_removed(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    script = f"trap '' INT TERM HUP; sleep 1000 & touch {folder}/file; echo $!; wait"
    with running(["/bin/sh", "-c", script], folder, subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
    assert process.returncode == 137
    assert not folder.exists()
    wait_until(lambda: not is_running(child))  # a signal takes a moment
