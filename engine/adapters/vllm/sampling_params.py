"""vLLM's sampling parameters."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from ...checking import check_integer, check_number, shown
from ...errors import SamplingError
from ...sampling.sampling import Sampling

_GREEDY_BELOW = 1e-5
"""Temperatures below this are greedy, as in vLLM."""

_ALL = -1
"""Stands for the whole vocabulary instead of a number of tokens."""


@dataclass
class SamplingParams:
    """How a prompt is continued, with vLLM's names and defaults.

    See `marcot.Sampling` for what has the same name there. What marcot does not have is refused: `best_of` above `n`,
    `logits_processors`, `structured_outputs`, and anything that is not listed here.

    Attributes:
        n: Number of samples of each prompt.
        best_of: Not supported, except as None or equal to `n`.
        top_k: 0 or -1 keeps all.
        seed: None draws different samples in every call (reproducible by the `seed` of the `LLM`). Equal prompts in
            one call are different samples in either case.
        stop: String or strings that end a sample.
        stop_token_ids: Tokens that end a sample.
        max_tokens: None: as many as the context leaves room for.
        logprobs: How many of the most probable tokens to return per position, in addition to the drawn one; -1: all.
        prompt_logprobs: The same for the tokens of the prompt.
        detokenize: False leaves texts empty.
        skip_special_tokens: False writes special tokens out in the text.
        spaces_between_special_tokens: Ignored: texts are the tokenizer's own.
        include_stop_str_in_output: Whether a text ends with the stop string instead of before it.
        truncate_prompt_tokens: Keep only this many tokens at the end of a prompt.
    """

    n: int = 1
    best_of: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: str | Sequence[str] | None = None
    stop_token_ids: Sequence[int] | None = None
    bad_words: Sequence[str] | None = None
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    max_tokens: int | None = 16
    min_tokens: int = 0
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    detokenize: bool = True
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True
    truncate_prompt_tokens: int | None = None
    logits_processors: Any = None
    structured_outputs: Any = None
    logit_bias: Mapping[int, float] | None = None
    allowed_token_ids: Sequence[int] | None = None

    def __post_init__(self) -> None:
        """Check everything.

        Raises:
            SamplingError: A value is invalid, or asks for something that marcot does not have.
        """
        self.sampling(1, 1)

    def clone(self) -> Self:
        """An independent copy."""
        return copy.deepcopy(self)

    def sampling(self, room: int, vocab_size: int) -> Sampling:
        """Convert to marcot's `Sampling`, for a model of `vocab_size` tokens.

        Args:
            room: Maximum new tokens if `max_tokens` is None.
            vocab_size: How many log-probabilities -1 stands for.

        Raises:
            SamplingError: See the class.
        """
        check_integer("n", self.n, "an integer >= 1", least=1, error=SamplingError)
        if self.best_of not in (None, self.n):
            raise SamplingError(
                f"best_of={shown(self.best_of)}: marcot returns every sample that it draws; ask for as many as n, and "
                "keep those with the highest cumulative_logprob"
            )
        for name in ("logits_processors", "structured_outputs"):
            if getattr(self, name):
                raise SamplingError(f"{name}: marcot has none; leave it out")
        if self.truncate_prompt_tokens is not None:
            check_integer(
                "truncate_prompt_tokens", self.truncate_prompt_tokens, "an integer >= 1", least=1, error=SamplingError
            )
        stop = () if self.stop is None else self.stop
        temperature = check_number(
            "temperature", self.temperature, "a finite number >= 0", least=0, error=SamplingError
        )
        return Sampling(
            temperature=0.0 if temperature < _GREEDY_BELOW else temperature,
            top_k=0 if self.top_k == _ALL else self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
            logit_bias=self.logit_bias or {},
            allowed_token_ids=tuple(self.allowed_token_ids or ()),
            bad_words=tuple(self.bad_words or ()),
            min_tokens=self.min_tokens,
            max_tokens=max(room, 1) if self.max_tokens is None else self.max_tokens,
            stop=tuple(each for each in ((stop,) if isinstance(stop, str) else stop) if each),
            include_stop=self.include_stop_str_in_output,
            stop_token_ids=tuple(self.stop_token_ids or ()),
            ignore_eos=self.ignore_eos,
            seed=self.seed,
            top_logprobs=max(columns("logprobs", self.logprobs, vocab_size), Sampling().top_logprobs),
        )


def columns(name: str, wanted: int | None, vocab_size: int) -> int:
    """How many of the most probable tokens `logprobs` or `prompt_logprobs` stands for, at least 1.

    Raises:
        SamplingError: It is below -1.
    """
    if wanted is None:
        return 1
    wanted = check_integer(name, wanted, "an integer >= -1 (-1: all)", least=_ALL, error=SamplingError)
    return vocab_size if wanted == _ALL else min(max(wanted, 1), vocab_size)
