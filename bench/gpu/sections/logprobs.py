"""Whole-model log-probabilities on the GPU against the CPU reference and against transformers.

The ground truth is the reference in fp32 on the CPU. In fp32 the GPU adds the same numbers in a different order, which
may change results by at most `EXACT`. In bf16 and fp16 every op rounds its result, and the error depends on the model's
depth and the text, so it is compared with that of transformers, which rounds as often, on the same GPU, text and dtype.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from marcot.engine import Engine, Expansion, Node, Sampling
from marcot.kernels import Kernels, reference
from marcot.model import Decoder, load_checkpoint
from numpy.typing import NDArray

from ...common.prompt import random_ids
from ..findings import Check
from ..section import Notebook, Task

EXACT = 1e-3
"""Largest allowed difference in fp32, due to a different order of summation. On the 135M model, transformers and the
CPU kernels are within 4e-5 of the reference."""

WORSE, SLACK = 1.5, 5e-4
"""A mean error may be at most `WORSE` times that of transformers plus `SLACK`, since both are noise: over 15 tiny
random models the errors of `reference` were 0.90 to 1.20 times theirs in bf16, and 0.87 to 1.21 times in fp16."""

_TEXT = (
    "Natalia sold 48 clips in April, and then she sold half as many clips in May: 48 / 2 = 24, so 72 altogether.\n\n"
    "def add(first: int, second: int) -> int:\n    return first + second\n\n小明有三个苹果，又买了五个。\n\n"
    "A library has 3 shelves with 24 books each. It lends out 19 books and gets 7 of them back. To determine how many "
    "books are on the shelves now, we multiply, subtract and add: 3 * 24 = 72, 72 - 19 = 53, 53 + 7 = 60."
)
_KV_TOKENS = 4096
_LAYERS = 4
"""Number of layers of a random model; few, because the reference runs in fp32 on the CPU."""

_BRANCHES, _NEW_TOKENS = 5, 12

Logprobs = NDArray[np.float32]


def run(task: Task) -> None:
    """Compare prefill and decoding of the first model, with and without graphs, in three dtypes."""
    with TemporaryDirectory() as folder:
        _compare(task, task.models[0].checkpoint(Path(folder), task.device, _LAYERS))


def _compare(task: Task, path: Path) -> None:
    truth = _reference(path)
    ids = _ids(truth)
    [exact] = truth.score([ids])
    expected = exact.logprobs[1:]
    theirs = _Transformers(path, ids, task.device)
    _add(task.notebook, "transformers fp32, largest", theirs.error(torch.float32, expected, np.max), EXACT)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        name = str(dtype).removeprefix("torch.")
        limit, why = EXACT, "sums in another order"
        largest = dtype == torch.float32
        if not largest:
            yardstick = theirs.error(dtype, expected, np.mean)
            limit, why = WORSE * yardstick + SLACK, f"{WORSE} x {yardstick:.3g} of transformers + {SLACK}"
        measure = np.max if largest else np.mean
        kind = "largest" if largest else "mean"
        engine = Engine.load(str(path), device=task.device, dtype=name, compute="exact", kv_tokens=_KV_TOKENS)
        [score] = engine.score([ids])
        difference = float(measure(np.abs(score.logprobs[1:] - expected)))
        _add(task.notebook, f"prefill {name}, {kind}", difference, limit, why)
        for graphs in (True, False):
            off = _decoding(engine, truth, ids, graphs, task.notebook)
            how = "graphs" if graphs else "no graphs"
            _add(task.notebook, f"decode {name}, {how}, {kind}", float(measure(off)), limit, why)
        del engine
        torch.cuda.empty_cache()


def _add(notebook: Notebook, name: str, value: float, limit: float, why: str = "sums in another order") -> None:
    notebook.add(Check(name, value, limit, why))


def _reference(path: Path) -> Engine:
    """An engine on the reference kernels, in fp32 on the CPU."""
    kernels: Kernels = reference  # type: ignore[assignment]
    with load_checkpoint(path) as checkpoint:
        decoder = Decoder(checkpoint, kernels, torch.float32, torch.device("cpu"))
        return Engine(decoder, checkpoint.tokenizer(), _KV_TOKENS)


def _ids(engine: Engine) -> list[int]:
    return engine.tokenizer.encode(_TEXT) if engine.tokenizer else random_ids(160)


def _decoding(engine: Engine, truth: Engine, ids: Sequence[int], graphs: bool, notebook: Notebook) -> Logprobs:
    """Absolute errors of the log-probabilities of drawn tokens.

    The tokens are those of branches of one prompt, and of branches of the first two branches.
    """
    step_runner = engine._scheduler._step_runner
    kept = step_runner._graphs
    if not graphs:
        step_runner._graphs = None
    elif kept is None:
        notebook.add(Check("decoding has no CUDA graphs", 1, 0, "a GPU must have them"))
    sampling = Sampling(temperature=1.0, top_k=20, top_p=1.0, max_tokens=_NEW_TOKENS, ignore_eos=True, seed=1)
    try:
        children = engine.expand(engine.prefill(ids), _BRANCHES, sampling)
        below = engine.expand([Expansion(child, 2, sampling) for child in children[:2]])
    finally:
        step_runner._graphs = kept
    if graphs and kept is not None and not kept.works:
        notebook.add(Check("recording CUDA graphs fails", 1, 0, "see the messages on stderr"))
    leaves: list[Node] = [*children, *(node for family in below for node in family)]
    scores = truth.score([leaf.path_ids for leaf in leaves])
    pairs = zip(leaves, scores, strict=True)
    return np.concatenate([np.abs(leaf.logprobs - score.logprobs[-len(leaf.logprobs) :]) for leaf, score in pairs])


class _Transformers:
    """The model in transformers on the GPU, loaded only once because decoding a GGUF file takes it a minute."""

    def __init__(self, path: Path, ids: list[int], device: str) -> None:
        from transformers import AutoModelForCausalLM

        torch.backends.cuda.matmul.allow_tf32 = False
        found = (path.parent, {"gguf_file": path.name}) if path.suffix == ".gguf" else (path, {})
        self._model = AutoModelForCausalLM.from_pretrained(found[0], dtype=torch.float32, **found[1])
        self._ids = torch.tensor([ids], device=device)
        self._device = device

    @torch.inference_mode()
    def error(self, dtype: torch.dtype, expected: Logprobs, measure: Callable[[Logprobs], np.floating[Any]]) -> float:
        """`measure` of the absolute differences from `expected` in `dtype`; logits are normalised in fp64."""
        model: torch.nn.Module = copy.deepcopy(self._model)
        model.to(self._device, dtype)
        logprobs = model(self._ids).logits[0, :-1].double().log_softmax(dim=-1)
        got = logprobs.gather(1, self._ids[0, 1:, None])[:, 0].float().cpu().numpy()
        del model
        torch.cuda.empty_cache()
        return float(measure(np.abs(got - expected)))
