"""Rows of candidates and ways to sample from them, including awkward ones."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from marcot.kernels import HeadTopK, RoundState, SampleParams

CONFIGURATIONS: Final[dict[str, dict[str, Any]]] = {
    "greedy": {"temperature": 0.0},
    "greedy-truncated": {"temperature": 0.0, "top_k": 3, "top_p": 0.5, "min_p": 0.1},
    "pure": {},
    "pure-hot": {"temperature": 3.0},
    "pure-cold": {"temperature": 0.05},
    "top-k": {"top_k": 20},
    "top-k-1": {"top_k": 1},
    "top-k-hot": {"top_k": 64, "temperature": 3.0},
    "top-k-cold": {"top_k": 5, "temperature": 0.05},
    "top-k-beyond": {"top_k": 65},
    "top-p": {"top_p": 0.9, "temperature": 0.7},
    "top-p-half": {"top_p": 0.5},
    "top-p-tiny": {"top_p": 1e-6},
    "top-p-beyond": {"top_p": 0.99999, "temperature": 3.0},
    "min-p": {"min_p": 0.1},
    "min-p-1": {"min_p": 1.0, "temperature": 1.3},
    "min-p-beyond": {"min_p": 1e-9, "temperature": 3.0},
    "default": {"temperature": 0.5, "top_k": 20, "top_p": 0.95},
    "top-k-top-p-min-p": {"temperature": 1.7, "top_k": 40, "top_p": 0.9, "min_p": 0.05},
    "top-p-min-p": {"temperature": 0.8, "top_p": 0.97, "min_p": 0.02},
    "top-k-min-p": {"temperature": 2.0, "top_k": 33, "min_p": 0.3},
    "top-k-top-p": {"temperature": 1.0, "top_k": 64, "top_p": 0.999},
}
"""Fields of `SampleParams` that differ from their neutral values: temperature 1 and no truncation."""

_SPREADS = (0.3, 1.0, 3.0, 8.0)
"""Standard deviations of logits."""


def params(rows: int, seed: int, **fields: Any) -> SampleParams:
    """The same sampling for `rows` rows, each with its own key, position and number of candidates."""
    random = np.random.default_rng(seed)

    def every(name: str, neutral: float, dtype: torch.dtype) -> torch.Tensor:
        return torch.full((rows,), fields.get(name, neutral), dtype=dtype)

    width = torch.from_numpy(random.choice([0, 1, 5, 20, 33, 64], rows, p=[0.02, 0.03, 0.1, 0.15, 0.1, 0.6]))
    key = torch.from_numpy(random.integers(-(2**63), 2**63, rows))
    return SampleParams(
        every("temperature", 1.0, torch.float32),
        every("top_k", 0, torch.int32),
        every("top_p", 1.0, torch.float64),
        every("min_p", 0.0, torch.float32),
        width.int(),
        key,
        torch.from_numpy(random.integers(0, 2**20, rows)),
    )


def head(rows: int, k: int, seed: int, temperature: float, drawn: bool = True, vocab: int = 151_936) -> HeadTopK:
    """Candidates of an imaginary vocabulary: rows of every spread, with ties, huge and tiny logits, some not finite."""
    random = np.random.default_rng(seed)
    spread = random.choice(_SPREADS, (rows, 1))
    logits = (random.normal(0, spread, (rows, 2 * k)) + random.normal(0, 20, (rows, 1))).astype(np.float32)
    kind = random.integers(0, 20, rows)
    logits[kind < 5] = np.round(logits[kind < 5] * 2) / 2  # ties
    logits[kind == 5] = 1.5  # only ties
    logits[kind == 6] *= 1e18
    logits[kind == 7] *= 1e-30
    logits[kind == 8] = logits[kind == 8].astype(np.float16)  # as from a 16-bit head
    logits = -np.sort(-logits, axis=1)
    wide = logits.astype(np.float64)
    tail = random.exponential(0.05, rows)  # weight of all other tokens, relative to the candidates

    def lse(values: np.ndarray) -> torch.Tensor:
        best = values[:, :1]
        sums = best[:, 0] + np.log(np.exp(values - best).sum(axis=1) * (1 + tail))
        return torch.from_numpy(sums.astype(np.float32))

    numbers = lse(wide)
    scaled = lse(wide / temperature) if temperature else torch.full((rows,), torch.nan)
    broken = torch.from_numpy(random.integers(0, 40, rows))
    numbers[broken == 0], numbers[broken == 1] = torch.nan, torch.inf
    logits[(broken == 1).numpy(), 0] = np.inf
    logits[(broken == 2).numpy(), -1] = -np.inf
    part = vocab // k  # each candidate comes from its own part of the vocabulary
    ids = np.argsort(random.random((rows, k)), axis=1) * part + random.integers(0, part, (rows, k))
    drawn_ids = torch.from_numpy(random.integers(0, vocab, rows)) if drawn else None
    drawn_logits = torch.from_numpy(random.normal(size=rows).astype(np.float32)) if drawn else None
    top = torch.from_numpy(np.ascontiguousarray(logits[:, :k]))
    return HeadTopK(torch.from_numpy(ids), top, numbers, None, drawn_ids, drawn_logits, scaled if drawn else None)


def round_state(rows: int, k: int, tokens: int) -> RoundState:
    """The initial state of a round, in which some rows have ended and no results have been written."""
    random = torch.Generator().manual_seed(rows)

    def some(most: int, *shape: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
        return torch.randint(0, most, shape, generator=random).to(dtype)

    unwritten = [torch.full((tokens, rows), -7, dtype=dtype) for dtype in (torch.int32, torch.float32, torch.float32)]
    wide = [torch.full((tokens, rows, k), -7, dtype=dtype) for dtype in (torch.int32, torch.float32)]
    return RoundState(
        some(1000, rows), some(99, rows, dtype=torch.int32), some(999, rows), some(99, rows), some(999, rows, tokens),
        torch.full((rows, 3), -1), 1 + some(tokens, rows, dtype=torch.int32), torch.zeros(rows, dtype=torch.int32),
        (some(6, rows) == 0).to(torch.uint8), torch.ones(rows, dtype=torch.uint8), *unwritten, *wide,
    )  # fmt: skip
