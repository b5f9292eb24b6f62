"""The server's speed beside that of other servers, with the same model, prompts and clients.

The user provides their commands, flags included: `LLAMA_SERVER="/path/to/llama-server -fa on"` reads the same file, and
`VLLM_SERVER="/path/to/python -m vllm.entrypoints.openai.api_server --model /path/to/checkpoint"` another form of it.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from marcot.engine.server.serve import run_in_loop
from marcot.kernels.programs import find_program

from .child import ServerProcess, free_port, served, started
from .streams import OWN_TOKENS, SHARED_TOKENS, TOKENS, Streams, prompts, through_server

TURNS: Final = 3
"""Number of timed turns; each runs all servers with both kinds of prompts."""

_KINDS: Final = {"own prompts": False, "shared prefix": True}
"""Kinds of prompts, and whether they share a prefix."""

_SLOT: Final = max(SHARED_TOKENS, OWN_TOKENS) + TOKENS + 64
"""Tokens that a stream has room for: its prompt, its new tokens, and some to spare."""

MARCOT, LLAMA, VLLM = "marcot", "llama-server", "vLLM"


def peers(commands: Mapping[str, str], model: str, threads: int, streams: int) -> dict[str, Any]:
    """Time the server and those of `commands` alternately.

    Args:
        commands: By `LLAMA` or `VLLM`, the command that starts it.
        model: The checkpoint that marcot and llama-server read. vLLM's command names its own.
        threads: Threads of each server; vLLM takes as many as there are cores.
        streams: Concurrent streams.
    """
    turns: defaultdict[tuple[str, str], list[Streams]] = defaultdict(list)
    with ExitStack() as held:
        ours = held.enter_context(served(model, threads))
        servers: dict[str, ServerProcess] = {MARCOT: ours}
        for name, command in commands.items():
            port = free_port()
            words = [*_words(name, command, model, threads, streams), "--host", "127.0.0.1", "--port", str(port)]
            servers[name] = held.enter_context(started(words, port))
        for server in servers.values():
            server.wait()
            run_in_loop(through_server(server.url, prompts(2, TURNS)))  # first requests are slower
        for turn in range(TURNS):
            for kind, shared in _KINDS.items():
                for name, server in servers.items():
                    before = server.cpu_s
                    through = run_in_loop(through_server(server.url, prompts(streams, turn, shared=shared)))
                    turns[kind, name].append(through._replace(cpu_s=server.cpu_s - before))
        ours.end()
    found: dict[str, Any] = {"commands": {name: _public(command) for name, command in commands.items()}}
    found |= {"streams": streams, "turns": TURNS}
    for (kind, name), each in turns.items():
        found.setdefault(kind, {})[name] = Streams.median(each)._asdict()
    return found


def sentences(found: Mapping[str, Any]) -> list[str]:
    """How the server compares with the others, for each kind of prompts."""
    lines = []
    for kind in _KINDS:
        ours = found[kind][MARCOT]
        for name in found["commands"]:
            theirs = found[kind][name]
            lines.append(
                f"{kind}: {ours['tokens_per_s'] / theirs['tokens_per_s']:.2f} times the tokens per second of {name}, "
                f"first text after {ours['first_s'] / theirs['first_s']:.2f} times its time"
            )
    return lines


def _words(name: str, command: str, model: str, threads: int, streams: int) -> Sequence[str]:
    """The words that start a server with room for `streams` streams."""
    program, *flags = shlex.split(command)
    words = [find_program(program) or program, *flags]
    if name == VLLM:
        return [*words, "--max-num-seqs", str(streams), "--max-model-len", str(_SLOT)]
    return [*words, "-m", model, "-t", str(threads), "-np", str(streams), "-c", str(_SLOT * streams)]


def _public(command: str) -> str:
    """The command with file names instead of paths."""
    return shlex.join(Path(word).name if "/" in word else word for word in shlex.split(command))
