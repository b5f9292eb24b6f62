"""Results of the LM head, parameters for choosing a token from them, and the state of a round."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

MAX_TOP_K = 64
"""Largest `k` of `lm_head_topk`: what a GPU tile keeps in registers while it goes through the vocabulary."""

MOST_LOGIT = 1e20
"""Above every logit that may be drawn from. Temperatures and penalties neither overflow it nor make it zero in fp32."""


class Draw(NamedTuple):
    """Parameters of a Gumbel-max draw over the whole vocabulary.

    Attributes:
        temperature: `[rows]` fp32, finite; rows with 0 are skipped, and their results are undefined.
        key: `[rows]` int64, the Philox key of the row's branch.
        position: `[rows]` int64, the absolute position of the token to be drawn.
    """

    temperature: Tensor
    key: Tensor
    position: Tensor


class HeadTopK(NamedTuple):
    """The results of the LM head: what is kept of each row of logits.

    Attributes:
        top_ids: `[rows, k]` int64, the most probable tokens, best first.
        top_logits: `[rows, k]` fp32, their raw logits.
        lse: `[rows]` fp32, log-sum-exp of all raw logits: `logprob = logit - lse`.
        target_logits: `[rows]` fp32, raw logits of the requested targets, or None.
        drawn_ids: `[rows]` int64, the Gumbel-max draws, or None without a `Draw`.
        drawn_logits: `[rows]` fp32, their raw logits, or None.
        scaled_lse: `[rows]` fp32, log-sum-exp of logits / temperature, or None without a `Draw`.
    """

    top_ids: Tensor
    top_logits: Tensor
    lse: Tensor
    target_logits: Tensor | None
    drawn_ids: Tensor | None
    drawn_logits: Tensor | None
    scaled_lse: Tensor | None

    def select(self, rows: Tensor | slice) -> HeadTopK:
        """Return the results of some rows, given as a slice or as int64 indices."""
        return self._replace(**{name: part[rows] for name, part in self._asdict().items() if part is not None})


class SampleParams(NamedTuple):
    """How the next token of each row is chosen, all `[rows]`. The order is temperature, top-k, top-p, min-p.

    Attributes:
        temperature: fp32, divides the logits; 0 is greedy.
        top_k: int32, how many of the most probable tokens are kept; 0 keeps all.
        top_p: fp64; the smallest set of most probable tokens whose total probability reaches it is kept; 1 keeps all.
        min_p: fp32; tokens at least `min_p` times as probable as the best token are kept; 0 keeps all.
        width: int32, how many candidates the row may use, so that a neighbour that needs more changes nothing for it.
            With 0 the choice is never settled.
        key: int64, the Philox key of the row's branch.
        position: int64, the absolute position of the token to be drawn.
    """

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    min_p: Tensor
    width: Tensor
    key: Tensor
    position: Tensor


class Sampled(NamedTuple):
    """Chosen tokens. `ids` and `logits` are undefined in rows that are not settled.

    Attributes:
        ids: `[rows]` int64.
        logits: `[rows]` fp32, their raw logits.
        settled: `[rows]` bool, whether the candidates are enough to decide the choice, and the row's numbers are
            finite.
    """

    ids: Tensor
    logits: Tensor
    settled: Tensor


class RoundState(NamedTuple):
    """The rows of a batch while the device decodes up to `T` tokens of each; `advance` changes it in place.

    Attributes:
        token_ids: `[rows]` int64, each row's input token for the next forward pass.
        positions: `[rows]` int32, its position; the same tensor as `Plan.positions`.
        places: `[rows]` int64, its cache slot, see `Kernels.rope_store`.
        draw_position: `[rows]` int64; the same memory as `SampleParams.position` and `Draw.position`.
        next_places: `[rows, T]` int64, the cache slot of the i-th token that the row draws.
        ends: `[rows, S]` int64, tokens that end the row; -1 pads.
        limit: `[rows]` int32, how many tokens the row may draw, at most `T`.
        drawn: `[rows]` int32, how many tokens the row has drawn; initially 0.
        ended: `[rows]` uint8, whether the row has stopped drawing; initially 0, or 1 for a padding row.
        settled: `[rows]` uint8, whether the row's last choice was settled.
        drawn_ids: `[T, rows]` int32, the drawn tokens, in the order in which each row drew them.
        drawn_logits: `[T, rows]` fp32, their raw logits.
        lse: `[T, rows]` fp32, `HeadTopK.lse` of the logits that they were drawn from.
        top_ids: `[T, rows, k]` int32, the candidates that they were drawn from.
        top_logits: `[T, rows, k]` fp32, the raw logits of these candidates.
    """

    token_ids: Tensor
    positions: Tensor
    places: Tensor
    draw_position: Tensor
    next_places: Tensor
    ends: Tensor
    limit: Tensor
    drawn: Tensor
    ended: Tensor
    settled: Tensor
    drawn_ids: Tensor
    drawn_logits: Tensor
    lse: Tensor
    top_ids: Tensor
    top_logits: Tensor
