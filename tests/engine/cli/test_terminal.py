"""What a search leaves on the terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

CONTROL = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|(\r\n|\n)|(\r)|([^\x1b\r\n]+)")


def run_on_terminal(command: list[str]) -> str:
    """Run `command` with all three streams on a terminal; return everything it wrote there."""
    main, side = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdin=side, stdout=side, stderr=side, env=environment)
    os.close(side)
    sent = b""
    while True:
        try:
            piece = os.read(main, 65536)
        except OSError:  # Linux reports the end of a terminal's other side this way
            break
        if not piece:
            break
        sent += piece
    os.close(main)
    assert process.wait() == 0
    return sent.decode()


def screen(sent: str) -> list[str]:
    """The lines that a terminal shows after receiving `sent`: a minimal emulator, enough for rich."""
    lines, row = [""], 0
    overwrite = False
    for numbers, letter, newline, carriage_return, text in CONTROL.findall(sent):
        if newline:
            row += 1
            lines += [""] * (row + 1 - len(lines))
            overwrite = False
        elif carriage_return:
            overwrite = True
        elif text:
            lines[row] = text if overwrite else lines[row] + text
            overwrite = False
        elif letter == "A":
            row = max(row - int(numbers or 1), 0)
        elif letter == "K":
            lines[row] = ""
    return lines


def test_live_table_comes_and_goes_and_the_report_stays_whole(talker: Path) -> None:
    # The table is drawn four times a second, so the search has to take longer than that.
    options = ["--rollouts", "200", "--vote-margin", "0", "--max-rollout-tokens", "60", "--action", "mini-step-8"]
    command = [sys.executable, "-m", "marcot.engine.cli", "search", "--model", str(talker), *options]
    sent = run_on_terminal([*command, "How many clips?"])
    assert re.search(r"\d+/200", sent), "the table was shown"
    shown = screen(sent)
    assert not any("/200" in line for line in shown), "and taken away"
    text = "\n".join(shown)
    report = [
        text.find(part) for part in ("loaded ", "answer ", "confidence ", "best chain", "tree: ", "200 rollouts, ")
    ]
    assert -1 not in report
    assert report == sorted(report)


def test_two_questions_leave_two_lines(talker: Path, tmp_path: Path) -> None:
    questions = tmp_path / "questions.txt"
    questions.write_text("One?\nTwo?\n", encoding="utf-8")
    command = [sys.executable, "-m", "marcot.engine.cli", "search", "--model", str(talker), "--rollouts", "2"]
    shown = screen(run_on_terminal([*command, "--max-rollout-tokens", "40", "--input", str(questions)]))
    assert sorted(line[-4:] for line in shown if "\t" in line) == ["One?", "Two?"]


def test_a_sample_is_printed_while_it_is_drawn(talker: Path) -> None:
    command = [sys.executable, "-m", "marcot.engine.cli", "generate", "--model", str(talker), "--max-tokens", "40"]
    live = run_on_terminal([*command, "--ignore-eos", "--temperature", "1.5", "How?"])
    whole = run_on_terminal([*command, "--ignore-eos", "--temperature", "1.5", "--no-stream", "How?"])
    assert screen(live)[-2:] == screen(whole)[-2:]
