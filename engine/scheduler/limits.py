"""Limits on the size of a step of the scheduler."""

from __future__ import annotations

from typing import NamedTuple, Self

from ...model import ROUND_TOKENS, Decoder

_GPU_STEP_TOKENS = 8192
"""Maximum rows of a step on a GPU: enough to make matrix products compute-bound and launch overhead negligible."""

_SHARE_OF_ACTIVATIONS = 0.5
"""Share of the memory left by weights and KV cache that activations may use; recorded CUDA graphs and plans need the
rest."""


class SchedulerLimits(NamedTuple):
    """Limits on the size of a step.

    Attributes:
        step_tokens: Maximum rows of a forward pass; decoding branches come first, prefill chunks get what is left.
        prefill_tokens: Maximum rows of prompts and scores in a step in which branches also decode, because the
            branches wait for the whole step. On a CPU, chunks of 64 to 256 rows take less time per row than chunks of
            512 (7 % less on the 0.5B).
        requests: Maximum requests that run at the same time; further ones wait.
        round_tokens: Maximum tokens that a branch draws in one round, when all requests only decode; at most
            `ROUND_TOKENS`.
    """

    step_tokens: int = 512
    prefill_tokens: int = 128
    requests: int = 256
    round_tokens: int = ROUND_TOKENS

    @classmethod
    def of(cls, decoder: Decoder, memory: int) -> Self:
        """The default limits for the device of `decoder`.

        Args:
            decoder: The model.
            memory: Free memory of the device, in bytes, after weights and KV cache.
        """
        config = decoder.config
        if decoder.kernels.tiling(config.num_heads, config.num_kv_heads) is None:
            return cls()
        fitting = int(memory * _SHARE_OF_ACTIVATIONS) // decoder.row_bytes
        step_tokens = min(max(fitting, cls().step_tokens), _GPU_STEP_TOKENS)
        return cls(step_tokens=step_tokens, prefill_tokens=step_tokens)
