"""Rules that change the logits of single tokens, before temperature and truncation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ...model import Tokenizer
from ..errors import SamplingError
from .sampling import Sampling

_NONE = np.float32(-np.inf)


class LogitRules:
    """Biases, penalties and bans of one branch, and the counts of its drawn tokens that they depend on.

    They are applied in this order, in fp32: biases are added, the repetition penalty divides or multiplies, the
    frequency and presence penalties are subtracted, and logits of banned tokens become -inf.

    Attributes:
        lowers: Whether the rules can only lower logits, so that tokens outside a row's candidates stay below the last
            candidate's raw logit.
    """

    def __init__(
        self,
        sampling: Sampling,
        path: Sequence[int],
        ends: Collection[int],
        bad_words: Sequence[tuple[int, ...]],
    ) -> None:
        """Make the rules of a branch that has not drawn any token.

        Args:
            sampling: The parameters that define the rules.
            path: All tokens before the branch.
            ends: Tokens that end the branch; banned until it has drawn `min_tokens` tokens.
            bad_words: Banned token sequences; see `bad_word_ids`.
        """
        self._sampling = sampling
        self._bias = dict(sampling.logit_bias)
        self._seen = set(path) if sampling.repetition_penalty != 1 else set()
        self._counts: Counter[int] = Counter()
        self._allowed = frozenset(sampling.allowed_token_ids)
        self._ends = frozenset(ends)
        self._bad_words = bad_words
        self._reach = max((len(word) for word in bad_words), default=1) - 1
        self._tail = list(path[-self._reach :] if self._reach else ())
        self._drawn = 0
        self.lowers = (
            sampling.repetition_penalty >= 1
            and sampling.frequency_penalty >= 0
            and sampling.presence_penalty >= 0
            and all(bias <= 0 for bias in self._bias.values())
        )

    @classmethod
    def of(
        cls,
        sampling: Sampling,
        path: Sequence[int],
        ends: Collection[int],
        bad_words: Sequence[tuple[int, ...]],
    ) -> Self | None:
        """The rules of `sampling`; None if it has none."""
        return cls(sampling, path, ends, bad_words) if sampling.adjusts else None

    def take(self, ids: Sequence[int]) -> None:
        """Count tokens that were drawn."""
        self._drawn += len(ids)
        if self._sampling.repetition_penalty != 1:
            self._seen.update(ids)
        if self._sampling.frequency_penalty or self._sampling.presence_penalty:
            self._counts.update(ids)
        if self._reach:
            self._tail = [*self._tail, *ids][-self._reach :]

    def applied(self, ids: NDArray[np.int64], logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Apply the rules to the logits of some tokens.

        Args:
            ids: `[k]` int64, distinct tokens.
            logits: `[k]` fp32, their raw logits.

        Returns:
            `[k]` fp32, the changed logits.
        """
        sampling, logits = self._sampling, logits.copy()
        place = _Places(ids)
        if self._bias:
            columns = place.of(self._bias)
            logits[columns] += np.array([self._bias[token] for token in ids[columns].tolist()], np.float32)
        if self._seen:
            columns, penalty = place.of(self._seen), np.float32(sampling.repetition_penalty)
            values = logits[columns]
            logits[columns] = np.where(values > 0, values / penalty, values * penalty)
        if self._counts:
            columns = place.of(self._counts)
            counts = np.array([self._counts[token] for token in ids[columns].tolist()], np.float32)
            logits[columns] -= np.float32(sampling.frequency_penalty) * counts
            logits[columns] -= np.float32(sampling.presence_penalty)
        if self._allowed:
            columns = place.of(self._allowed)
            kept = logits[columns]
            logits[:] = _NONE
            logits[columns] = kept
        if banned := self._banned():
            logits[place.of(banned)] = _NONE
        return logits

    def _banned(self) -> set[int]:
        """Tokens that must not come next."""
        banned = {
            word[-1]
            for word in self._bad_words
            if len(word) == 1 or tuple(self._tail[len(self._tail) - len(word) + 1 :]) == word[:-1]
        }
        return banned | self._ends if self._drawn < self._sampling.min_tokens else banned


class _Places:
    """Finds the columns of tokens in a row: by comparing each of a few candidates, or with a table for large rows."""

    _FEW = 256
    """Maximum columns without a table: more than any row of candidates has."""

    def __init__(self, ids: NDArray[np.int64]) -> None:
        self._ids = ids
        self._table: NDArray[np.int64] | None = None
        if len(ids) > self._FEW:
            self._table = np.empty(len(ids), np.int64)
            self._table[ids] = np.arange(len(ids))

    def of(self, tokens: Collection[int]) -> NDArray[np.int64]:
        """The columns of the `tokens` that are in the row."""
        if self._table is None:
            return np.flatnonzero([token in tokens for token in self._ids.tolist()])
        each = np.fromiter(tokens, np.int64, len(tokens))
        return self._table[each[each < len(self._table)]]


def bad_word_ids(words: Sequence[str], tokenizer: Tokenizer | None) -> list[tuple[int, ...]]:
    """The token ids of each word: as encoded at the beginning of a text, and after a space.

    Raises:
        SamplingError: There is no tokenizer.
    """
    if not words:
        return []
    if tokenizer is None:
        raise SamplingError(
            "bad_words: this checkpoint has no tokenizer to read words; use logit_bias for single tokens"
        )
    spellings = (tokenizer.encode(space + word.lstrip()) for word in words for space in ("", " "))
    return [tuple(ids) for ids in dict.fromkeys(map(tuple, spellings)) if ids]


def check_vocabulary(sampling: Sampling, vocab_size: int) -> None:
    """Check that the token ids in the rules are in the vocabulary.

    Raises:
        SamplingError: One is not.
    """
    named = {"logit_bias": dict(sampling.logit_bias), "allowed_token_ids": sampling.allowed_token_ids}
    for name, tokens in named.items():
        beyond = next((token for token in tokens if token >= vocab_size), None)
        if beyond is not None:
            raise SamplingError(f"{name}: token id {beyond}: the model's vocabulary is 0 to {vocab_size - 1}")
