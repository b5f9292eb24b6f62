"""Chat templates that mean harm, and a process with limits in which they are tried.

Run as a program it tries the templates of a JSON object on its input and writes a line of JSON for each; a template
that takes longer than `SECONDS` of CPU kills the process.
"""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import NamedTuple

SECONDS = 3.0
"""CPU time of one template."""

MEGABYTES = 600
"""Memory that a template may take beyond what the process has when it begins."""

MESSAGES = [
    {"role": "system", "content": "Think step by step."},
    {"role": "user", "content": "How many clips? <b>&'\" 日本 😀", "parts": [1, 2.5, None, True, {"a": "b"}]},
    {"role": "assistant", "content": "Seventy-two.\n\n" * 20},
    {"role": "user", "content": "Why?"},
]


class Outcome(NamedTuple):
    """What became of a template.

    Attributes:
        kind: "refused" when it was loaded, "stopped" when it was rendered, "rendered", or "raw" for any other error.
        text: The error's, or the end of the prompt.
        seconds: CPU time.
    """

    kind: str
    text: str
    seconds: float


def try_all(templates: Mapping[str, str], *, steps: int | None = None) -> dict[str, Outcome]:
    """Try `templates`, by any names, in one process; the one that kills it and those after it have no outcome.

    Args:
        templates: The sources.
        steps: Steps of a rendering instead of the usual number.
    """
    command = [sys.executable, __file__, *([] if steps is None else [str(steps)])]
    ran = subprocess.run(command, input=json.dumps(templates), capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in ran.stdout.splitlines() if line.endswith("]")]
    return {name: Outcome(*outcome) for name, *outcome in lines}


def try_one(source: str) -> Outcome:
    """Try a template in this process."""
    from marcot.model import ChatTemplate, ChatTemplateError

    began = time.process_time()
    kind = "refused"
    try:
        template = ChatTemplate(source, {"bos_token": "<s>"})
        kind = "stopped"
        text = template.render(MESSAGES)
        kind = "rendered"
    except ChatTemplateError as error:
        text = str(error)
    except BaseException as error:
        kind, text = "raw", f"{type(error).__name__}: {error}"
    return Outcome(kind, text if kind != "rendered" else text[-200:], time.process_time() - began)


def _limit() -> None:
    with open("/proc/self/statm") as memory:
        taken = int(memory.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEGABYTES * 2**20, hard))


def main() -> None:
    """Try what is on the input."""
    import marcot.model.chat_template as module

    if sys.argv[1:]:
        module.STEPS = int(sys.argv[1])
    _limit()
    for name, source in json.load(sys.stdin).items():
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # kills, even in the middle of an operation
        print(json.dumps([name, *try_one(source)]), flush=True)


if __name__ == "__main__":
    main()
