"""The GPU architectures that kernels are compiled for."""

from __future__ import annotations

from typing import NamedTuple

from marcot.kernels.triton.arch import Arch
from marcot.kernels.triton.tuning import load_tuning
from triton.backends.compiler import GPUTarget


class Target(NamedTuple):
    """A GPU architecture, with one card as its example.

    Attributes:
        arch: The properties that the choice of tiles depends on.
        card: The card whose number of processors is in `arch`.
    """

    arch: Arch
    card: str

    @property
    def name(self) -> str:
        """Name of the architecture, such as `"sm_90"` or `"gfx942"`."""
        return self.arch.name

    @property
    def compiled_for(self) -> GPUTarget:
        """The target as Triton describes it."""
        name = self.name
        number = int(name.removeprefix("sm_")) if self.arch.backend == "cuda" else name
        return GPUTarget(self.arch.backend, number, self.arch.warp)


def _target(backend: str, name: str, warp: int, processors: int, card: str) -> Target:
    """Return the target, with tile shapes measured on a card of this architecture, if there are any."""
    return Target(Arch(backend, name, warp, processors, load_tuning("", name)), card)


# Numbers of processors are from the vendors' data sheets. For RDNA3, ROCm counts work-group processors: two compute
# units each.
TARGETS = {
    target.name: target
    for target in (
        _target("cuda", "sm_80", 32, 108, "A100"),
        _target("cuda", "sm_86", 32, 82, "RTX 3090"),
        _target("cuda", "sm_89", 32, 128, "RTX 4090"),
        _target("cuda", "sm_90", 32, 132, "H100"),
        _target("cuda", "sm_100", 32, 148, "B200"),
        _target("cuda", "sm_120", 32, 170, "RTX 5090"),
        _target("hip", "gfx942", 64, 304, "MI300X"),
        _target("hip", "gfx1100", 32, 48, "RX 7900 XTX"),
    )
}
"""All targets, by name of the architecture."""
