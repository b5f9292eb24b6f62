"""Compiles kernels for GPUs that are not there."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import triton
from binary_cache import binary_of
from gpu_target import TARGETS, Target
from kernel_source import fingerprint
from kernel_table import Key, Row
from marcot.kernels.triton.variant import Variant
from marcot.kernels.triton.variants import all_variants
from triton.compiler import ASTSource

_ALIGNED = ("tt.divisibility", 16)
_NEAR = ("tt.pointer_range", 32)


class Build(NamedTuple):
    """A variant as it is compiled.

    Attributes:
        variant: The variant.
        near: Whether no tensor has more than 2 GB. On AMD, Triton looks at that in a launch, tensor by tensor, and then
            uses instructions with 32-bit offsets. We build what comes of all of them being small, and of none.
    """

    variant: Variant
    near: bool

    @property
    def name(self) -> str:
        """Of the variant, and how it is built where there is a choice."""
        return f"{self.variant.name} near" if self.near else self.variant.name

    @property
    def source(self) -> str:
        """Fingerprint of all that the binary depends on, but the target."""
        variant, near = self
        settings = (sorted(variant.signature.items()), sorted(variant.constants.items()), sorted(variant.aligned))
        return fingerprint(variant.kernel, (triton.__version__, *settings, variant.num_warps, variant.num_stages, near))


def row_of(key: Key) -> Row:
    """Compile a build and look at the binary."""
    build = builds_for(key.target)[key.variant]
    return Row.of(binary_of(compiled(build, TARGETS[key.target])), key.target, build.source)


@cache
def builds_for(target: str) -> dict[str, Build]:
    """Everything that can be launched on the architecture `target`, by name."""
    builds: dict[str, Build] = {}
    arch = TARGETS[target].arch
    for variant in all_variants(arch):
        for near in (False, True) if arch.backend == "hip" else (False,):
            build = Build(variant, near)
            assert build.name not in builds, f"two variants are called {build.name}"
            builds[build.name] = build
    return builds


def compiled(build: Build, target: Target) -> Any:
    """What `triton.compile` makes of `build`, or has made of it before."""
    variant = build.variant
    names = variant.kernel.arg_names
    unknown = (variant.signature.keys() | variant.constants.keys()) ^ set(names)
    assert not unknown, f"{variant.name}: {', '.join(sorted(unknown))} is not in both the kernel and the variant"
    facts: dict[str, list[list[object]]] = {name: [list(_ALIGNED)] for name in variant.aligned}
    if build.near:
        for name, kind in variant.signature.items():
            if kind.startswith("*"):
                facts.setdefault(name, []).append(list(_NEAR))
    source = ASTSource(
        variant.kernel,
        {name: variant.signature.get(name, "constexpr") for name in names},
        {(names.index(name),): value for name, value in variant.constants.items()},
        {(names.index(name),): known for name, known in sorted(facts.items())},
    )
    options = {"num_warps": variant.num_warps, "num_stages": variant.num_stages}
    return triton.compile(source, target=target.compiled_for, options=options)
