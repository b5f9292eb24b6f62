"""llama.cpp through the low-level interface of llama-cpp-python: one context, one sequence per branch."""

from __future__ import annotations

import ctypes
from pathlib import Path

import llama_cpp
import numpy as np
import torch

from .draw import draw
from .peer import Peer

_CONTEXT = 4096
"""Cells of the unified cache: enough for a prompt of 2,048 tokens, or a prefix of 512 and 64 branches of 17 tokens."""

_MAX_BRANCHES = 64
_FLASH_ATTENTION_ON = 1


class LlamaCpp(Peer):
    """llama.cpp. The prompt is computed as sequence 0, which `llama_memory_seq_cp` shares with the other sequences."""

    def __init__(self, model: Path, threads: int) -> None:
        torch.set_num_threads(threads)
        self._quiet = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self._quiet, None)
        llama_cpp.llama_backend_init()
        self._model = llama_cpp.llama_model_load_from_file(str(model).encode(), llama_cpp.llama_model_default_params())
        if not self._model:
            raise RuntimeError(f"llama.cpp cannot read {model.name}")
        self._vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self._threads = threads
        self._open_context(_CONTEXT, _MAX_BRANCHES)
        self._prefix: list[int] = []

    def _open_context(self, tokens: int, sequences: int) -> None:
        """Make an empty context for `tokens` tokens of at most `sequences` sequences."""
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_seq_max, params.kv_unified = tokens, sequences, True
        params.n_batch, params.n_ubatch = 2048, 512
        params.n_threads = params.n_threads_batch = self._threads
        params.flash_attn_type = _FLASH_ATTENTION_ON
        params.no_perf = True
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise RuntimeError("llama.cpp cannot create a context with flash attention for this model")
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = llama_cpp.llama_batch_init(tokens, 0, 1)

    def prefill(self, ids: list[int]) -> None:
        self._prefix = []
        llama_cpp.llama_memory_clear(self._memory, False)
        self._run_prompt(ids)

    def fork(self, prefix: list[int], branches: int) -> None:
        if prefix == self._prefix:
            self.start(0)
        else:
            llama_cpp.llama_memory_clear(self._memory, False)
            self._logits = self._run_prompt(prefix).clone()
            self._prefix, self._branches = prefix, 1
        for sequence in range(1, self._branches):
            llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        for sequence in range(1, branches):
            llama_cpp.llama_memory_seq_cp(self._memory, 0, sequence, -1, -1)
        self._branches = branches

    def start(self, passes: int) -> None:
        self._passes = passes
        for sequence in range(self._branches):
            llama_cpp.llama_memory_seq_rm(self._memory, sequence, len(self._prefix), -1)

    def decode(self) -> None:
        drawn = draw(self._logits.expand(self._branches, -1))
        for position in range(len(self._prefix), len(self._prefix) + self._passes):
            for sequence, token in enumerate(drawn.tolist()):
                self._put(sequence, token, position, sequence, output=True)
            drawn = draw(self._run(self._branches, self._branches))

    def _run_prompt(self, ids: list[int]) -> torch.Tensor:
        for position, token in enumerate(ids):
            self._put(position, token, position, 0, output=position == len(ids) - 1)
        return self._run(len(ids), 1)

    def _put(self, row: int, token: int, position: int, sequence: int, *, output: bool) -> None:
        batch = self._batch
        batch.token[row], batch.pos[row] = token, position
        batch.n_seq_id[row], batch.seq_id[row][0] = 1, sequence
        batch.logits[row] = output

    def _run(self, rows: int, outputs: int) -> torch.Tensor:
        """Decode the batch; return llama.cpp's buffer of logits, `[outputs, vocab]`, which the next call overwrites."""
        self._batch.n_tokens = rows
        if error := llama_cpp.llama_decode(self._context, self._batch):
            raise RuntimeError(f"llama_decode: {error}")
        address = ctypes.cast(llama_cpp.llama_get_logits(self._context), ctypes.POINTER(ctypes.c_float))
        return torch.from_numpy(np.ctypeslib.as_array(address, (outputs, self._vocab)))
