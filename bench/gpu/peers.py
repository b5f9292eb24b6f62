"""Decode timings of vLLM and SGLang on the same branches and trees, if they are installed.

They continue the same prompts with as many branches, and find shared prefixes in their own caches. Since each needs its
own version of torch, they may be installed for another interpreter, named by the environment variable BENCH_PYTHON.
"""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import torch

from ..common.recorded_trees import recorded_trees
from ..common.remote import Remote
from ..cpu.lineup import PYTHON_VARIABLE
from .engine_times import PREFIX_TOKENS, SHORT, BranchTimes
from .findings import DecodeTiming
from .models import Model
from .section import Notebook, SkippedError, Task
from .sections.decode import BRANCHES, KV_TOKENS

_ENGINES: Final = {"vllm": "vllm_gpu:Vllm", "sglang": "sglang_gpu:Sglang"}
_ROUNDS, _NEW_TOKENS = 3, 24


def run(task: Task) -> None:
    """Time the engines that are installed; if one fails, its traceback is noted and the others still run."""
    installed = [name for name in _ENGINES if _is_installed(name)]
    for name in _ENGINES:
        if name not in installed:
            task.notebook.note(f"{name} is not installed")
    if not installed:
        raise SkippedError("no peer is installed")
    with TemporaryDirectory() as folder:
        for model in task.models:
            path = model.checkpoint(Path(folder) / model.name.replace("/", "_"), task.device)
            _guarded("marcot", partial(_marcot, task, model), task.notebook)
            for name in installed:
                _guarded(name, partial(_engine, name, task, model.name, path), task.notebook)


def _engine_python() -> str:
    """Path of the Python interpreter that the engines are installed for."""
    return os.environ.get(PYTHON_VARIABLE) or sys.executable


def _is_installed(name: str) -> bool:
    if _engine_python() == sys.executable:
        return find_spec(name) is not None
    look = "import sys; from importlib.util import find_spec; sys.exit(find_spec(sys.argv[1]) is None)"
    return subprocess.run([_engine_python(), "-c", look, name], check=False).returncode == 0


def _guarded(name: str, run: Callable[[], None], notebook: Notebook) -> bool:
    """Run `run` and note its error; returns whether it succeeded."""
    try:
        run()
    except Exception:
        notebook.note(f"{name} failed:\n{traceback.format_exc()}")
        return False
    finally:
        gc.collect()  # other engines claim a share of all GPU memory
        torch.cuda.empty_cache()
    return True


def _marcot(task: Task, model: Model) -> None:
    """Time marcot on the leaves of recorded trees; the section `decode` times branches of one prefix."""
    engine = model.engine(task.device, KV_TOKENS)
    for tree in recorded_trees():
        nodes = [engine.prefill(path) for path in tree.paths()]
        times = BranchTimes(engine)
        times.draw(nodes, SHORT)
        task.notebook.add(DecodeTiming("marcot, search tree", model.name, len(nodes), times.step_seconds(nodes)))
        for node in nodes:
            node.release()


def _engine(name: str, task: Task, model: str, path: Path) -> None:
    """Time another engine, in a separate process."""
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
            task.notebook.add(DecodeTiming(name, model, branches, _step_seconds(remote)))
        for tree in recorded_trees():
            remote.call("fork_leaves", paths=tree.paths())
            rows = len(tree.leaves)
            task.notebook.add(DecodeTiming(f"{name}, search tree", model, rows, _step_seconds(remote)))


def _step_seconds(remote: Remote) -> float:
    """Seconds per token of a round, without its first token, which includes the work done once per prompt.

    The first pair of rounds does not count: it compiles kernels, captures graphs and fills caches.
    """
    long, short = _NEW_TOKENS, 1
    pairs = [_round(remote, long) - _round(remote, short) for _ in range(1 + _ROUNDS)]
    return statistics.median(pairs[1:]) / (long - short)


def _round(remote: Remote, tokens: int) -> float:
    """Seconds that a round takes, until its tokens are on the host."""
    remote.call("start", passes=tokens)
    started = time.perf_counter()
    remote.call("decode")
    return time.perf_counter() - started
