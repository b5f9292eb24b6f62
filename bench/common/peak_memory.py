"""The most memory that a process has held at once."""

from __future__ import annotations

import re
from pathlib import Path


def peak_memory(process: int | str = "self") -> int:
    """Bytes, pages of mapped files included; 0 where the process has ended.

    What `getrusage` says of a child is no less than what its parent held when it was started, so it is not used.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return 0
    peak = re.search(r"VmHWM:\s*(\d+) kB", status)
    return int(peak[1]) * 1024 if peak else 0
