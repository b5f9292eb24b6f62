"""The arithmetic of the clock for GPU ops, on a device that only adds up times."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from bench.gpu.cold_clock import ColdClock


class Device:
    """A device where emptying the cache takes 50 µs, a call as long as the test says, and a replay 7 µs more. It counts
    replays.
    """

    def __init__(self) -> None:
        self.times: dict[Callable[[], object], float] = {self.clear: 50e-6}
        self.replays = 0

    def clear(self) -> None:
        """Stands for the kernel that empties the cache."""

    def replayed(self, calls: Sequence[Callable[[], object]]) -> float:
        self.replays += 1
        return 7e-6 + sum(self.times[call] for call in calls)


@pytest.mark.parametrize("calls", [1, 3, 10])
def test_a_call_is_timed_without_all_around_it(calls: int) -> None:
    device = Device()
    clock = ColdClock(device.replayed, device.clear)

    def call() -> None:
        pass

    device.times[call] = 12.5e-6
    assert clock.seconds(call, calls) == pytest.approx(12.5e-6)
    assert clock.seconds(call, calls) == pytest.approx(12.5e-6)
    assert device.replays == 3, "the graph that only empties the cache is timed once"
