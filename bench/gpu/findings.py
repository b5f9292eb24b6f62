"""What sections of `make gpu-check` find: each kind of number, and its line for who watches."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple


class Check(NamedTuple):
    """A number that may be wrong.

    Attributes:
        name: What was compared with what.
        value: How far it is off.
        limit: How far it may be.
        why: Where the limit comes from.
    """

    name: str
    value: float
    limit: float
    why: str

    @property
    def right(self) -> bool:
        """Whether it is within its limit; NaN is not."""
        return self.value <= self.limit

    @property
    def line(self) -> str:
        """For who watches."""
        return f"{self.name}: {self.value:.3g}, may be {self.limit:.3g}: {'right' if self.right else 'WRONG'}"


class KernelTiming(NamedTuple):
    """How fast a kernel was.

    Attributes:
        op: Name of the op.
        shape: What it was given.
        seconds: Of a call, on the device.
        moved: Bytes that it cannot avoid to read and write.
        operations: Floating-point operations.
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
        """For who watches."""
        return f"{self.op}, {self.shape}: {_us(self.seconds)}"


class Comparison(NamedTuple):
    """How fast a kernel was beside another way to the same end.

    Attributes:
        op: Name of the op, and what is special about it.
        shape: What it was given.
        rows: Rows of the call.
        seconds: Of a call, on the device.
        peer: The other way.
        peer_seconds: Its time.
    """

    op: str
    shape: str
    rows: int
    seconds: float
    peer: str
    peer_seconds: float

    @property
    def ratio(self) -> float:
        """Ours over the other's: below 1 is faster."""
        return self.seconds / self.peer_seconds

    @property
    def line(self) -> str:
        """For who watches."""
        ours, theirs = _us(self.seconds), _us(self.peer_seconds)
        return f"{self.op}, {self.shape}: {ours}, {self.peer} {theirs}: {self.ratio:.2f}x"


class DecodeTiming(NamedTuple):
    """How fast tokens were drawn.

    Attributes:
        contestant: Who drew them.
        model: What drew them.
        branches: Branches that continue a shared prefix.
        step_s: Seconds of a step, which takes every branch one token further.
        graph_s: Seconds of the recorded step alone, without anything around it; None where nothing is recorded.
        launches: Kernels and copies of the recorded step.
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
        """Seconds of a step in which the GPU waits for the host: what a round takes beside its steps, per step."""
        return None if self.graph_s is None else max(self.step_s - self.graph_s, 0.0)

    @property
    def line(self) -> str:
        """For who watches."""
        graph = "" if self.graph_s is None else f", graph {self.graph_s * 1e3:.2f} ms, {self.launches} launches"
        step = f"{self.step_s * 1e3:.2f} ms a step{graph}"
        return f"{self.contestant}, {self.model}, {self.branches} branches: {step}, {self.tokens_per_s:,.0f} tokens/s"


class Rate(NamedTuple):
    """Tokens per second of something whole.

    Attributes:
        what: `"prompts"` or `"search"`.
        model: What computed them.
        rows: Branches in flight, or prompts.
        tokens_per_s: Computed or drawn.
    """

    what: Literal["prompts", "search"]
    model: str
    rows: int
    tokens_per_s: float

    @property
    def line(self) -> str:
        """For who watches."""
        return f"{self.what}, {self.model}, {self.rows}: {self.tokens_per_s:,.0f} tokens/s"


class ProfileRow(NamedTuple):
    """A kernel's part of a decode step.

    Attributes:
        step: Which step.
        kernel: As the profiler calls it.
        launches: How often it runs.
        seconds: All of them together.
    """

    step: str
    kernel: str
    launches: int
    seconds: float

    @property
    def line(self) -> str:
        """For who watches."""
        return f"{self.step}: {self.kernel[:60]} {self.launches} x, {_us(self.seconds)}"


Finding = Check | KernelTiming | Comparison | DecodeTiming | Rate | ProfileRow


def geometric_mean(ratios: list[float]) -> float:
    """Of positive numbers, at least one."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} µs"
