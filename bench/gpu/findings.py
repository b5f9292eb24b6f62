"""The findings of `make gpu-check`: each kind of number, with the line that is printed for it."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple


class Check(NamedTuple):
    """A check of numerical error.

    Attributes:
        name: What was compared with what.
        value: The error.
        limit: The largest allowed error.
        why: Where the limit comes from.
    """

    name: str
    value: float
    limit: float
    why: str

    @property
    def right(self) -> bool:
        """Whether the error is within its limit; NaN is not."""
        return self.value <= self.limit

    @property
    def line(self) -> str:
        """The line printed while the command runs."""
        return f"{self.name}: {self.value:.3g}, may be {self.limit:.3g}: {'right' if self.right else 'WRONG'}"


class KernelTiming(NamedTuple):
    """The time of a kernel.

    Attributes:
        op: Name of the op.
        shape: Shape of its inputs.
        seconds: Time of a call on the device.
        moved: Minimum number of bytes that it must read and write.
        operations: Number of floating-point operations.
    """

    op: str
    shape: str
    seconds: float
    moved: float
    operations: float

    @property
    def bandwidth(self) -> float:
        """Bytes per second."""
        return self.moved / self.seconds

    @property
    def speed(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds

    @property
    def line(self) -> str:
        """The line printed while the command runs."""
        return f"{self.op}, {self.shape}: {_us(self.seconds)}"


class Comparison(NamedTuple):
    """The time of a kernel compared with another implementation.

    Attributes:
        op: Name of the op, and its variant.
        shape: Shape of its inputs.
        rows: Number of rows of the call.
        seconds: Time of a call on the device.
        peer: Name of the other implementation.
        peer_seconds: Time of the other implementation.
    """

    op: str
    shape: str
    rows: int
    seconds: float
    peer: str
    peer_seconds: float

    @property
    def ratio(self) -> float:
        """Our time divided by the other's: below 1, ours is faster."""
        return self.seconds / self.peer_seconds

    @property
    def line(self) -> str:
        """The line printed while the command runs."""
        ours, theirs = _us(self.seconds), _us(self.peer_seconds)
        return f"{self.op}, {self.shape}: {ours}, {self.peer} {theirs}: {self.ratio:.2f}x"


class DecodeTiming(NamedTuple):
    """The time of a decode step.

    Attributes:
        contestant: Name of the engine.
        model: Name of the model.
        branches: Number of branches that continue a shared prefix.
        step_s: Seconds of a step, which adds one token to every branch.
        graph_s: Seconds of the recorded graph of the step alone; None if no graph is recorded.
        launches: Number of kernels and copies in the graph.
    """

    contestant: str
    model: str
    branches: int
    step_s: float
    graph_s: float | None = None
    launches: int | None = None

    @property
    def tokens_per_s(self) -> float:
        """Tokens drawn per second, over all branches."""
        return self.branches / self.step_s

    @property
    def outside_s(self) -> float | None:
        """Seconds per step outside the recorded graph, in which the GPU waits for the host; None without a graph."""
        return None if self.graph_s is None else max(self.step_s - self.graph_s, 0.0)

    @property
    def line(self) -> str:
        """The line printed while the command runs."""
        graph = "" if self.graph_s is None else f", graph {self.graph_s * 1e3:.2f} ms, {self.launches} launches"
        step = f"{self.step_s * 1e3:.2f} ms a step{graph}"
        return f"{self.contestant}, {self.model}, {self.branches} branches: {step}, {self.tokens_per_s:,.0f} tokens/s"


class Rate(NamedTuple):
    """Throughput of the whole engine.

    Attributes:
        what: `"prompts"` or `"search"`.
        model: Name of the model.
        rows: Number of branches in flight, or of prompts.
        tokens_per_s: Tokens computed or drawn per second.
    """

    what: Literal["prompts", "search"]
    model: str
    rows: int
    tokens_per_s: float

    @property
    def line(self) -> str:
        """The line printed while the command runs."""
        return f"{self.what}, {self.model}, {self.rows}: {self.tokens_per_s:,.0f} tokens/s"


class ProfileRow(NamedTuple):
    """A kernel's share of a decode step.

    Attributes:
        step: Model and number of branches of the step.
        kernel: Its name in the profiler.
        launches: How often it runs.
        seconds: Total time of these launches.
    """

    step: str
    kernel: str
    launches: int
    seconds: float

    @property
    def line(self) -> str:
        """The line printed while the command runs."""
        return f"{self.step}: {self.kernel[:60]} {self.launches} x, {_us(self.seconds)}"


Finding = Check | KernelTiming | Comparison | DecodeTiming | Rate | ProfileRow


def geometric_mean(ratios: list[float]) -> float:
    """The geometric mean of `ratios`, at least one positive number."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} µs"
