"""The same work in transformers, to compare with."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import InputError
from .timing import Timing, below_prefix, repeated
from .tree_shape import TreeShape

if TYPE_CHECKING:
    from ..engine import Engine


class TransformersPeer:
    """A model of transformers, with its own kernels and caches.

    Branches of one prefix are a batch whose rows have copies of the prefix's cache; making the copies is not timed.
    """

    def __init__(self, checkpoint: Path, engine: Engine, device: torch.device) -> None:
        """Load the folder or GGUF file `checkpoint`; blocks of a GGUF file become dense.

        Raises:
            InputError: transformers is missing, or cannot load it.
        """
        try:
            from transformers import AutoModelForCausalLM
        except ImportError as error:
            raise InputError("--transformers: transformers is not installed: pip install transformers") from error
        whole = checkpoint.is_dir()
        options = {} if whole else {"gguf_file": checkpoint.name}
        dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
        try:
            model: Any = AutoModelForCausalLM.from_pretrained(
                checkpoint if whole else checkpoint.parent, dtype=dtype, **options
            )
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            raise InputError(f"--transformers: {checkpoint}: transformers cannot load it: {error}") from error
        self._model = model.to(device).eval()
        self._device = device
        self._vocab_size = engine.config.vocab_size

    def time_prefill(self, tokens: int, repeat: int) -> Timing:
        """Compute prompts as `time_prefill` does."""

        def once(number: int) -> tuple[int, float]:
            [prompt] = TreeShape((-1,), (tokens,)).paths(self._vocab_size, number)
            started = self._now()
            self._pass([prompt], None)
            return tokens, self._now() - started

        return repeated("prefill", f"{tokens} tokens, transformers", once, repeat)

    def time_decode(self, prefix: int, branches: int, tokens: int, repeat: int) -> Timing:
        """Decode `branches` rows below a prefix, each step the most probable token."""
        [prompt] = TreeShape((-1,), (prefix,)).paths(self._vocab_size, seed=0)
        first, shared = self._pass([prompt], None)

        def once(_: int) -> tuple[int, float]:
            cache = copy.deepcopy(shared)
            cache.batch_repeat_interleave(branches)
            drawn = first.expand(branches)
            started = self._now()
            for _ in range(tokens):
                drawn, cache = self._pass(drawn[:, None], cache)
            return tokens * branches, self._now() - started

        return repeated("decode", f"{below_prefix(prefix, branches)}, transformers", once, repeat)

    @torch.inference_mode()
    def _pass(self, ids: Any, cache: Any) -> tuple[torch.Tensor, Any]:  # noqa: ANN401  (transformers has no types)
        """The most probable token after each row, and the cache that has the rows."""
        rows = torch.as_tensor(ids, device=self._device)
        output = self._model(rows, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return output.logits[:, -1].argmax(dim=-1), output.past_key_values

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
