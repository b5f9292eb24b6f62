"""Checks of dtypes and shapes, once per call, before the library is called: it trusts its callers to get them right."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from ..errors import KernelArgumentError
from ..layer_weights import HeadNorms
from ..plan import Plan, WorkItem
from ..sampling import MAX_TOP_K, HeadTopK, RoundState, SampleParams
from .packed_linear import CpuLinear

_ITEM_COLUMNS: Final = len(WorkItem._fields)

_REFUSALS: Final = (
    "",
    "a token id is outside the vocabulary",
    "a slot is outside all pages",
    "a position is negative, or beyond all pages",
    "a work item of the plan leads outside its rows or pages",
    "the plan lists a page that does not exist",
    "a row that has not ended has no room for another token",
)
"""Error texts, in the order of `Refusal` in `src/bounds.h`."""


def done(op: str, refusal: int) -> None:
    """Raise an error if the library refused to run `op`.

    Raises:
        KernelArgumentError: An index is out of range, so the library did nothing.
    """
    if refusal:
        raise KernelArgumentError(f"{op}: {_REFUSALS[refusal]}")


def checked(what: str, x: Tensor, dtype: torch.dtype, *shape: int) -> Tensor:
    """Check dtype, shape and device of `x`, and return it contiguous.

    Args:
        what: Op and argument, for the error message.
        x: The argument.
        dtype: The required dtype.
        shape: The required shape; -1 allows any size.

    Raises:
        KernelArgumentError: `x` is not a CPU tensor with this dtype and shape.
    """
    if not isinstance(x, Tensor) or x.dtype is not dtype or not x.is_cpu or not _fits(x.shape, shape):
        raise KernelArgumentError(f"{what}: must be {_name(dtype)} {list(shape)} on the CPU, not {_about(x)}")
    return x.contiguous()


def fp32(what: str, x: Tensor, *shape: int) -> Tensor:
    """`checked` for fp32 values."""
    return checked(what, x, torch.float32, *shape)


def int64(what: str, x: Tensor, *shape: int) -> Tensor:
    """`checked` for int64 indices."""
    return checked(what, x, torch.int64, *shape)


def written(what: str, x: Tensor, *shape: int) -> Tensor:
    """`changed` for fp32 tensors."""
    return changed(what, x, torch.float32, *shape)


def changed(what: str, x: Tensor, dtype: torch.dtype, *shape: int) -> Tensor:
    """`checked` for a tensor that the op writes in place: it must already be contiguous, as a copy would be lost."""
    if not x.is_contiguous():
        raise KernelArgumentError(f"{what}: is written in place, so it must be contiguous, not {_about(x)}")
    return checked(what, x, dtype, *shape)


def packed(what: str, weight: object) -> CpuLinear:
    """Return `weight` if it was packed for the CPU; otherwise raise KernelArgumentError."""
    if not isinstance(weight, CpuLinear):
        raise KernelArgumentError(f"{what}: must be a weight packed by pack_linear, not {_about(weight)}")
    return weight


def same(what: str, size: int, wanted: int) -> None:
    """Raise KernelArgumentError unless `size` equals `wanted`."""
    if size != wanted:
        raise KernelArgumentError(f"{what}: must be {wanted}, not {size}")


def gqa_group(op: str, heads: int, kv_heads: int) -> int:
    """Return the number of query heads per KV head; KernelArgumentError if it is not a whole number."""
    if heads < 1 or kv_heads < 1 or heads % kv_heads:
        raise KernelArgumentError(f"{op}: {heads} query heads cannot be divided evenly among {kv_heads} KV heads")
    return heads // kv_heads


def planned(plan: Plan, rows: int) -> tuple[Tensor, Tensor, int, Tensor, int]:
    """Return the library's arguments for a plan of `rows` rows: positions, items, item count, pages, page count."""
    positions = checked("plan: positions", plan.positions, torch.int32, rows)
    items = checked("plan: items", plan.items, torch.int32, -1, _ITEM_COLUMNS)
    pages = checked("plan: pages", plan.pages, torch.int32, -1)
    return positions, items, items.shape[0], pages, pages.shape[0]


def candidates(op: str, head: HeadTopK, params: SampleParams) -> tuple[Tensor | int | None, ...]:
    """Return the library's arguments for choosing tokens: rows, candidates per row, fields of `head` and `params`."""
    top_ids = int64(f"{op}: top_ids", head.top_ids, -1, -1)
    rows, k = top_ids.shape
    if not 1 <= k <= MAX_TOP_K:
        raise KernelArgumentError(f"{op}: there must be from 1 to {MAX_TOP_K} candidates, not {k}")
    drawn: tuple[Tensor | None, ...] = (None, None, None)
    if head.drawn_ids is not None and head.drawn_logits is not None and head.scaled_lse is not None:
        drawn = (
            int64(f"{op}: drawn_ids", head.drawn_ids, rows),
            fp32(f"{op}: drawn_logits", head.drawn_logits, rows),
            fp32(f"{op}: scaled_lse", head.scaled_lse, rows),
        )
    top_logits, lse = fp32(f"{op}: top_logits", head.top_logits, rows, k), fp32(f"{op}: lse", head.lse, rows)
    fields = zip(params._fields, params, _PARAM_DTYPES, strict=True)
    how = (checked(f"{op}: {name}", x, dtype, rows) for name, x, dtype in fields)
    return rows, k, top_ids, top_logits, lse, *drawn, *how


_PARAM_DTYPES: Final = (
    torch.float32, torch.int32, torch.float64, torch.float32, torch.int32, torch.int64, torch.int64,
)  # fmt: skip
"""Dtypes of the fields of `SampleParams`, in order."""


def head_norms(op: str, norms: HeadNorms | None, head_dim: int) -> tuple[Tensor | None, Tensor | None, float]:
    """Return the library's arguments for the norms of Q and K heads: both weights, and eps."""
    if norms is None:
        return None, None, 0.0
    return fp32(f"{op}: norms.q", norms.q, head_dim), fp32(f"{op}: norms.k", norms.k, head_dim), norms.eps


def round_state(state: RoundState, rows: int, k: int) -> tuple[Tensor | int, ...]:
    """Return the library's arguments for a round of `rows` rows with `k` candidates each.

    They are the maximum tokens per row, the number of end tokens per row, then all fields of `state`.
    """
    tokens, ends = state.next_places.shape[-1], state.ends.shape[-1]
    each, results = (rows,), (tokens, rows)
    shapes = (*(each,) * 4, (rows, tokens), (rows, ends), *(each,) * 4, *(results,) * 3, *((*results, k),) * 2)
    fields = zip(state._fields, state, _STATE_DTYPES, shapes, strict=True)
    return tokens, ends, *(changed(f"advance: {name}", x, dtype, *shape) for name, x, dtype, shape in fields)


_STATE_DTYPES: Final = (
    torch.int64, torch.int32, torch.int64, torch.int64, torch.int64, torch.int64, torch.int32, torch.int32,
    torch.uint8, torch.uint8, torch.int32, torch.float32, torch.float32, torch.int32, torch.float32,
)  # fmt: skip
"""Dtypes of the fields of `RoundState`, in order."""


def _fits(shape: torch.Size, wanted: tuple[int, ...]) -> bool:
    if shape == wanted:
        return True
    if len(shape) != len(wanted):
        return False
    for size, asked in zip(shape, wanted, strict=True):  # noqa: SIM110 - a generator would be slower, and this runs in every step
        if size != asked and asked >= 0:
            return False
    return True


def _about(x: object) -> str:
    return f"{_name(x.dtype)} {list(x.shape)} on {x.device}" if isinstance(x, Tensor) else f"{x!r:.100}"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
