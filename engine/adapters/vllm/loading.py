"""Loads an engine with the arguments of vLLM's `LLM`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from inspect import signature
from os import PathLike

from ...engine import Engine
from ...errors import InputError

_DTYPES = {"half": "float16", "float": "float32"}

_IGNORED = frozenset(
    {
        "block_size",
        "cpu_offload_gb",
        "data_parallel_size",
        "disable_custom_all_reduce",
        "disable_log_stats",
        "distributed_executor_backend",
        "enable_chunked_prefill",
        "enable_prefix_caching",
        "enforce_eager",
        "gpu_memory_utilization",
        "load_format",
        "max_logprobs",
        "max_num_batched_tokens",
        "max_num_seqs",
        "max_seq_len_to_capture",
        "num_scheduler_steps",
        "pipeline_parallel_size",
        "swap_space",
        "tensor_parallel_size",
        "tokenizer_mode",
        "trust_remote_code",
        "use_v2_block_manager",
    }
)
"""Options about vLLM's memory, batches, processes and loaders: marcot has one process, sizes itself, and always shares
prefixes."""


def load_engine(
    model: str | PathLike[str] | Engine, dtype: str, revision: str | None, options: Mapping[str, object]
) -> Engine:
    """The engine for `LLM(model, dtype=dtype, revision=revision, **options)`.

    Raises:
        InputError: An option is refused.
        MarcotError: The model cannot be loaded.
    """
    kept = {name: value for name, value in options.items() if value is not None and name not in _IGNORED}
    if kept.get("task") in ("auto", "generate"):
        del kept["task"]
    if unknown := sorted(kept.keys() - _engine_options()):
        raise InputError(f"LLM({', '.join(unknown)}=...): marcot has no such option; it generates text only")
    if isinstance(model, Engine):
        return model
    name = model if revision is None else f"{model}@{revision}"
    return Engine.load(name, dtype=_DTYPES.get(dtype, dtype), **kept)  # type: ignore[arg-type]  # it checks them


@cache
def _engine_options() -> frozenset[str]:
    return frozenset(signature(Engine.load).parameters) - {"model", "dtype"}
