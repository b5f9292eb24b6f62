"""Compiles kernels ahead of time, for GPUs that this machine does not have."""

from __future__ import annotations

from functools import cache

import triton
from marcot.kernels.triton.variant import Variant
from marcot.kernels.triton.variants import all_variants
from triton.compiler import ASTSource, CompiledKernel

from .binary_cache import binary_of
from .source import fingerprint
from .table import Key, Row
from .target import TARGETS, Target

_ALIGNED = ("tt.divisibility", 16)
_NEAR = ("tt.pointer_range", 32)
_FAR = frozenset({"k_pages", "v_pages"})
"""Arguments whose tensors may be larger than 2 GB."""


def row_of(key: Key) -> Row:
    """Compile a variant, inspect the binary and return its row of the table."""
    variant = variants_for(key.target)[key.variant]
    return Row.of(binary_of(compiled(variant, TARGETS[key.target])), key.target, source_of(variant))


def source_of(variant: Variant) -> str:
    """Return a fingerprint of everything that the binary depends on, except the target."""
    settings = (sorted(variant.signature.items()), sorted(variant.constants.items()), sorted(variant.aligned))
    shape = (variant.num_warps, variant.num_stages, *(() if variant.registers is None else (variant.registers,)))
    return fingerprint(variant.kernel, (triton.__version__, *settings, *shape, sorted(_FAR)))


@cache
def variants_for(target: str) -> dict[str, Variant]:
    """Return all variants that can be launched on the architecture `target`, by name."""
    variants: dict[str, Variant] = {}
    for variant in all_variants(TARGETS[target].arch):
        assert variant.name not in variants, f"two variants are called {variant.name}"
        variants[variant.name] = variant
    return variants


def compiled(variant: Variant, target: Target) -> CompiledKernel:
    """Compile `variant` with `triton.compile`, which returns it from Triton's cache if possible.

    On AMD, Triton checks the size of each tensor at launch, and uses instructions with 32-bit offsets for tensors of up
    to 2 GB. In practice only the KV cache is larger, because all of its layers are one tensor.
    """
    names = variant.kernel.arg_names
    unknown = (variant.signature.keys() | variant.constants.keys()) ^ set(names)
    assert not unknown, f"{variant.name}: {', '.join(sorted(unknown))} is not in both the kernel and the variant"
    facts: dict[str, list[list[object]]] = {name: [list(_ALIGNED)] for name in variant.aligned}
    if target.arch.backend == "hip":
        for name, kind in variant.signature.items():
            if kind.startswith("*") and name not in _FAR:
                facts.setdefault(name, []).append(list(_NEAR))
    source = ASTSource(
        variant.kernel,
        {name: variant.signature.get(name, "constexpr") for name in names},
        {(names.index(name),): value for name, value in variant.constants.items()},
        {(names.index(name),): known for name, known in sorted(facts.items())},
    )
    options = {"num_warps": variant.num_warps, "num_stages": variant.num_stages}
    if variant.registers is not None:
        options["maxnreg"] = variant.registers
    return triton.compile(source, target=target.compiled_for, options=options)
