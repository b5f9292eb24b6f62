"""How the next tokens of a branch are chosen, and when the branch ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

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
from ..errors import InputError, SamplingError
from ..text.brief import brief_changes
from .token_confidence import CONFIDENCE_WIDTH

_LEAST, _MOST = 1e-9, 1e9
_RANGE = f"from {_LEAST:g} to {_MOST:g}"
"""Factors for logits in fp32: beyond this range the logits overflow, or lose their order."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Parameters of one expansion.

    The order is that of `transformers` and of vLLM: biases, repetition penalty, frequency and presence penalty, what
    must not be drawn, then temperature, top-k, top-p, min-p.

    Truncation is exact: if the candidates that the LM-head kernel returns do not suffice, the full row of logits
    decides (counted in `Usage.full_rows`).

    Attributes:
        temperature: Divides the logits; 0 is greedy. The default suits searches (docs/evaluation.md).
        top_k: Keep the `top_k` most probable tokens; 0 keeps all.
        top_p: Keep the smallest set of most probable tokens whose probability reaches `top_p`; 1 keeps all.
        min_p: Keep tokens at least `min_p` times as probable as the most probable one; 0 keeps all.
        repetition_penalty: Divides positive and multiplies negative logits of tokens on the branch's path, prompt
            included (CTRL, arXiv 1909.05858); 1 is off.
        frequency_penalty: From -2 to 2, is subtracted from a token's logit as often as the expansion has drawn it.
        presence_penalty: From -2 to 2, is subtracted once from the logits of all tokens that the expansion has drawn.
        logit_bias: What is added to the logits of single tokens: a mapping from token ids, kept as pairs.
        allowed_token_ids: The only tokens that may be drawn; empty allows all.
        bad_words: Strings that must not come: where all but the last token of one are there, the last cannot be drawn.
            Each is looked for as the tokenizer writes it at the beginning of a text and after a blank.
        min_tokens: New tokens at least: before, nothing that ends a branch is drawn, and no stop string is looked for.
        max_tokens: New tokens at most.
        stop: Strings, or one string, that end a branch as soon as its new text contains one, across token borders. One
            that is a special token, such as `"<|im_end|>"`, ends it at that token; one that has such a token in it is
            refused.
        include_stop: Whether `text` keeps the stop string that ended the branch and the rest of its last token, so
            that it is exactly the text of the tokens. The tokens are kept either way.
        stop_token_ids: Tokens, or one, that end a branch, besides the model's own end-of-sequence tokens.
        ignore_eos: Do not stop at the model's end-of-sequence tokens.
        seed: Together with the branch's tokens and its sample index, all that a draw depends on; None for another one
            in every branch.
        top_logprobs: Columns that `Node.top_ids` and `Node.top_logprobs` have at least; truncation may need more. More
            than 64 are taken from the full row of logits, at most all there are.
        logprobs: Which log-probabilities a branch keeps: `"raw"`, the model's own, or `"processed"`, of the
            distribution that the token was drawn from, with -inf for what could not be drawn; of a greedy one, before
            it is narrowed to its best token.
    """

    temperature: float = 0.5
    top_k: int = 20
    top_p: float = 0.95
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: Mapping[int, float] | tuple[tuple[int, float], ...] = ()
    allowed_token_ids: tuple[int, ...] = ()
    bad_words: tuple[str, ...] = ()
    min_tokens: int = 0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    include_stop: bool = False
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    seed: int | None = 0
    top_logprobs: int = CONFIDENCE_WIDTH
    logprobs: Literal["raw", "processed"] = "raw"

    def __post_init__(self) -> None:
        """Check every type and range. numpy numbers become Python's, and a single stop a tuple.

        Raises:
            SamplingError: Names the parameter, its value and what it may be.
        """
        self._check(check_number, "temperature", allowed="a finite number >= 0", least=0)
        self._check(check_integer, "top_k", allowed="an integer >= 0 (0 keeps all)", least=0)
        self._check(check_number, "top_p", allowed="in (0, 1]", above=0, most=1)
        self._check(check_number, "min_p", allowed="in [0, 1]", least=0, most=1)
        self._check(check_number, "repetition_penalty", allowed="a finite number > 0", above=0)
        self._check(check_number, "frequency_penalty", allowed="from -2 to 2", least=-2, most=2)
        self._check(check_number, "presence_penalty", allowed="from -2 to 2", least=-2, most=2)
        self._check(_biases, "logit_bias")
        self._check(check_integers, "allowed_token_ids")
        self._check(check_texts, "bad_words")
        self._check(check_count, "min_tokens", allowed="an integer >= 0", least=0)
        self._check(check_count, "max_tokens", allowed="an integer >= 1", least=1)
        self._check(check_texts, "stop")
        self._check(check_flag, "include_stop")
        self._check(check_integers, "stop_token_ids")
        self._check(check_flag, "ignore_eos")
        if self.seed is not None:
            self._check(check_integer, "seed", allowed="a 64-bit integer or None", least=-(2**63), most=2**63 - 1)
        self._check(check_count, "top_logprobs", allowed="an integer >= 1", least=1)
        for name, good, allowed in (
            ("temperature", self.greedy or _computes(self.temperature), f"0 (greedy) or {_RANGE}"),
            ("top_k", self.top_k <= MAX_COUNT, "an integer below 2**31 (0 keeps all)"),
            ("repetition_penalty", _computes(self.repetition_penalty), _RANGE),
            ("logprobs", self.logprobs in ("raw", "processed"), '"raw" or "processed"'),
        ):
            if not good:
                raise SamplingError(f"{name}={shown(getattr(self, name))}: must be {allowed}")

    def _check(self, check: Callable[..., object], name: str, **rules: object) -> None:
        object.__setattr__(self, name, check(name, getattr(self, name), error=SamplingError, **rules))

    def __repr__(self) -> str:
        return brief_changes(self)

    @property
    def greedy(self) -> bool:
        """Whether sampling always takes the most probable token."""
        return self.temperature == 0

    @property
    def truncated(self) -> bool:
        """Whether top-k, top-p, min-p or a penalty changes the distribution."""
        return self.top_k > 0 or self.top_p < 1 or self.min_p > 0 or self.adjusts

    @property
    def adjusts(self) -> bool:
        """Whether logits of single tokens are changed before all else."""
        penalised = self.repetition_penalty != 1 or self.frequency_penalty != 0 or self.presence_penalty != 0
        banned = bool(self.allowed_token_ids or self.bad_words) or self.min_tokens > 0
        return penalised or banned or bool(self.logit_bias)

    @property
    def needs_full_row(self) -> bool:
        """Whether what is told of every token needs all its logits."""
        return self.logprobs == "processed" or self.top_logprobs > MAX_TOP_K

    @property
    def on_host(self) -> bool:
        """Whether each token is decided by the host."""
        return self.adjusts or self.needs_full_row

    @property
    def pure(self) -> bool:
        """Whether only temperature changes the distribution, so that the LM head can draw."""
        return not (self.greedy or self.truncated)

    @property
    def streamed(self) -> bool:
        """Whether the LM head must read the whole vocabulary: to draw, or to sum the probabilities for a nucleus."""
        return self.top_k == 0 and not self.greedy and (self.top_p < 1 or not self.truncated)

    @property
    def candidates(self) -> int:
        """How many of the most probable tokens the LM head should return for this branch."""
        if self.greedy and not self.adjusts:
            wanted = 1
        elif 0 < self.top_k <= MAX_TOP_K and not self.adjusts:
            wanted = self.top_k
        else:
            wanted = MAX_TOP_K if self.truncated else 1
        return min(max(wanted, self.top_logprobs, CONFIDENCE_WIDTH), MAX_TOP_K)

    @property
    def columns(self) -> int:
        """How many of the most probable tokens a branch keeps for each token."""
        return max(self.candidates, self.top_logprobs)


def _biases(name: str, value: object, *, error: type[InputError]) -> tuple[tuple[int, float], ...]:
    """`value` as pairs of a token id and what is added to its logit.

    Raises:
        InputError: It is something else; of the kind `error`.
    """
    pairs = value.items() if isinstance(value, Mapping) else value
    if not isinstance(pairs, Iterable) or isinstance(pairs, str | bytes):
        raise error(f"{name}={shown(value)}: must map token ids to numbers, such as {{50256: -100}}")
    biases: dict[int, float] = {}
    for pair in pairs:
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise error(f"{name}={shown(value)}: must map token ids to numbers, such as {{50256: -100}}")
        token = check_integer(f"a token of {name}", pair[0], "an integer >= 0", least=0, error=error)
        biases[token] = check_number(
            f"{name}[{token}]", pair[1], f"from -{_MOST:g} to {_MOST:g}", least=-_MOST, most=_MOST, error=error
        )
    return tuple(biases.items())


def _computes(factor: float) -> bool:
    return _LEAST <= factor <= _MOST
