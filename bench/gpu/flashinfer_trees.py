"""FlashInfer's attention over a tree, in two ways: per branch, and as a cascade of the root and everything below it.

FlashInfer compiles its kernels on first use, which takes minutes. Run as a program, this module compiles those of one
way and shape: `python -m bench.gpu.flashinfer_trees "FlashInfer, cascade" 7B`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from itertools import accumulate
from typing import Final

import torch
from marcot.model import PAGE_SIZE
from torch import Tensor

from .peer_build import PeerBuild
from .sections.kernel_times import SHAPES, Shape, inputs
from .trees import PagedTree, fan

_WORKSPACE_BYTES = 256 * 2**20

Way = Callable[[Shape, PagedTree, Tensor, Tensor, Tensor], Callable[[], Tensor]]
"""Takes a model's shape, the tree, Q, K and V; returns a function that runs attention over the tree."""


def is_installed() -> bool:
    """Whether FlashInfer can be imported."""
    return find_spec("flashinfer") is not None


def start_build() -> PeerBuild | None:
    """Start compiling each way for each shape; None if FlashInfer is not installed.

    Using a way before it is compiled waits for FlashInfer's own locks.
    """
    if not is_installed():
        return None
    command = [sys.executable, "-m", "bench.gpu.flashinfer_trees"]
    return PeerBuild({way: [[*command, way, shape.name] for shape in SHAPES] for way in WAYS})


def per_branch(shape: Shape, tree: PagedTree, q: Tensor, k: Tensor, v: Tensor) -> Callable[[], Tensor]:
    """Every branch reads its whole path."""
    import flashinfer

    paths = [[page for node in chain for page in tree.pages_of(node)] for chain in tree.chains]
    wrapper = flashinfer.BatchDecodeWithPagedKVCacheWrapper(_workspace(q), "HND", use_tensor_cores=True)
    heads = (shape.heads, shape.kv_heads, shape.head_dim, PAGE_SIZE)
    wrapper.plan(*_table(paths, q), *heads, q_data_type=q.dtype, kv_data_type=k.dtype)
    return lambda: wrapper.run(q, (k, v))


def cascade(shape: Shape, tree: PagedTree, q: Tensor, k: Tensor, v: Tensor) -> Callable[[], Tensor]:
    """The root is read once for all branches, the rest of each path once per branch."""
    import flashinfer

    rest = [[page for node in chain[1:] for page in tree.pages_of(node)] for chain in tree.chains]
    levels = [_table([tree.pages_of(0)], q), _table(rest, q)]
    rows = len(q)
    queries = [_int32([0, rows], q), _int32(range(rows + 1), q)]
    wrapper = flashinfer.MultiLevelCascadeAttentionWrapper(2, _workspace(q), "HND")
    heads = (shape.heads, shape.kv_heads, shape.head_dim, PAGE_SIZE)
    wrapper.plan(queries, *map(list, zip(*levels, strict=True)), *heads, q_data_type=q.dtype)
    return lambda: wrapper.run(q, (k, v))


WAYS: Final[Mapping[str, Way]] = {"FlashInfer, per branch": per_branch, "FlashInfer, cascade": cascade}


def _table(paths: list[list[int]], like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """FlashInfer's page table: the start of each path, all pages, and the number of tokens in each last page."""
    begins = [0, *accumulate(map(len, paths))]
    pages = [page for path in paths for page in path]
    return _int32(begins, like), _int32(pages, like), _int32([PAGE_SIZE] * len(paths), like)


def _int32(values: Iterable[int], like: Tensor) -> Tensor:
    return torch.tensor(list(values), dtype=torch.int32, device=like.device)


def _workspace(like: Tensor) -> Tensor:
    return torch.zeros(_WORKSPACE_BYTES, dtype=torch.uint8, device=like.device)


def build(way: str, shape_name: str) -> None:
    """Run a way on a small tree of a shape, which compiles its kernels."""
    [shape] = [shape for shape in SHAPES if shape.name == shape_name]
    tree = fan(2)
    WAYS[way](shape, tree, *inputs(shape, tree, torch.device("cuda")))()


if __name__ == "__main__":
    build(*sys.argv[1:])
