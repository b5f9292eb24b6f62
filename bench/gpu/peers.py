"""FlashInfer, vLLM and SGLang on the same trees, where they are installed.

FlashInfer's attention is timed beside `tree_attention`, and its results are compared with ours. vLLM and SGLang decode
the same branches behind the same prompts; they find shared prefixes in their own caches. They may be installed for
another interpreter, which the environment variable BENCH_PYTHON names: each wants a torch of its own.
"""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from itertools import accumulate
from typing import Final

import torch
from marcot.engine import Engine
from marcot.kernels import Kernels, select
from marcot.model import PAGE_SIZE, locate
from torch import Tensor

from ..common.prompt import random_ids
from ..common.recorded_trees import recorded_trees
from ..common.remote import Remote
from ..cpu.lineup import PYTHON_VARIABLE
from .card import median_seconds
from .decode import BRANCHES, KV_TOKENS, NEW_TOKENS, PREFIX_TOKENS, timed
from .kernel_times import SHAPES, Shape, inputs, planned
from .report import Check, DecodeTiming, KernelTiming
from .section import Notebook, SkippedError, Task
from .trees import PagedTree, fan, recorded

_ENGINES: Final = {"vllm": "vllm_gpu:Vllm", "sglang": "sglang_gpu:Sglang"}
_ROUNDS = 3
_WORKSPACE_BYTES = 256 * 2**20

_Way = Callable[[Shape, PagedTree, Tensor, Tensor, Tensor], Callable[[], Tensor]]
"""Makes what attends to a tree, of a model's shape, the tree, Q, K and V."""

_AGREE = 2e-2
"""Largest difference of two attentions of normal bf16 values: outputs of up to 4 are rounded to 8 bits."""


def run(task: Task) -> None:
    """Time what is installed; what fails is noted, with its traceback, and ends only itself."""
    peers: dict[str, Callable[[Task], None]] = {"flashinfer": _flashinfer}
    peers |= {name: lambda task, name=name: _engine(name, task) for name in _ENGINES}  # type: ignore[misc]
    installed = [name for name in peers if _is_installed(name)]
    for name in peers:
        if name not in installed:
            task.notebook.note(f"{name} is not installed")
    if not installed:
        raise SkippedError("no peer is installed")
    if set(installed) & set(_ENGINES):
        _guarded("marcot", lambda: _marcot(task), task.notebook)
    for name in installed:
        _guarded(name, lambda name=name: peers[name](task), task.notebook)  # type: ignore[misc]


def _engine_python() -> str:
    """The interpreter of the engines; FlashInfer is called from this one."""
    return os.environ.get(PYTHON_VARIABLE) or sys.executable


def _is_installed(name: str) -> bool:
    if name not in _ENGINES or _engine_python() == sys.executable:
        return find_spec(name) is not None
    look = "import sys; from importlib.util import find_spec; sys.exit(find_spec(sys.argv[1]) is None)"
    return subprocess.run([_engine_python(), "-c", look, name], check=False).returncode == 0


def _guarded(name: str, run: Callable[[], None], notebook: Notebook) -> bool:
    """Whether `run` came to its end; its error is noted."""
    try:
        run()
    except Exception:
        notebook.note(f"{name} failed:\n{traceback.format_exc()}")
        return False
    finally:
        gc.collect()  # the engines of others ask for a share of the whole memory
        torch.cuda.empty_cache()
    return True


def _flashinfer(task: Task) -> None:
    """Attention of whole trees: per branch, and as a cascade of the root and everything else."""
    device = torch.device(task.device)
    ops = select(device, torch.bfloat16)
    ways: dict[str, _Way] = {"FlashInfer, per branch": _per_branch, "FlashInfer, cascade": _cascade}
    for shape in SHAPES:
        for tree in (*map(fan, (1, 8, 32, 256)), *recorded()):
            _compare(task.notebook, ops, shape, tree, device, ways)


def _compare(
    notebook: Notebook, ops: Kernels, shape: Shape, tree: PagedTree, device: torch.device, ways: dict[str, _Way]
) -> None:
    """Our attention and FlashInfer's on one tree; a way that fails is taken out of `ways`."""
    q, k, v = inputs(shape, tree, device)
    (plan, leaves), scale = planned(ops, shape, tree, k), shape.head_dim**-0.5
    in_order = q[leaves]
    what, operations = f"{shape.name}, {tree.name}", 4 * shape.heads * shape.head_dim * tree.seen

    def timed_as(name: str, attend: Callable[[], Tensor]) -> None:
        moved = k.nbytes + v.nbytes + 2 * q.nbytes
        notebook.add(KernelTiming(name, what, median_seconds(attend), moved, operations))

    def compare(name: str, way: _Way) -> None:
        attend = way(shape, tree, q, k, v)
        off = float((attend().float() - expected).abs().max())
        notebook.add(Check(f"{what}: {name}", off, _AGREE, "rounding to bf16"))
        timed_as(name, attend)

    expected = torch.empty_like(q, dtype=torch.float32)
    expected[leaves] = ops.tree_attention(in_order, k, v, plan, scale).float()
    timed_as("tree_attention", lambda: ops.tree_attention(in_order, k, v, plan, scale))
    for name, way in list(ways.items()):
        if not _guarded(name, lambda name=name, way=way: compare(name, way), notebook):  # type: ignore[misc]
            del ways[name]


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


def _int32(values: Iterable[int], like: Tensor) -> Tensor:
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
    python = _engine_python()
    with Remote(python, {}) as remote:
        loaded = remote.call("load", peer=_ENGINES[name], model=str(path), packages=[name, "torch"], options={})
        versions = ", ".join(f"{package} {version}" for package, version in loaded["versions"].items())
        task.notebook.note(f"{versions} in {python}, loaded in {loaded['seconds']:.0f} s")
        for branches in BRANCHES:
            remote.call("fork", tokens=PREFIX_TOKENS, branches=branches)
            task.notebook.add(DecodeTiming(name, branches, _step_seconds(remote), None))
        for tree in recorded_trees():
            remote.call("fork_leaves", paths=tree.paths())
            task.notebook.add(DecodeTiming(f"{name}, search tree", len(tree.leaves), _step_seconds(remote), None))


def _step_seconds(remote: Remote) -> float:
    """Seconds per token of a round beyond its first token, which includes all that an engine does once per prompt.

    The first round of either length does not count: it compiles, captures and caches.
    """
    long, short = (NEW_TOKENS, 1)
    pairs = [_round(remote, long) - _round(remote, short) for _ in range(1 + _ROUNDS)]
    return statistics.median(pairs[1:]) / (long - short)


def _round(remote: Remote, tokens: int) -> float:
    """Seconds of a round; it ends when its tokens are on the host."""
    remote.call("start", passes=tokens)
    started = time.perf_counter()
    remote.call("decode")
    return time.perf_counter() - started
