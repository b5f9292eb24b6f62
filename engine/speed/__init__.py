"""Measures how fast an engine is on a user's own checkpoint and device."""

from .machine import describe
from .timing import Timing, below_prefix, time_decode, time_prefill, time_search
from .transformers_peer import TransformersPeer
from .tree_shape import TreeShape, read_tree_shape

__all__ = [
    "Timing",
    "TransformersPeer",
    "TreeShape",
    "below_prefix",
    "describe",
    "read_tree_shape",
    "time_decode",
    "time_prefill",
    "time_search",
]
