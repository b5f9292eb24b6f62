"""The peak memory of a process."""

from __future__ import annotations

import re
from pathlib import Path


def peak_memory(process: int | str = "self") -> int:
    """Return the peak memory in bytes, including pages of mapped files; 0 if the process has ended.

    `getrusage` is no use here: for a child it reports at least what the parent held when it started the child.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return 0
    peak = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(peak[1]) * 1024 if peak else 0
