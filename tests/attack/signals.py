"""Send every command one to three signals at random moments, on a terminal.

The signals are Ctrl-C from the keyboard, SIGINT, SIGTERM and SIGHUP. One trial in eight starts a new program, so that
imports and Python's shutdown are hit too. The others are forks that have imported everything, so that the moments are
spread over the actual work. A finding is a traceback, a second line about the interruption, an exit code that matches
no signal sent, a hidden cursor, a hang, a file that is neither the old nor the new one, a torn line, or a leftover
file.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import marcot.engine  # noqa: F401 - first: it decides how OpenMP waits, before torch loads it
from support.checkpoints.tiny import write_tiny
from support.searches.finished_searches import Told, result_line, write_lines

from .campaign import Campaign

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_HANG_SECONDS = 90.0
_OLD = "old"
_QUIETLY = {"OMP_NUM_THREADS": "1", "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
_OURS = re.compile(rb"^interrupted", re.MULTILINE)


class Command(NamedTuple):
    """A command and the files that it writes.

    Attributes:
        words: The command line.
        replaced: Files that existed before and are replaced.
        lines: Files that hold JSON lines.
        seconds: About how long it takes in a process that has imported everything.
    """

    words: Sequence[str]
    replaced: Sequence[str] = ()
    lines: Sequence[str] = ()
    seconds: float = 0.5


def _commands(model: str) -> list[Command]:
    tiny = ("--model", model, "--threads", "1")
    search = ("--rollouts", "12", "--max-rollout-tokens", "40")
    tree = ("search", *tiny, *search, "--tree", "tree.html", "How many?")
    page = ("--out", "report.html", "--out", "report.json", "--set", "rollouts=4", "--set", "max_rollout_tokens=16")
    return [
        Command(tree, ["tree.html"]),
        Command(("search", *tiny, *search, "--input", "q.tsv", "--out", "out.jsonl"), lines=["out.jsonl"], seconds=2),
        Command(("generate", *tiny, "--ignore-eos", "--max-tokens", "300", "How many?"), seconds=0.8),
        Command(("score", *tiny, "How many are there? " * 60), seconds=0.3),
        Command(("models",), seconds=0.05),
        Command(
            ("eval", *tiny, "--input", "q.tsv", "--set", "max_rollout_tokens=24", "--out", "runs"),
            ["runs/report.json", "runs/report.md"],
            ["runs/q--tiny--greedy.jsonl", "runs/q--tiny--mcts.jsonl"],
            seconds=2,
        ),
        Command(("compare", *tiny, "--input", "q.tsv", *page), ["report.html", "report.json"], seconds=2),
        Command(("dataset", "searches.jsonl", "--out", "data", "--tokenizer", "none"), seconds=0.6),
    ]


class Ended(NamedTuple):
    """How a run ended: its exit code (negative for a signal), everything it printed, and the signals it was sent."""

    code: int
    printed: bytes
    sent: Sequence[int]


def _prepare(folder: Path, command: Command) -> None:
    (folder / "q.tsv").write_text("".join(f"How many are {n} and {n}?\t{2 * n}\n" for n in range(5)))
    for name in command.replaced:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(_old_file(folder, name), folder / name)


def _old_file(folder: Path, name: str) -> Path:
    return folder.parent / _OLD / name


def _start(words: Sequence[str], folder: Path, forked: bool) -> tuple[int, int]:
    number, terminal = pty.fork()
    if number:
        return number, terminal
    code = 70
    with contextlib.suppress(BaseException):
        os.chdir(folder)
        # On Ctrl-C, a terminal drops output that was not read yet; here everything printed counts.
        attributes = termios.tcgetattr(0)
        attributes[3] |= termios.NOFLSH
        termios.tcsetattr(0, termios.TCSANOW, attributes)
        for each in SIGNALS:
            signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
        os.environ |= _QUIETLY
        if not forked:
            os.execv(sys.executable, [sys.executable, "-m", "marcot", *words])
        for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115
        sys.argv = ["marcot", *words]
        code = _run()
    os._exit(code)


def _run() -> int:
    import traceback

    from marcot.engine.cli.program import main

    try:
        main()
    except SystemExit as end:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        return end.code if isinstance(end.code, int) else 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _listens(number: int) -> bool:
    """Whether a process handles SIGTERM already; before that, Python's defaults apply."""
    try:
        status = Path(f"/proc/{number}/status").read_text()
    except OSError:
        return True
    [caught] = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")] or ["0"]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def attack(command: Command, folder: Path, forked: bool, draw: Random) -> Ended | None:
    """Run `command` in `folder` and send it signals. Returns None if it hangs."""
    number, terminal = _start(command.words, folder, forked)
    began = time.monotonic()
    while not _listens(number):
        time.sleep(0.001)
    sent = [draw.choice((*SIGNALS, signal.SIGINT)) for _ in range(draw.randint(1, 3))]
    due = time.monotonic() + draw.random() * (command.seconds if forked else command.seconds + 3)
    printed, given = b"", []
    code: int | None = None
    while code is None and time.monotonic() - began < _HANG_SECONDS:
        wait = max(0.0, due - time.monotonic()) if sent else 0.05
        readable, _, _ = select.select([terminal], [], [], min(wait, 0.05))
        if readable:
            with contextlib.suppress(OSError):
                printed += os.read(terminal, 65536)
        if sent and time.monotonic() >= due:
            each = sent.pop(0)
            given.append(each)
            with contextlib.suppress(OSError):
                if each == signal.SIGINT and draw.random() < 0.5:
                    os.write(terminal, b"\x03")
                else:
                    os.kill(number, each)
            due += draw.choice((0.0, 0.001, 0.01, 0.08, 0.3)) * draw.random()
        done, status = os.waitpid(number, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
    if code is None:
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)
    with contextlib.suppress(OSError):
        while piece := os.read(terminal, 65536):
            printed += piece
    os.close(terminal)
    return None if code is None else Ended(code, printed, given)


def findings(command: Command, folder: Path, ended: Ended) -> list[str]:
    """Everything that is wrong after a run."""
    found = []
    if b"Traceback" in ended.printed or b"Exception ignored" in ended.printed or b"Error:" in ended.printed:
        found.append("a traceback")
    if len(_OURS.findall(ended.printed)) > 1:
        found.append("more than one line about it")
    if ended.printed.rfind(b"\x1b[?25l") > ended.printed.rfind(b"\x1b[?25h"):
        found.append("a hidden cursor")
    # Signals that arrive together are delivered in the order of their numbers.
    if ended.code not in (0, *(128 + each for each in ended.sent)):
        found.append(f"exit code {ended.code}")
    for name in command.lines:
        path = folder / name
        for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
            with contextlib.suppress(ValueError):
                json.loads(line)
                if line.endswith(b"\n"):
                    continue
            found.append(f"a torn line in {name}")
    for name in command.replaced:
        content = (folder / name).read_bytes()
        if content != _old_file(folder, name).read_bytes() and not content.endswith((b"</html>\n", b"}\n", b"\n")):
            found.append(f"half of {name}")
    left = [path.name for path in folder.rglob(".*")]
    if left:
        found.append(f"left over: {left}")
    return found


def _write_old(model: Path, base: Path) -> None:
    """Run every command once, to get the files that later runs replace."""
    old = base / _OLD
    old.mkdir()
    searches = [
        result_line(
            f"How many apples are in box {n}?", [Told((f"In box {n} there are ", f"{n} apples and no more."), f"{n}")]
        )
        for n in range(400)
    ]
    write_lines(base / "searches.jsonl", searches)
    for command in _commands(str(model)):
        (old / "q.tsv").write_text("How many are 1 and 1?\t2\n")
        shutil.copy(base / "searches.jsonl", old)
        number, terminal = _start(command.words, old, forked=True)
        printed = b""
        with contextlib.suppress(OSError):
            while piece := os.read(terminal, 65536):
                printed += piece
        _, status = os.waitpid(number, 0)
        assert status == 0, printed.decode()
        os.close(terminal)


def main() -> None:
    """Run the campaign."""
    campaign = Campaign("interrupted runs", Campaign.parser(__doc__, count=60).parse_args())
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        model = write_tiny(base / "tiny", "qwen2", tokenizer=True, num_hidden_layers=1)
        import marcot.engine.cli.app
        import marcot.engine.engine  # noqa: F401

        _write_old(model, base)
        commands = _commands(str(model))
        for trial in campaign:
            command = commands[trial.number % len(commands)]
            forked = trial.number // len(commands) % 8 > 0
            folder = base / "run"
            folder.mkdir()
            shutil.copy(base / "searches.jsonl", folder)
            _prepare(folder, command)
            ended = attack(command, folder, forked, trial.random)
            what = f"{command.words[0]}, {'forked' if forked else 'of its own'}"
            if ended is None:
                campaign.count("hung")
                campaign.finding(f"{what}: it hangs")
            else:
                campaign.count("finished first" if ended.code == 0 else "interrupted")
                for found in findings(command, folder, ended):
                    campaign.finding(f"{what}: {found}\n{ended.printed[-1500:].decode(errors='replace')!r}")
            shutil.rmtree(folder)
    campaign.end()


if __name__ == "__main__":
    main()
