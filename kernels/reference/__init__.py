"""The specification: every op in plain torch, short and obviously correct. Runs on any device."""

import torch

from .advance import advance
from .fuse import fuse
from .linear import embed, linear, pack_linear
from .lm_head_topk import lm_head_topk
from .rms_norm import rms_norm
from .rope_store import rope_store
from .sample import sample
from .silu_mul import silu_mul
from .tiling import tiling
from .tree_attention import tree_attention

name = "reference"
keys_by_dim = False
fast_is_faster = False
deterministic = False
fp8_dtype = torch.float8_e4m3fn

__all__ = [
    "advance",
    "deterministic",
    "embed",
    "fast_is_faster",
    "fp8_dtype",
    "fuse",
    "keys_by_dim",
    "linear",
    "lm_head_topk",
    "name",
    "pack_linear",
    "rms_norm",
    "rope_store",
    "sample",
    "silu_mul",
    "tiling",
    "tree_attention",
]
