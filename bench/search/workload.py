"""The work of a run of `make bench-search`."""

from __future__ import annotations

from typing import Final, NamedTuple


class Workload(NamedTuple):
    """The work of a run.

    Attributes:
        questions: The first questions of MGSM, all in flight at once.
        rollouts: Chains per question.
        rollout_tokens: Maximum tokens of a chain.
        rounds: How often it is timed.
        in_flight: Numbers of questions in flight, for the second table.
        in_flight_s: Seconds that each of them is timed.
    """

    questions: int
    rollouts: int
    rollout_tokens: int
    rounds: int
    in_flight: tuple[int, ...]
    in_flight_s: float


FULL: Final = Workload(8, 8, 256, 3, (1, 4, 16, 64), 40.0)
QUICK: Final = Workload(1, 4, 48, 1, (1, 4), 5.0)
"""A small run to try out changes: a few minutes, most of which is loading."""
