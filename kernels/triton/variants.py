"""Every binary that the GPU kernels can launch."""

from __future__ import annotations

from collections.abc import Iterator

from .arch import Arch
from .linear import linear_variants
from .lm_head_topk import lm_head_variants
from .rms_norm import rms_norm_variants
from .rope_store import rope_store_variants
from .silu_mul import silu_mul_variants
from .tree_attention import tree_attention_variants
from .variant import Variant


def all_variants(arch: Arch) -> Iterator[Variant]:
    """Those of all ops on `arch`; no two of them have the same name."""
    yield from tree_attention_variants(arch)
    yield from lm_head_variants(arch)
    yield from linear_variants(arch)
    yield from rms_norm_variants(arch)
    yield from rope_store_variants(arch)
    yield from silu_mul_variants(arch)
