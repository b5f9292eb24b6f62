"""Times the same work in transformers, for comparison."""

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
    """The same checkpoint in transformers, with its own kernels and KV cache.

    The branches below a prefix are a batch in which each row has a copy of the prefix's cache; copying is not timed.
    """

    def __init__(self, checkpoint: Path, engine: Engine, device: torch.device) -> None:
        """Load the folder or GGUF file `checkpoint`; quantised blocks of a GGUF file become dense.

        Raises:
            InputError: transformers is not installed, or cannot load the checkpoint.
        """
        try:
            from transformers import AutoModelForCausalLM
        except ImportError as error:
            raise InputError("transformers is not installed: pip install transformers") from error
        is_folder = checkpoint.is_dir()
        options = {} if is_folder else {"gguf_file": checkpoint.name}
        dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
        try:
            model: Any = AutoModelForCausalLM.from_pretrained(
                checkpoint if is_folder else checkpoint.parent, dtype=dtype, **options
            )
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            raise InputError(f"{checkpoint}: transformers cannot load it: {error}") from error
        self._model = model.to(device).eval()
        self._device = device
        self._vocab_size = engine.config.vocab_size

    def time_prefill(self, tokens: int, repeat: int) -> Timing:
        """Time the prefill of the same prompts as `timing.time_prefill`."""

        def once(number: int) -> tuple[int, float]:
            [prompt] = TreeShape((-1,), (tokens,)).paths(self._vocab_size, number)
            started = self._now()
            self._pass([prompt], None)
            return tokens, self._now() - started

        return repeated("prefill", f"{tokens} tokens, transformers", once, repeat)

    def time_decode(self, prefix: int, branches: int, tokens: int, repeat: int) -> Timing:
        """Time greedy decoding of `branches` rows below a prefix of `prefix` tokens."""
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
        """Run a forward pass; return the most probable next token of each row, and the extended cache."""
        rows = torch.as_tensor(ids, device=self._device)
        output = self._model(rows, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return output.logits[:, -1].argmax(dim=-1), output.past_key_values

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
