"""A process with limits on time and memory, in which malicious chat templates are tried.

As a program, it reads templates as lines of JSON and writes the outcome of each as another line.
"""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from typing import NamedTuple

SECONDS = 4.0
"""CPU time for loading and rendering a template. An idle machine needs a quarter of it; a template that exceeds it
kills the process.
"""

MEGABYTES = 500
"""Memory for a template, in addition to what the process takes at the start."""

MESSAGES = [
    {"role": "system", "content": "Think step by step."},
    {"role": "user", "content": "How many clips? <b>&'\" 日本 😀", "parts": [1, 2.5, None, True, {"a": "b"}]},
    {"role": "assistant", "content": "Seventy-two.\n\n" * 20},
    {"role": "user", "content": "Why?"},
]


class Outcome(NamedTuple):
    """The outcome of a template.

    Attributes:
        kind: "refused" while loading, "stopped" while rendering, "rendered", "raw" for an unexpected error, or
            "killed" by a limit.
        text: The text of the error, or the end of the prompt.
        seconds: CPU time.
    """

    kind: str
    text: str
    seconds: float

    @property
    def is_clean(self) -> bool:
        """Whether it is a prompt, or an error that a user can read."""
        if self.kind in ("refused", "stopped"):
            return self.text.isprintable() and 15 < len(self.text) < 400
        return self.kind == "rendered"


class Victim:
    """A process that tries templates. If a template kills it, another one is started.

    Args:
        steps: Limit on the steps of a rendering, instead of the usual one.
    """

    def __init__(self, steps: int | None = None) -> None:
        self._command = [sys.executable, __file__, *([] if steps is None else [str(steps)])]
        self._process: subprocess.Popen[str] | None = None

    def attack(self, source: str) -> Outcome:
        """Load and render a template in the process."""
        if self._process is None:
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(source) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if answer:
            return Outcome(*json.loads(answer))
        _, complaint = self._process.communicate()
        code, self._process = self._process.returncode, None
        return Outcome("killed", f"exit code {code} {complaint[-500:]}", SECONDS)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.communicate()


def _try(source: str) -> Outcome:
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
        kind = "raw" if isinstance(error.__cause__, MemoryError) and kind == "stopped" else kind
    except BaseException as error:
        kind, text = "raw", f"{type(error).__name__}: {error}"
    return Outcome(kind, text[-200:] if kind == "rendered" else text, time.process_time() - began)


def _limit_memory() -> None:
    with open("/proc/self/statm") as memory:
        taken = int(memory.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEGABYTES * 2**20, hard))


def main() -> None:
    """Try the templates on standard input."""
    import marcot.model.template.chat_template as module

    if sys.argv[1:]:
        module.STEPS = int(sys.argv[1])
    _limit_memory()
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # the limit kills even in the middle of an operation
        print(json.dumps(_try(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
