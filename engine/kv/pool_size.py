"""Chooses the size of the KV pool."""

from __future__ import annotations

import os

import torch

from ...model import PAGE_SIZE, Decoder, KVCache
from ..checking import check_integer, shown
from ..errors import InputError

_KV_SHARE_OF_MEMORY = {"cpu": 0.25, "cuda": 0.8}
"""The default pool takes at most this share of the machine's memory, or of a GPU's free memory after the weights."""

_PAGE_OVERHEAD = 48
"""Bytes that the list of free pages takes per page: an integer and a list entry (measured: 40), and room to grow."""

_DEFAULT_KV_TOKENS = 131_072
"""Maximum size of the default pool in tokens: enough for dozens of trees of a few thousand tokens each."""


def check_kv_tokens(kv_tokens: object) -> int:
    """`kv_tokens` as an int, if it is at least one page.

    Raises:
        InputError: It is not.
    """
    tokens = check_integer("kv_tokens", kv_tokens, "an integer or None")
    if tokens < PAGE_SIZE:
        raise InputError(f"kv_tokens={shown(tokens)}: the KV pool must hold at least one page of {PAGE_SIZE} tokens")
    return tokens


def free_memory(device: torch.device) -> int:
    """Bytes of a GPU's free memory, or of all the machine's memory if `device` is the CPU."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def pool_pages(decoder: Decoder, dtype: torch.dtype, kv_tokens: int | None) -> int:
    """Number of pages of a pool for `kv_tokens` tokens, or for as many as fit in a share of the memory.

    Args:
        decoder: The model.
        dtype: Storage type of K and V.
        kv_tokens: Size of the pool, or None.

    Raises:
        InputError: `kv_tokens` is less than a page, or more than the memory holds.
    """
    token_bytes, memory = KVCache.token_bytes(decoder.config, dtype), free_memory(decoder.device)
    if kv_tokens is None:
        fitting = int(memory * _KV_SHARE_OF_MEMORY[decoder.device.type]) // token_bytes
        tokens = max(min(fitting, _DEFAULT_KV_TOKENS), PAGE_SIZE)
    else:
        tokens = check_kv_tokens(kv_tokens)
    if decoder.device.type == "cpu":
        token_bytes += _PAGE_OVERHEAD // PAGE_SIZE
    most = memory // token_bytes
    if tokens > most:
        raise InputError(
            f"kv_tokens={shown(tokens)}: they need {shown(tokens * token_bytes // 10**9)} GB, but there are only "
            f"{memory / 1e9:,.1f} GB: ask for at most {most}, or fewer to leave room for the weights"
        )
    return tokens // PAGE_SIZE
