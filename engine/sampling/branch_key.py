"""The random key of a branch."""

from __future__ import annotations

_MASK = 2**64 - 1


def branch_key(path_hash: int, seed: int, sample: int) -> int:
    """Philox key of a branch: a signed 64-bit hash of the path that it continues, the seed and its sample index.

    It depends on nothing else, so a draw is the same in any order and any batch.
    """
    key = _mix(_mix(_mix(path_hash) ^ (seed & _MASK)) ^ sample)
    return key - 2**64 if key >= 2**63 else key


def _mix(value: int) -> int:
    """SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
