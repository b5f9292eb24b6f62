"""Programs that some tests need and pip cannot install. Run this file to print their Debian packages.

It imports only the standard library, so that it runs before anything is installed.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterable

PACKAGES = {
    "g++": "g++",
    "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu",
    "qemu-aarch64": "qemu-user",
    "dot": "graphviz",
    "chromium": "chromium",
}
"""Programs, and the Debian and Ubuntu packages that contain them."""


def why_skipped(*programs: str) -> str:
    """The reason for skipping a test because `programs` are missing; `summary` reads it."""
    return f"needs {', '.join(programs)}"


def missing(*programs: str) -> str | None:
    """Why a test that needs all of `programs` is skipped, or None if they are installed."""
    absent = [program for program in programs if not shutil.which(program)]
    return why_skipped(*absent) if absent else None


def summary(reasons: Iterable[str]) -> list[str]:
    """A line for each program that skipped tests needed, with the package to install.

    Args:
        reasons: Why tests were skipped, one for each test.
    """
    counts: Counter[str] = Counter()
    for reason in reasons:
        named = re.search(r"needs ([\w+, -]+)", reason)
        counts.update(program for program in (named[1].split(", ") if named else ()) if program in PACKAGES)
    return [
        f"{count} tests were skipped for want of {program} (Debian, Ubuntu: apt install {PACKAGES[program]})"
        for program, count in counts.most_common()
    ]


if __name__ == "__main__":
    print(*PACKAGES.values())
