"""The child process in which an engine is measured. It reads one JSON object per line and answers each with another.

`{"do": NAME, ...}` calls the command NAME with the other members as arguments. The answer is `{"result": ...}`, or
`{"error": TEXT, "missing": MODULE or null, "explained": BOOLEAN}`, where the last says that the text is a message of
marcot to the user, which needs no traceback. Anything that libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from .peak_memory import peak_memory
from .prompt import random_ids


class Child:
    """Runs one peer engine. Its public methods are the commands."""

    def load(self, peer: str, model: str, packages: list[str], options: dict[str, Any]) -> dict[str, Any]:
        """Import `peer` ("module:Class" in `bench.peers`) and load `model`; return load seconds and versions."""
        module, _, name = peer.partition(":")
        engine = getattr(import_module(f"bench.peers.{module}"), name)
        start = time.perf_counter()
        self._peer = engine(Path(model), **options)
        seconds = time.perf_counter() - start
        self._prompts = 0
        return {"seconds": seconds, "versions": {package: metadata.version(package) for package in packages}}

    def probe(self, peer: str) -> None:
        """Import `peer` and do nothing else, to detect missing packages before a model is converted for it."""
        import_module("bench.peers." + peer.partition(":")[0])

    def prefill(self, tokens: int) -> None:
        """Compute a prompt of `tokens` tokens that is in no cache."""
        self._prompts += 1
        self._peer.prefill(random_ids(tokens, self._prompts))

    def fork(self, tokens: int, branches: int) -> None:
        """Compute a prefix of `tokens` tokens, to be continued by `branches` branches."""
        self._peer.fork(random_ids(tokens), branches)

    def fork_leaves(self, paths: list[list[int]]) -> None:
        """Compute all paths, each to be continued by one branch."""
        self._peer.fork_leaves(paths)

    def first_token(self, tokens: int) -> None:
        """Compute a prompt and draw a token."""
        self._peer.first_token(random_ids(tokens))

    def facts(self) -> dict[str, Any]:
        """Return what the peer reports about itself, such as the size of its weights."""
        facts: dict[str, Any] = self._peer.facts()
        return facts

    def overhead(self, passes: int) -> float:
        """Return the fraction of a round that is spent outside of kernels."""
        return float(self._peer.overhead(passes))

    def start(self, passes: int) -> None:
        """Prepare a round."""
        self._peer.start(passes)

    def decode(self) -> None:
        """Run the round."""
        self._peer.decode()

    def peak_memory(self) -> int:
        """Return the peak memory of this process in bytes, including pages of mapped files."""
        return peak_memory()


def main() -> None:
    """Run a peer of `make bench-cpu`."""
    answer_with(Child)


def answer_with(commands: Callable[[], object]) -> None:
    """Answer requests until standard input ends, by calling the methods of the object that `commands()` returns."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    child = commands()
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = {"result": getattr(child, command.pop("do"))(**command)}
        except Exception as error:
            traceback.print_exc()
            answer = {
                "error": f"{type(error).__name__}: {error}",
                "missing": error.name if isinstance(error, ModuleNotFoundError) else None,
                "explained": hasattr(error, "exit_code"),  # a `MarcotError`; the interpreter may have no marcot
            }
        print(json.dumps(answer), file=answers, flush=True)
