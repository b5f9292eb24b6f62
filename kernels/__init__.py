"""marcot's op set: one signature per op, several implementations. docs/kernels.md shows how to use it as a library.

This file must import nothing from outside its own folder and define no `__version__`: `transformers` probes for a
PyPI package called `kernels`, finds this folder when Python runs from the repository's root, and must not take it for
that package.
"""

from .blocks import BlockTensor, Weight
from .errors import KernelArgumentError, KernelsUnavailableError, MarcotError, NonFiniteError
from .functional import PackedHead, TreePlan, lm_head_topk, pack_head, plan_tree, store_kv, tree_attention
from .layer_weights import Compute, FusedLayers, HeadNorms, KVScales, LayerWeights, PackedLinear
from .ops import Kernels
from .plan import PAGE_SIZE, Plan, Tile, Tiles, Tiling, WorkItem
from .plan.kv_segment import KVSegment
from .plan.page_table import segments_of_pages
from .sampling import MAX_TOP_K, MOST_LOGIT, Draw, HeadTopK, RoundState, Sampled, SampleParams
from .select import select

__all__ = [
    "MAX_TOP_K",
    "MOST_LOGIT",
    "PAGE_SIZE",
    "BlockTensor",
    "Compute",
    "Draw",
    "FusedLayers",
    "HeadNorms",
    "HeadTopK",
    "KVScales",
    "KVSegment",
    "KernelArgumentError",
    "Kernels",
    "KernelsUnavailableError",
    "LayerWeights",
    "MarcotError",
    "NonFiniteError",
    "PackedHead",
    "PackedLinear",
    "Plan",
    "RoundState",
    "SampleParams",
    "Sampled",
    "Tile",
    "Tiles",
    "Tiling",
    "TreePlan",
    "Weight",
    "WorkItem",
    "lm_head_topk",
    "pack_head",
    "plan_tree",
    "segments_of_pages",
    "select",
    "store_kv",
    "tree_attention",
]
