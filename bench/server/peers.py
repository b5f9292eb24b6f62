"""The server's speed beside that of `llama-server`, with the same model, prompts and clients.

The user provides the program, flags included: `LLAMA_SERVER="/path/to/llama-server -fa on"`.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from typing import Any

from marcot.engine.server.serve import run_in_loop
from marcot.kernels.programs import find_program

from .child import free_port, served, started
from .streams import OWN_TOKENS, SHARED_TOKENS, TOKENS, Streams, prompts, through_server

TURNS = 3
"""Number of timed turns; each runs both servers with both kinds of prompts."""

_KINDS = {"own prompts": False, "shared prefix": True}
"""Kinds of prompts, and whether they share a prefix."""

_ROOM = 64
"""Tokens of a slot of `llama-server` besides the prefix and the new tokens."""


def peers(command: str, model: str, threads: int, streams: int) -> dict[str, Any]:
    """Time the server and `command` alternately."""
    port = free_port()
    turns: defaultdict[tuple[str, str], list[Streams]] = defaultdict(list)
    with served(model, threads) as ours, started(_words(command, model, threads, streams, port), port) as theirs:
        theirs.wait()
        for server in (ours, theirs):  # first requests are slower
            run_in_loop(through_server(server.url, prompts(2, TURNS)))
        for turn in range(TURNS):
            for kind, shared in _KINDS.items():
                for name, server in (("marcot", ours), ("llama-server", theirs)):
                    before = server.cpu_s
                    through = run_in_loop(through_server(server.url, prompts(streams, turn, shared=shared)))
                    turns[kind, name].append(through._replace(cpu_s=server.cpu_s - before))
        ours.end()
    found: dict[str, Any] = {"command": command.replace(shlex.split(command)[0], "llama-server")}
    found |= {"streams": streams, "turns": TURNS}
    for (kind, name), each in turns.items():
        found.setdefault(kind, {})[name] = Streams.median(each)._asdict()
    return found


def sentences(found: dict[str, Any]) -> list[str]:
    """How the server compares with the other, for each kind of prompts."""
    lines = []
    for kind in _KINDS:
        ours, theirs = found[kind]["marcot"], found[kind]["llama-server"]
        lines.append(
            f"{kind}: {ours['tokens_per_s'] / theirs['tokens_per_s']:.2f} times the tokens per second of llama-server, "
            f"first text after {ours['first_s'] / theirs['first_s']:.2f} times its time"
        )
    return lines


def _words(command: str, model: str, threads: int, streams: int, port: int) -> list[str]:
    program, *flags = shlex.split(command)
    slot = max(SHARED_TOKENS, OWN_TOKENS) + TOKENS + _ROOM
    words = [find_program(program) or program, *flags, "-m", model, "-t", str(threads), "-np", str(streams)]
    return [*words, "-c", str(slot * streams), "--host", "127.0.0.1", "--port", str(port)]
