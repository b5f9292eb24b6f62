"""FlashInfer, vLLM and SGLang on the same trees, where they are installed.

FlashInfer's attention is timed beside `tree_attention`, and its results are compared with ours. vLLM and SGLang decode
the same branches behind the same prompts; they find shared prefixes in their own caches.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from importlib.util import find_spec
from itertools import accumulate
from typing import Any, Final

import torch
from gpu_card import median_seconds
from gpu_decode import BRANCHES, KV_TOKENS, NEW_TOKENS, PREFIX_TOKENS, timed
from gpu_kernels import SHAPES, Shape, inputs, paged_plan
from gpu_report import Check, DecodeTiming, KernelTiming
from gpu_section import Notebook, SkippedError, Task
from gpu_trees import PagedTree, fan, recorded
from marcot.engine import Engine
from marcot.kernels import Kernels, select
from marcot.model import PAGE_SIZE, locate
from prompt import random_ids
from remote import Remote
from torch import Tensor
from trees import recorded_trees

_ENGINES: Final = {"vllm": "vllm_gpu:Vllm", "sglang": "sglang_gpu:Sglang"}
_WORKSPACE_BYTES = 256 * 2**20

_AGREE = 2e-2
"""Largest difference of two attentions of normal bf16 values: outputs of up to 4 are rounded to 8 bits."""


def run(task: Task) -> None:
    """Time what is installed; what fails is noted, with its traceback, and ends only itself."""
    peers: dict[str, Callable[[Task], None]] = {"flashinfer": _flashinfer}
    peers |= {name: lambda task, name=name: _engine(name, task) for name in _ENGINES}  # type: ignore[misc]
    installed = [name for name in peers if find_spec(name) is not None]
    for name in peers:
        if name not in installed:
            task.notebook.note(f"{name} is not installed")
    if not installed:
        raise SkippedError("no peer is installed")
    if set(installed) & set(_ENGINES):
        _guarded("marcot", lambda: _marcot(task), task.notebook)
    for name in installed:
        _guarded(name, lambda name=name: peers[name](task), task.notebook)  # type: ignore[misc]


def _guarded(name: str, run: Callable[[], None], notebook: Notebook) -> None:
    try:
        run()
    except Exception:
        notebook.note(f"{name} failed:\n{traceback.format_exc()}")
    torch.cuda.empty_cache()


def _flashinfer(task: Task) -> None:
    """Attention of whole trees: per branch, and as a cascade of the root and everything else."""
    device = torch.device(task.device)
    ops = select(device, torch.bfloat16)
    for shape in SHAPES:
        for tree in (*map(fan, (1, 8, 32, 256)), *recorded()):
            _compare(task.notebook, ops, shape, tree, device)


def _compare(notebook: Notebook, ops: Kernels, shape: Shape, tree: PagedTree, device: torch.device) -> None:
    """Our attention and FlashInfer's on one tree."""
    q, k, v = inputs(shape, tree, device)
    plan, scale = paged_plan(ops, shape, tree, device), shape.head_dim**-0.5
    ways: dict[str, Callable[[], Tensor]] = {
        "tree_attention": lambda: ops.tree_attention(q, k, v, plan, scale),
        "FlashInfer, per branch": _per_branch(shape, tree, q, k, v),
        "FlashInfer, cascade": _cascade(shape, tree, q, k, v),
    }
    ours = ways["tree_attention"]().float()
    moved = k.nbytes + v.nbytes + 2 * q.nbytes
    operations = 4 * shape.heads * shape.head_dim * tree.seen
    for name, attend in ways.items():
        off = float((attend().float() - ours).abs().max())
        notebook.add(Check(f"{shape.name}, {tree.name}: {name}", off, _AGREE, "rounding to bf16"))
        notebook.add(KernelTiming(name, f"{shape.name}, {tree.name}", median_seconds(attend), moved, operations))


def _per_branch(shape: Shape, tree: PagedTree, q: Tensor, k: Tensor, v: Tensor) -> Callable[[], Tensor]:
    """Every branch reads its whole path."""
    import flashinfer

    paths = [[page for node in chain for page in tree.pages_of(node)] for chain in tree.chains]
    wrapper = flashinfer.BatchDecodeWithPagedKVCacheWrapper(_workspace(q), "HND", use_tensor_cores=True)
    heads = (shape.heads, shape.kv_heads, shape.head_dim, PAGE_SIZE)
    wrapper.plan(*_table(paths, q), *heads, q_data_type=q.dtype, kv_data_type=k.dtype)
    return lambda: wrapper.run(q, (k, v))


def _cascade(shape: Shape, tree: PagedTree, q: Tensor, k: Tensor, v: Tensor) -> Callable[[], Tensor]:
    """The root is read once for all branches, what is below it once for each."""
    import flashinfer

    rest = [[page for node in chain[1:] for page in tree.pages_of(node)] for chain in tree.chains]
    levels = [_table([tree.pages_of(0)], q), _table(rest, q)]
    rows = len(q)
    queries = [_int32([0, rows], q), _int32(range(rows + 1), q)]
    wrapper = flashinfer.MultiLevelCascadeAttentionWrapper(2, _workspace(q), "HND")
    heads = (shape.heads, shape.kv_heads, shape.head_dim, PAGE_SIZE)
    wrapper.plan(queries, *map(list, zip(*levels, strict=True)), *heads, q_data_type=q.dtype)
    return lambda: wrapper.run(q, (k, v))


def _table(paths: list[list[int]], like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """FlashInfer's page table: where each path begins, its pages, and how full the last one is."""
    begins = [0, *accumulate(map(len, paths))]
    pages = [page for path in paths for page in path]
    return _int32(begins, like), _int32(pages, like), _int32([PAGE_SIZE] * len(paths), like)


def _int32(values: Any, like: Tensor) -> Tensor:
    return torch.tensor(list(values), dtype=torch.int32, device=like.device)


def _workspace(like: Tensor) -> Tensor:
    return torch.zeros(_WORKSPACE_BYTES, dtype=torch.uint8, device=like.device)


def _marcot(task: Task) -> None:
    """The baseline of the engines: branches behind one prefix, and the leaves of recorded trees."""
    engine = Engine.load(task.model, device=task.device, kv_tokens=KV_TOKENS)
    for branches in BRANCHES:
        with engine.prefill(random_ids(PREFIX_TOKENS)) as node:
            task.notebook.add(timed(engine, [node] * branches, "marcot"))
    for tree in recorded_trees():
        nodes = [engine.prefill(path) for path in tree.paths()]
        task.notebook.add(timed(engine, nodes, "marcot, search tree"))
        for node in nodes:
            node.release()


def _engine(name: str, task: Task) -> None:
    """Another engine, in a process of its own."""
    path = locate(task.model)
    if path.suffix == ".gguf":
        task.notebook.note(f"{name} needs a checkpoint folder: give one with MODEL=path")
        return
    with Remote(sys.executable, {}) as remote:
        remote.call("load", peer=_ENGINES[name], model=str(path), packages=[name], options={})
        for branches in BRANCHES:
            remote.call("fork", tokens=PREFIX_TOKENS, branches=branches)
            task.notebook.add(DecodeTiming(name, branches, _seconds(remote) / NEW_TOKENS, None))
        for tree in recorded_trees():
            remote.call("fork_leaves", paths=tree.paths())
            seconds = _seconds(remote) / NEW_TOKENS
            task.notebook.add(DecodeTiming(f"{name}, search tree", len(tree.leaves), seconds, None))


def _seconds(remote: Remote) -> float:
    """Seconds of a round, once another one has compiled, captured and cached everything."""
    remote.call("start", passes=NEW_TOKENS)
    remote.call("decode")
    started = time.perf_counter()
    remote.call("decode")
    return time.perf_counter() - started
