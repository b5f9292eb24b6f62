"""Every binary that the GPU kernels can launch."""

from __future__ import annotations

from collections.abc import Iterator

from .arch import Arch
from .attention.tree_attention import tree_attention_variants
from .linear.embed import embed_variants
from .linear.linear import linear_variants
from .lm_head.lm_head_topk import lm_head_variants
from .rms_norm import rms_norm_variants
from .rope_store import rope_store_variants
from .sample import sample_variants
from .silu_mul import silu_mul_variants
from .variant import Variant


def all_variants(arch: Arch) -> Iterator[Variant]:
    """The binaries of all ops on `arch` in fp16 and bf16. Each has a unique name.

    fp32 is left out: it is for tests, and does not run on the tensor cores that the kernels are made for.
    """
    for variants in _OPS:
        yield from variants(arch)


_OPS = (
    tree_attention_variants,
    lm_head_variants,
    linear_variants,
    embed_variants,
    rms_norm_variants,
    rope_store_variants,
    silu_mul_variants,
    sample_variants,
)
