"""marcot's op set: one signature per op, several implementations.

This file must import nothing from outside its own folder and define no `__version__`: `transformers` probes for a
PyPI package called `kernels`, finds this folder when Python runs from the repository's root, and must not take it for
that package.
"""

from .blocks import BlockTensor, Weight
from .errors import MarcotError, NonFiniteError
from .ops import (
    MAX_TOP_K,
    MOST_LOGIT,
    Compute,
    Draw,
    FusedLayers,
    HeadNorms,
    HeadTopK,
    Kernels,
    KVScales,
    LayerWeights,
    PackedLinear,
    RoundState,
    Sampled,
    SampleParams,
)
from .plan import Plan, Tile, Tiles, Tiling, WorkItem
from .select import select

__all__ = [
    "MAX_TOP_K",
    "MOST_LOGIT",
    "BlockTensor",
    "Compute",
    "Draw",
    "FusedLayers",
    "HeadNorms",
    "HeadTopK",
    "KVScales",
    "Kernels",
    "LayerWeights",
    "MarcotError",
    "NonFiniteError",
    "PackedLinear",
    "Plan",
    "RoundState",
    "SampleParams",
    "Sampled",
    "Tile",
    "Tiles",
    "Tiling",
    "Weight",
    "WorkItem",
    "select",
]
