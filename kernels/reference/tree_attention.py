"""Attention over a tree of KV segments."""

from __future__ import annotations

import torch
from torch import Tensor

from ..layer_weights import KVScales
from ..plan import Plan, WorkItem


def tree_attention(
    q: Tensor, k_pages: Tensor, v_pages: Tensor, plan: Plan, scale: float, scales: KVScales | None = None
) -> Tensor:
    """Load each work item once for all its rows, merge partial results by log-sum-exp. See `Kernels.tree_attention`.

    For each row and head, keep the running maximum `m` of the scores, the sum `l` of `exp(score - m)` and the sum `acc`
    of `exp(score - m) * v` (online softmax, arXiv 1805.02867), in fp32. `m` starts at the least finite number, so
    that an item adds nothing to a row that sees none of its tokens.
    """
    rows, heads, head_dim = q.shape
    kv_heads, page_size = k_pages.shape[1:3]
    grouped = q.view(rows, kv_heads, heads // kv_heads, head_dim)
    m = torch.full(grouped.shape[:3], torch.finfo(torch.float32).min, device=q.device)
    l = torch.zeros(grouped.shape[:3], device=q.device)  # noqa: E741 - the literature's name
    acc = torch.zeros(grouped.shape, device=q.device)
    for whole in map(WorkItem._make, plan.items.tolist()):
        readers = slice(whole.first_row, whole.first_row + whole.rows)
        seen_by = plan.positions[readers]
        item = whole._replace(length=min(whole.length, int(seen_by.max()) + 1 - whole.position))
        if item.length <= 0:  # slots after the positions of all rows may hold NaN
            continue
        k, v = (_gather(pages, plan.pages, item, page_size) for pages in (k_pages, v_pages))
        if scales is not None:
            k, v = (x.float() * s[:, None, None] for x, s in ((k, scales.k), (v, scales.v)))
        scores = torch.einsum("rhgd,htd->rhgt", grouped[readers].to(k.dtype), k).float().mul_(scale)
        if item.position + item.length - 1 > seen_by.min():
            positions = torch.arange(item.position, item.position + item.length, device=q.device)
            scores.masked_fill_((positions > seen_by[:, None])[:, None, None], -torch.inf)
        new_m = torch.maximum(m[readers], scores.amax(dim=-1))
        weights = scores.sub_(new_m[..., None]).exp_()
        kept = torch.exp(m[readers] - new_m)
        l[readers] = l[readers] * kept + weights.sum(dim=-1)
        acc[readers] = acc[readers] * kept[..., None] + torch.einsum("rhgt,htd->rhgd", weights, v.float())
        m[readers] = new_m
    return (acc / l[..., None]).to(q.dtype).reshape(rows, heads, head_dim)


def _gather(cache: Tensor, pages: Tensor, item: WorkItem, page_size: int) -> Tensor:
    """The item's tokens as `[kv_heads, length, head_dim]`."""
    used = -(-(item.first_slot + item.length) // page_size)
    run = cache[pages[item.first_page : item.first_page + used]].transpose(0, 1).flatten(1, 2)
    return run[:, item.first_slot : item.first_slot + item.length]
