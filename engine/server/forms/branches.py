"""Branches that were extended or rated, as answers have them."""

from __future__ import annotations

from ....model import Tokenizer
from ...node import Node
from ...sampling.sampling import Sampling
from ...scoring import Score
from ..schemas.branch import BranchAnswer, BranchScore, ExtendedBranch, ExtensionSampling
from .ending import stop_reason, told_reason
from .logprobs import chat_logprobs
from .token_texts import TokenTexts


def extended(
    branch: BranchAnswer,
    node: Node,
    request: ExtensionSampling,
    sampling: Sampling,
    tokenizer: Tokenizer | None,
    texts: TokenTexts,
) -> ExtendedBranch:
    """A branch with what was drawn on its `node`, of which the request wants to know so much."""
    ids = node.token_ids.tolist()
    return ExtendedBranch(
        **branch.model_dump(),
        text=node.text,
        token_ids=ids,
        finish_reason=told_reason(node.finish_reason),
        stop_reason=stop_reason(node.finish_reason, ids, sampling, tokenizer),
        confidence=node.confidence if ids else None,
        logprobs=None if request.logprobs is None else chat_logprobs(node, request.logprobs, texts),
    )


def branch_score(branch: str, score: Score, top: int, texts: TokenTexts) -> BranchScore:
    """How probable the tokens after `branch` are, with `top` of the most probable ones in each place."""
    return BranchScore(
        branch=branch,
        logprob=float(score.logprobs.sum()),
        is_greedy=bool((score.top_ids[:, 0] == score.token_ids).all()),
        tokens=chat_logprobs(score, top, texts),
    )
