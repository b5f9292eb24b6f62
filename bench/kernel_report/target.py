"""The GPUs that kernels are compiled for."""

from __future__ import annotations

from typing import NamedTuple

from marcot.kernels.triton.arch import Arch
from triton.backends.compiler import GPUTarget


class Target(NamedTuple):
    """A kind of GPU.

    Attributes:
        arch: What the choice of tiles depends on.
        card: The card whose number of processors `arch` has.
    """

    arch: Arch
    card: str

    @property
    def name(self) -> str:
        """Of the architecture: `"sm_90"`, `"gfx942"`."""
        return self.arch.name

    @property
    def compiled_for(self) -> GPUTarget:
        """Triton's name of it."""
        backend, name, warp, _ = self.arch
        return GPUTarget(backend, int(name.removeprefix("sm_")) if backend == "cuda" else name, warp)


# Processors as the vendors' data sheets have them. ROCm counts RDNA3's work-group processors: two compute units each.
TARGETS = {
    target.name: target
    for target in (
        Target(Arch("cuda", "sm_80", 32, 108), "A100"),
        Target(Arch("cuda", "sm_86", 32, 82), "RTX 3090"),
        Target(Arch("cuda", "sm_89", 32, 128), "RTX 4090"),
        Target(Arch("cuda", "sm_90", 32, 132), "H100"),
        Target(Arch("cuda", "sm_100", 32, 148), "B200"),
        Target(Arch("cuda", "sm_120", 32, 170), "RTX 5090"),
        Target(Arch("hip", "gfx942", 64, 304), "MI300X"),
        Target(Arch("hip", "gfx1100", 32, 48), "RX 7900 XTX"),
    )
}
"""By the name of the architecture."""
