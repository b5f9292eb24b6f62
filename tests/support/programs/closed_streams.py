"""Run `search` with any of the standard streams closed, and other commands with all closed; print JSON lines.

    python closed_streams.py MODEL FOLDER

Each run is a fork of a process that has imported everything; new programs would take minutes.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

STREAMS = ("stdin", "stdout", "stderr")
ALL = [choice for size in (1, 2, 3) for choice in itertools.combinations(range(3), size)]


def commands(model: str, searches: str) -> dict[str, Sequence[str]]:
    """The command lines, by name."""
    tiny = ("--model", model, "--threads", "1")
    short = ("--rollouts", "1", "--max-rollout-tokens", "4")
    parameters = ("--strategy", "greedy", "--set", "max_rollout_tokens=4")
    return {
        "search": ("search", *tiny, *short, "--out", "out.jsonl", "--tree", "tree.json", "How many?"),
        "generate": ("generate", *tiny, "--max-tokens", "4", "How many?"),
        "score": ("score", *tiny, "How many?"),
        "models": ("models",),
        "eval": ("eval", *tiny, "--input", "mgsm:en:1-1", *parameters, "--out", "runs"),
        "compare": ("compare", *tiny, "--questions", "1-1", *parameters, "--out", "report.json"),
        "dataset": ("dataset", searches, "--out", "data", "--tokenizer", "none"),
    }


def run(words: Sequence[str], closed: Sequence[int], folder: Path) -> int:
    """Run a command in a fork, in `folder`; its output goes to the files `stdout` and `stderr` there."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 70
    try:
        os.chdir(folder)
        for number, name in enumerate(STREAMS):
            os.close(number)
            stream = None
            if number not in closed:
                opened = os.open(name, os.O_RDWR | os.O_CREAT)
                os.dup2(opened, number)
                os.close(opened) if opened != number else None
                stream = os.fdopen(number, "w" if number else "r", closefd=False)
            setattr(sys, name, stream)
        for number in closed:  # opening the other streams may have reused this number
            os.close(number) if os.path.exists(f"/proc/self/fd/{number}") else None
        sys.argv = ["marcot", *words]
        from marcot.engine.cli.program import main

        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        for name in STREAMS[1:]:
            getattr(sys, name).flush()
    finally:
        os._exit(code)


def main() -> None:
    """Run all commands."""
    import marcot.engine
    import marcot.engine.cli.app
    import marcot.engine.engine  # noqa: F401

    model, base = sys.argv[1], Path(sys.argv[2])
    for name, words in commands(model, str(base / "searches.jsonl")).items():
        for closed in ALL if name == "search" else ALL[-1:]:
            folder = base / f"{name}-{''.join(map(str, closed))}"
            folder.mkdir()
            code = run(words, closed, folder)
            print(json.dumps({"command": name, "closed": closed, "folder": str(folder), "code": code}), flush=True)


if __name__ == "__main__":
    main()
