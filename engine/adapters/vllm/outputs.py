"""The results of `LLM.generate`, with vLLM's names. They can be changed, copied and pickled."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ....model import Tokenizer
from ...completion import Completion
from ...scoring import Score
from .sampling_params import SamplingParams


@dataclass
class Logprob:
    """The log-probability of one token at one position.

    Attributes:
        logprob: Raw: at temperature 1, before any truncation or penalty.
        rank: 1 for the most probable token; None for a token that is not among those that were compared.
        decoded_token: The token's text.
    """

    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


LogprobRow = dict[int, Logprob]
"""The most probable tokens at one position, and the token that is there, by token id."""


@dataclass
class CompletionOutput:
    """One sample.

    Attributes:
        index: Its number among the samples of its prompt.
        text: Its text, without the stop string unless `include_stop_str_in_output` is set.
        token_ids: Its tokens, including one that ended it.
        cumulative_logprob: Sum of the log-probabilities of its tokens; None if `logprobs` is None.
        logprobs: One row per token; None unless asked for.
        finish_reason: `"stop"`, also for an end-of-sequence token, or `"length"`.
        stop_reason: The stop string or stop token that ended it; None after an end-of-sequence token.
    """

    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None
    logprobs: list[LogprobRow] | None
    finish_reason: Literal["stop", "length"] | None = None
    stop_reason: str | int | None = None

    def finished(self) -> bool:
        """Whether it has ended; always True here."""
        return self.finish_reason is not None


@dataclass
class RequestOutput:
    """A prompt and its samples.

    Attributes:
        request_id: The prompt's number since the `LLM` was made.
        prompt: Its text; None if only token ids were given.
        prompt_token_ids: Its tokens.
        prompt_logprobs: One row per token, None for the first one; None unless asked for.
        outputs: Its samples.
        finished: Whether all of them have ended; always True here.
        num_cached_tokens: How many of the prompt's tokens were in the cache when it arrived, or belong to the same
            prompt earlier in the call.
    """

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    prompt_logprobs: list[LogprobRow | None] | None
    outputs: list[CompletionOutput]
    finished: bool = True
    num_cached_tokens: int | None = None


def completion_output(
    index: int, drawn: Completion, params: SamplingParams, tokenizer: Tokenizer | None
) -> CompletionOutput:
    """The `CompletionOutput` of a sample."""
    logprobs = cumulative = None
    if params.logprobs is not None:
        logprobs = [
            _row(*each, params.logprobs, tokenizer)
            for each in zip(drawn.token_ids, drawn.logprobs, drawn.top_ids, drawn.top_logprobs, strict=True)
        ]
        cumulative = float(drawn.logprobs.sum(dtype=np.float64))
    return CompletionOutput(
        index,
        _text(drawn, params, tokenizer),
        drawn.token_ids.tolist(),
        cumulative,
        logprobs,
        "length" if drawn.finish_reason == "length" else "stop",
        drawn.stop_reason,
    )


def prompt_rows(score: Score, top: int, tokenizer: Tokenizer | None) -> list[LogprobRow | None]:
    """`RequestOutput.prompt_logprobs`, with the `top` most probable tokens per position (-1: all)."""
    rows = zip(score.token_ids, score.logprobs, score.top_ids, score.top_logprobs, strict=True)
    return [None, *(_row(*each, top, tokenizer) for each in islice(rows, 1, None))]


def _row(
    token: np.int64,
    logprob: np.float32,
    top_ids: NDArray[np.int64],
    top_logprobs: NDArray[np.float32],
    top: int,
    tokenizer: Tokenizer | None,
) -> LogprobRow:
    """The row for `token`, with the `top` most probable tokens (-1: all)."""

    def entry(token: int, logprob: float, rank: int | None) -> Logprob:
        return Logprob(logprob, rank, tokenizer.decode([token], keep_special=True) if tokenizer else None)

    ranks = {best: rank for rank, best in enumerate(top_ids.tolist(), 1)}
    own = int(token)
    shown = top_ids.tolist() if top < 0 else top_ids[:top].tolist()
    row = {own: entry(own, float(logprob), ranks.get(own))}
    row |= {best: entry(best, float(top_logprobs[at]), at + 1) for at, best in enumerate(shown) if best != own}
    return row


def _text(drawn: Completion, params: SamplingParams, tokenizer: Tokenizer | None) -> str:
    """The sample's text as vLLM cuts it: right before or right after the stop string."""
    if tokenizer is None or not params.detokenize:
        return ""
    includes = params.include_stop_str_in_output
    if params.skip_special_tokens and not includes:
        return drawn.text
    ids, stop = drawn.token_ids.tolist(), drawn.stop_reason
    keep_special = not params.skip_special_tokens
    ends_by_token = drawn.finish_reason == "eos" or isinstance(stop, int) or stop in tokenizer.special_tokens
    if ends_by_token:
        return tokenizer.decode(ids if includes else ids[:-1], keep_special=keep_special)
    text = tokenizer.decode(ids, keep_special=keep_special)
    if not isinstance(stop, str):
        return text
    # Only the last token can complete the stop string: with min_tokens, earlier occurrences do not count.
    before = len(tokenizer.decode(ids[:-1], keep_special=keep_special))
    at = text.find(stop, max(before - len(stop) + 1, 0))
    if at < 0:  # a special token, which the engine leaves out of the text that it searches, is inside the stop string
        return text
    return text[: at + len(stop) if includes else at]
