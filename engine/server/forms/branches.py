"""Answers about extended and scored branches."""

from __future__ import annotations

from ...node import Node
from ...scoring import Score
from ..schemas.branch import BranchAnswer, BranchScore, ExtendedBranch, ExtensionSampling
from .ending import told_reason
from .logprobs import chat_logprobs
from .token_texts import TokenTexts


def extended(
    branch: BranchAnswer,
    node: Node,
    request: ExtensionSampling,
    texts: TokenTexts,
) -> ExtendedBranch:
    """The answer for a branch that was drawn, with the details that the request asks for."""
    ids = node.token_ids.tolist()
    return ExtendedBranch(
        **branch.model_dump(),
        text=node.text,
        token_ids=ids,
        finish_reason=told_reason(node.finish_reason),
        stop_reason=node.stop_reason,
        confidence=node.confidence if ids else None,
        logprobs=None if request.logprobs is None else chat_logprobs(node, request.logprobs, texts),
    )


def branch_score(branch: str, score: Score, top: int, texts: TokenTexts) -> BranchScore:
    """The score of the tokens after `branch`, with the `top` most probable tokens per position."""
    return BranchScore(
        branch=branch,
        logprob=float(score.logprobs.sum()),
        is_greedy=bool((score.top_ids[:, 0] == score.token_ids).all()),
        tokens=chat_logprobs(score, top, texts),
    )
