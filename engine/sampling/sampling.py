"""How the next tokens of a branch are chosen, and when the branch ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
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

LEAST_FACTOR, MOST_FACTOR = 1e-9, 1e9
"""Range of factors for fp32 logits; outside it, logits overflow or lose their order."""

_RANGE = f"from {LEAST_FACTOR:g} to {MOST_FACTOR:g}"


@dataclass(frozen=True, slots=True)
class Sampling:
    """Parameters of one expansion.

    They are applied in the order of `transformers` and vLLM: biases, repetition penalty, frequency and presence
    penalty, banned tokens, then temperature, top-k, top-p, min-p.

    Truncation is exact: if the candidates that the LM-head kernel returns do not suffice, the full row of logits
    decides (counted in `Usage.full_rows`).

    Attributes:
        temperature: Divides the logits; 0 is greedy. The default suits searches (docs/evaluation.md).
        top_k: Keep the `top_k` most probable tokens; 0 keeps all.
        top_p: Keep the smallest set of most probable tokens whose probability reaches `top_p`; 1 keeps all.
        min_p: Keep tokens at least `min_p` times as probable as the most probable one; 0 keeps all.
        repetition_penalty: Divides positive and multiplies negative logits of tokens on the branch's path, prompt
            included (CTRL, arXiv 1909.05858); 1 is off.
        frequency_penalty: From -2 to 2; subtracted from a token's logit once for every time the branch has drawn it.
        presence_penalty: From -2 to 2; subtracted once from the logits of all tokens that the branch has drawn.
        logit_bias: Mapping from token ids to values that are added to their logits; stored as a tuple of pairs.
        allowed_token_ids: The only tokens that may be drawn; empty allows all.
        bad_words: Strings that must not occur: if all but the last token of one have been drawn, the last token is
            banned. Each is encoded both as at the beginning of a text and as after a space.
        min_tokens: Minimum number of new tokens: until then, tokens that end a branch are banned, and stop strings are
            ignored.
        max_tokens: Maximum number of new tokens.
        stop: String or strings that end a branch as soon as its new text contains one, also across token boundaries. A
            string that is a special token, such as `"<|im_end|>"`, ends the branch at that token; a string that
            contains a special token and other characters is an error.
        include_stop: Whether `text` keeps the stop string that ended the branch and the rest of its last token, so
            that it is exactly the text of the tokens. The tokens are kept either way.
        stop_token_ids: Token or tokens that end a branch, in addition to the model's end-of-sequence tokens.
        ignore_eos: Do not stop at the model's end-of-sequence tokens.
        seed: Seed of the draws, which depend only on it, the tokens before the branch, and the sample index. None uses
            a new random seed for every branch.
        top_logprobs: Minimum number of columns of `Node.top_ids` and `Node.top_logprobs`; truncation may need more. If
            this is more than 64, the full row of logits is used; there are at most as many columns as tokens.
        logprobs: Which log-probabilities a branch records: `"raw"`, the model's own; or `"processed"`, those of the
            distribution that the token was drawn from, with -inf for tokens that could not be drawn. For greedy
            sampling, this is the distribution before it is narrowed to the best token.
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
        """Check all types and ranges; convert numpy numbers to Python's and a single stop to a tuple.

        Raises:
            SamplingError: A parameter is invalid; the message names it, its value and the allowed values.
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
        value = getattr(self, name)
        if value is not _DEFAULTS[name]:  # most are; a search makes hundreds of samplings per second
            object.__setattr__(self, name, check(name, value, error=SamplingError, **rules))

    def __repr__(self) -> str:
        return brief_changes(self)

    @property
    def greedy(self) -> bool:
        """Whether sampling always takes the most probable token."""
        return self.temperature == 0

    @property
    def truncated(self) -> bool:
        """Whether top-k, top-p, min-p or a logit rule changes the distribution."""
        return self.top_k > 0 or self.top_p < 1 or self.min_p > 0 or self.adjusts

    @property
    def adjusts(self) -> bool:
        """Whether there are logit rules (biases, penalties, bans), which are applied before everything else."""
        penalised = self.repetition_penalty != 1 or self.frequency_penalty != 0 or self.presence_penalty != 0
        banned = bool(self.allowed_token_ids or self.bad_words) or self.min_tokens > 0
        return penalised or banned or bool(self.logit_bias)

    @property
    def needs_full_row(self) -> bool:
        """Whether the recorded log-probabilities need the full row of logits for every token."""
        return self.logprobs == "processed" or self.top_logprobs > MAX_TOP_K

    @property
    def on_host(self) -> bool:
        """Whether every token is chosen on the host instead of the device."""
        return self.adjusts or self.needs_full_row

    @property
    def pure(self) -> bool:
        """Whether only the temperature changes the distribution, so that the LM-head kernel can draw the token."""
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
        """How many of the most probable tokens a branch records per drawn token."""
        return max(self.candidates, self.top_logprobs)


_DEFAULTS = {field.name: field.default for field in fields(Sampling)}


def _biases(name: str, value: object, *, error: type[InputError]) -> tuple[tuple[int, float], ...]:
    """`value` as pairs of a token id and the value to add to its logit.

    Raises:
        InputError: It is something else; raised as `error`.
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
            f"{name}[{token}]",
            pair[1],
            f"from -{MOST_FACTOR:g} to {MOST_FACTOR:g}",
            least=-MOST_FACTOR,
            most=MOST_FACTOR,
            error=error,
        )
    return tuple(biases.items())


def _computes(factor: float) -> bool:
    return LEAST_FACTOR <= factor <= MOST_FACTOR
