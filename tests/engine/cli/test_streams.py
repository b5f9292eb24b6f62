"""Streams as shells provide them: full, closed, in another encoding. Each case runs in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
GENERATE = ("generate", "--token-ids", "5", "-n", "3", "--max-tokens", "2")
SEARCH = ("search", "--rollouts", "1", "--max-rollout-tokens", "4")

needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def shell(model: Path, command: tuple[str, ...], rest: str = "", **environment: str) -> subprocess.CompletedProcess:
    """Run a command in a shell, with `rest` as its redirections."""
    name, *options = command
    words = [sys.executable, "-m", "marcot", name, "--model", str(model), "--threads", "1", *options]
    return subprocess.run(
        ["bash", "-c", f'set -o pipefail; "$@" {rest}', "bash", *words],
        capture_output=True,
        check=False,
        env=os.environ | environment,
    )


@needs_full
@pytest.mark.parametrize("command", [GENERATE, (*SEARCH, "hi"), (*SEARCH, "hi", "--json")], ids=" ".join)
def test_a_full_disk_under_stdout_is_one_line(talker: Path, command: tuple[str, ...]) -> None:
    ended = shell(talker, command, "> /dev/full")
    assert (ended.returncode, ended.stderr) == (74, b"error: stdout: No space left on device\n")


@needs_full
def test_a_full_disk_under_stdout_loses_no_result(talker: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    ended = shell(talker, (*SEARCH, "hi", "--out", str(out)), "> /dev/full")
    told = f"error: stdout: No space left on device; run the same command again to resume from {out}\n"
    assert (ended.returncode, ended.stderr.decode()) == (74, told)
    assert json.loads(out.read_text(encoding="utf-8"))["question"] == "hi"


@needs_full
def test_a_full_disk_under_stderr_loses_no_output(talker: Path, tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("one\ntwo\n")
    ended = shell(talker, (*SEARCH, "--input", str(tmp_path / "q.txt"), "--json"), "2> /dev/full")
    assert ended.returncode == 0
    assert len(ended.stdout.splitlines()) == 2


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_as_nowhere(talker: Path, tmp_path: Path, closed: str) -> None:
    out = tmp_path / "out.jsonl"
    ended = shell(talker, (*SEARCH, "hi", "--json", "--out", str(out)), closed)
    assert (ended.returncode, ended.stderr) == (0, b"")
    [line] = out.read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["question"] == "hi"


def test_a_closed_stdin_is_empty(talker: Path) -> None:
    ended = shell(talker, (*SEARCH, "-"), "<&-")
    assert (ended.returncode, ended.stderr) == (2, b"error: the question is empty\n")


@pytest.mark.parametrize("command", [(*GENERATE, "--json"), (*SEARCH, "hi")], ids=["generate", "search"])
def test_a_reader_that_wants_one_line_gets_it(talker: Path, command: tuple[str, ...]) -> None:
    ended = shell(talker, command, "| head -1")
    assert ended.returncode in (0, 1), "that of whoever wrote first"
    assert len(ended.stdout.splitlines()) == 1
    assert ended.stderr == b""


def test_stdin_that_is_not_text_gives_one_line(talker: Path) -> None:
    ended = shell(talker, (*SEARCH, "-"), r"< <(printf 'Wie sch\xf6n?')")
    assert (ended.returncode, ended.stderr) == (2, b"error: stdin: is not UTF-8 text (byte 7)\n")


@pytest.mark.parametrize(
    "environment",
    [{"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}, {"COLUMNS": "1"}, {"TERM": ""}],
    ids=str,
)
def test_a_question_is_answered_in_any_environment(talker: Path, environment: dict[str, str]) -> None:
    ended = shell(talker, (*SEARCH, "-"), "<<< '小明有几个苹果？'", **environment)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert "小明有几个苹果？" in ended.stdout.decode().replace("\n", "")


@pytest.mark.parametrize("columns", ["0", "-5", "wide", "²", "999999999999"])
@pytest.mark.parametrize("command", [("search", "--help"), (*SEARCH, "hi")], ids=["help", "search"])
def test_columns_that_make_no_sense_are_those_of_the_terminal(
    talker: Path, command: tuple[str, ...], columns: str
) -> None:
    ended = shell(talker, command, COLUMNS=columns)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert max(map(len, ended.stdout.decode().splitlines())) < 1000


def test_results_do_not_go_where_the_output_goes(talker: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    ended = shell(talker, (*SEARCH, "hi", "--out", str(out)), f"> {out}")
    assert (ended.returncode, b"is already where the output goes" in ended.stderr) == (2, True)
