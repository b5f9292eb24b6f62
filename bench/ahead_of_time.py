"""Compiles kernels for GPUs that are not there."""

from __future__ import annotations

from functools import cache
from typing import Any

import triton
from binary_cache import binary_of
from gpu_target import TARGETS, Target
from kernel_table import Key, Row
from marcot.kernels.triton.variant import Variant
from marcot.kernels.triton.variants import all_variants
from triton.compiler import ASTSource


def row_of(key: Key) -> Row:
    """Compile a variant and look at the binary."""
    return Row.of(binary_of(compiled(variants_for(key.target)[key.variant], TARGETS[key.target])), key.target)


@cache
def variants_for(target: str) -> dict[str, Variant]:
    """Every variant of the architecture `target`, by name."""
    variants: dict[str, Variant] = {}
    for variant in all_variants(TARGETS[target].arch):
        assert variant.name not in variants, f"two variants are called {variant.name}"
        variants[variant.name] = variant
    return variants


def compiled(variant: Variant, target: Target) -> Any:
    """What `triton.compile` makes of `variant`, or has made of it before."""
    names = variant.kernel.arg_names
    unknown = (variant.signature.keys() | variant.constants.keys()) ^ set(names)
    assert not unknown, f"{variant.name}: {', '.join(sorted(unknown))} is not in both the kernel and the variant"
    source = ASTSource(
        variant.kernel,
        {name: variant.signature.get(name, "constexpr") for name in names},
        {(names.index(name),): value for name, value in variant.constants.items()},
        {(names.index(name),): [["tt.divisibility", 16]] for name in variant.aligned},
    )
    options = {"num_warps": variant.num_warps, "num_stages": variant.num_stages}
    return triton.compile(source, target=target.compiled_for, options=options)
