"""vLLM's offline interface on marcot's engine: the classes that search scripts import from `vllm`.

Run such a script unchanged with `python -m marcot.engine.adapters.vllm SCRIPT [ARGUMENTS]`, or call `register` before
its imports; both make this package importable as `vllm`.
"""

from __future__ import annotations

from .inputs import TextPrompt, TokensPrompt
from .llm import LLM
from .outputs import CompletionOutput, Logprob, RequestOutput
from .registration import register
from .sampling_params import SamplingParams

__all__ = [
    "LLM",
    "CompletionOutput",
    "Logprob",
    "RequestOutput",
    "SamplingParams",
    "TextPrompt",
    "TokensPrompt",
    "register",
]
