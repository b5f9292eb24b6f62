"""How the next tokens of a branch are chosen, and when the branch ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...kernels import MAX_TOP_K
from ..checking import (
    MAX_COUNT,
    check_count,
    check_flag,
    check_integer,
    check_integers,
    check_number,
    check_texts,
    shown,
)
from ..errors import SamplingError
from ..text.brief import brief_changes

CONFIDENCE_WIDTH = 5
"""How many of the most probable tokens a token's confidence is measured against (Marco-o1, arXiv 2411.14405)."""

_LEAST, _MOST = 1e-9, 1e9
_RANGE = f"from {_LEAST:g} to {_MOST:g}"
"""What logits can be divided and multiplied by in fp32: beyond it they overflow, or nothing of their order is left."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Parameters of one expansion. The order is penalty, temperature, top-k, top-p, min-p, as in `transformers`.

    Truncation is exact: what does not fit in the candidates that the LM-head kernel returns is decided on the
    full row of logits (counted in `Usage.full_rows`).

    Attributes:
        temperature: Divides the logits; 0 is greedy. The default suits searches (docs/evaluation.md).
        top_k: Keep the `top_k` most probable tokens; 0 keeps all.
        top_p: Keep the smallest set of most probable tokens whose probability reaches `top_p`; 1 keeps all.
        min_p: Keep tokens at least `min_p` times as probable as the most probable one; 0 keeps all.
        repetition_penalty: Divides positive and multiplies negative logits of tokens on the branch's path, prompt
            included (CTRL, arXiv 1909.05858); 1 is off.
        max_tokens: New tokens at most.
        stop: Strings, or one string, that end a branch as soon as its new text contains one, across token borders. One
            that is a special token, such as `"<|im_end|>"`, ends it at that token; one that has such a token in it is
            refused.
        include_stop: Whether `text` keeps the stop string that ended the branch and the rest of its last token, so
            that it is exactly the text of the tokens. The tokens are kept either way.
        stop_token_ids: Tokens, or one, that end a branch, besides the model's own end-of-sequence tokens.
        ignore_eos: Do not stop at the model's end-of-sequence tokens.
        seed: Together with the branch's tokens and its sample index, all that a draw depends on.
        top_logprobs: Columns that `Node.top_ids` and `Node.top_logprobs` have at least; truncation may need more.
    """

    temperature: float = 0.5
    top_k: int = 20
    top_p: float = 0.95
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    include_stop: bool = False
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    seed: int = 0
    top_logprobs: int = CONFIDENCE_WIDTH

    def __post_init__(self) -> None:
        """Check every type and range; numbers of numpy become Python's, and a single stop a tuple of it.

        Raises:
            SamplingError: Names the parameter, its value and what it may be.
        """
        self._check(check_number, "temperature", allowed="a finite number >= 0", least=0)
        self._check(check_integer, "top_k", allowed="an integer >= 0 (0 keeps all)", least=0)
        self._check(check_number, "top_p", allowed="in (0, 1]", above=0, most=1)
        self._check(check_number, "min_p", allowed="in [0, 1]", least=0, most=1)
        self._check(check_number, "repetition_penalty", allowed="a finite number > 0", above=0)
        self._check(check_count, "max_tokens", allowed="an integer >= 1", least=1)
        self._check(check_texts, "stop")
        self._check(check_flag, "include_stop")
        self._check(check_integers, "stop_token_ids")
        self._check(check_flag, "ignore_eos")
        self._check(check_integer, "seed", allowed="a 64-bit integer", least=-(2**63), most=2**63 - 1)
        self._check(check_integer, "top_logprobs", allowed=f"an integer from 1 to {MAX_TOP_K}", least=1, most=MAX_TOP_K)
        for name, good, allowed in (
            ("temperature", self.greedy or _computes(self.temperature), f"0 (greedy) or {_RANGE}"),
            ("top_k", self.top_k <= MAX_COUNT, "an integer below 2**31 (0 keeps all)"),
            ("repetition_penalty", _computes(self.repetition_penalty), _RANGE),
        ):
            if not good:
                raise SamplingError(f"{name}={shown(getattr(self, name))}: must be {allowed}")

    def _check(self, check: Callable[..., object], name: str, **rules: object) -> None:
        object.__setattr__(self, name, check(name, getattr(self, name), error=SamplingError, **rules))

    def __repr__(self) -> str:
        return brief_changes(self)

    @property
    def greedy(self) -> bool:
        """Whether the most probable token is always taken."""
        return self.temperature == 0

    @property
    def truncated(self) -> bool:
        """Whether anything but temperature shapes the distribution."""
        return self.top_k > 0 or self.top_p < 1 or self.min_p > 0 or self.repetition_penalty != 1

    @property
    def pure(self) -> bool:
        """Whether temperature alone decides, so that the LM head can draw."""
        return not (self.greedy or self.truncated)

    @property
    def streamed(self) -> bool:
        """Whether the LM head must take in the whole vocabulary: to draw, or to know what a nucleus is a part of."""
        return self.top_k == 0 and not self.greedy and (self.top_p < 1 or not self.truncated)

    @property
    def candidates(self) -> int:
        """How many of the most probable tokens the LM head should return for this branch."""
        if self.greedy and self.repetition_penalty == 1:
            wanted = 1
        elif 0 < self.top_k <= MAX_TOP_K and self.repetition_penalty == 1:
            wanted = self.top_k
        else:
            wanted = MAX_TOP_K if self.truncated else 1
        return max(wanted, self.top_logprobs, CONFIDENCE_WIDTH)


def _computes(factor: float) -> bool:
    return _LEAST <= factor <= _MOST
