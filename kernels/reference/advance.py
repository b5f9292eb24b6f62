"""Chooses the next tokens of a round and advances its state."""

from __future__ import annotations

from ..sampling import HeadTopK, RoundState, SampleParams
from .sample import sample


def advance(state: RoundState, head: HeadTopK, params: SampleParams) -> None:
    """Choose tokens as `sample` does, and update the state of the rows. See `Kernels.advance`."""
    sampled = sample(head, params)
    running = state.ended == 0
    state.settled[running] = sampled.settled[running].to(state.settled.dtype)
    rows = (running & sampled.settled).nonzero()[:, 0]
    ids, at = sampled.ids[rows], state.drawn[rows].long()
    state.drawn_ids[at, rows] = ids.int()
    state.drawn_logits[at, rows] = sampled.logits[rows]
    state.lse[at, rows] = head.lse[rows]
    state.top_ids[at, rows] = head.top_ids[rows].int()
    state.top_logits[at, rows] = head.top_logits[rows]
    state.token_ids[rows] = ids
    state.places[rows] = state.next_places[rows, at]
    for counter in (state.positions, state.draw_position, state.drawn):
        counter[rows] += 1
    ended = (state.ends[rows] == ids[:, None]).any(dim=1) | (state.drawn[rows] >= state.limit[rows])
    state.ended[rows] = ended.to(state.ended.dtype)
