"""What a test run says about programs that are missing."""

from __future__ import annotations

import sys

import pytest
from support.programs import system_tools


def test_what_is_here_is_not_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(sys.prefix) + "/bin")
    assert system_tools.missing("python") is None
    assert system_tools.missing("python", "dot", "qemu-aarch64") == "needs dot, qemu-aarch64"


def test_a_line_for_each_program_says_what_to_install() -> None:
    reasons = ["Skipped: needs dot"] * 2 + ["Skipped: needs aarch64-linux-gnu-g++, qemu-aarch64"] * 3
    assert system_tools.summary([*reasons, "Skipped: its flags are those of x86", "Skipped: needs patience"]) == [
        "3 tests were skipped for want of aarch64-linux-gnu-g++ (Debian, Ubuntu: apt install g++-aarch64-linux-gnu)",
        "3 tests were skipped for want of qemu-aarch64 (Debian, Ubuntu: apt install qemu-user)",
        "2 tests were skipped for want of dot (Debian, Ubuntu: apt install graphviz)",
    ]


def test_nothing_is_said_where_nothing_was_skipped() -> None:
    assert system_tools.summary([]) == []
