"""GPU architectures, which decide the launch shapes of kernels."""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton

from .tuning import UNTUNED, TuningTable, load_tuning


class Arch(NamedTuple):
    """A GPU architecture.

    Attributes:
        backend: Triton's name of the compiler's back end, `"cuda"` or `"hip"`.
        name: `"sm_90"`, `"gfx942"`.
        warp: Threads of a warp.
        processors: Streaming multiprocessors, or compute units.
        tuning: Launch shapes that were measured to be faster than the defaults.
    """

    backend: str
    name: str
    warp: int
    processors: int
    tuning: TuningTable = UNTUNED

    @property
    def family(self) -> str:
        """Key of launch shapes: `"cdna"`, `"rdna"`, `"sm_100"`, `"sm_120"`, or `"nvidia"` for older cards of NVIDIA."""
        if self.backend == "hip":
            return "cdna" if self.warp == 64 else "rdna"
        capability = int(self.name.removeprefix("sm_"))
        return "nvidia" if capability < 100 else "sm_100" if capability < 120 else "sm_120"


INTERPRETED = Arch("cuda", "sm_80", 32, 108)
"""The architecture that is assumed in Triton's interpreter on a CPU: an A100."""


def detect_arch(device: torch.device) -> Arch:
    """The architecture of `device`."""
    if device.type == "cpu":
        return INTERPRETED
    properties = torch.cuda.get_device_properties(device)
    target = triton.runtime.driver.active.get_current_target()
    name = target.arch if isinstance(target.arch, str) else f"sm_{target.arch}"
    tuning = load_tuning(properties.name, name)
    return Arch(target.backend, name, target.warp_size, properties.multi_processor_count, tuning)
