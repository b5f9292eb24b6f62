"""A Markov chain of tokens that reads like reasoning in steps: what the canned kernels let the engine write."""

from __future__ import annotations

from typing import Final, NamedTuple

import tokenizers
import torch
from marcot.model import Tokenizer
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from torch import Tensor

END: Final = 0
BLANK_LINE: Final = 1
WORDS: Final = 768
"""Tokens that are words, each with a space before it."""

COLUMNS: Final = 64
"""Candidates of each row: as many as a head keeps at most."""

STEP_TOKENS: Final = 40
"""Words of a step, on average: every so many-th word ends a sentence and is followed by a blank line."""

CHAIN_STEPS: Final = 6
"""Steps of a chain, on average."""

_SURE: Final = 6.0
"""How far the most probable logit is above the others where there is hardly a choice."""


class Chain(NamedTuple):
    """What may follow each token.

    Attributes:
        top_ids: `[vocabulary, COLUMNS]` int64, best first.
        top_logits: `[vocabulary, COLUMNS]` fp32.
        lse: `[vocabulary]` fp32.
    """

    top_ids: Tensor
    top_logits: Tensor
    lse: Tensor


def text_tokenizer() -> Tokenizer:
    """Bytes, words and a blank line; what is encoded becomes a token a byte."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    texts = ["<|end|>", "ĊĊ", *(f"Ġ{_word(number)}" for number in range(WORDS)), *letters]
    backend = tokenizers.Tokenizer(models.BPE({text: id for id, text in enumerate(texts)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(texts[END], special=True, normalized=False)])
    return Tokenizer(backend)


def chain() -> Chain:
    """Words in random order; after the last one of a sentence a blank line, and after some blank lines the end."""
    draw = torch.Generator().manual_seed(0)
    vocabulary = 2 + WORDS + len(pre_tokenizers.ByteLevel.alphabet())
    ids = torch.stack([torch.randperm(WORDS, generator=draw)[:COLUMNS] + 2 for _ in range(vocabulary)])
    logits = torch.rand((vocabulary, COLUMNS), generator=draw).sort(dim=1, descending=True).values
    ends_sentence = torch.arange(2, vocabulary, STEP_TOKENS)
    ids[ends_sentence, 0] = BLANK_LINE
    logits[ends_sentence, 0] = _SURE
    # After a blank line one of so many continuations of about the same chance is the end.
    ids[BLANK_LINE, CHAIN_STEPS - 1] = END
    logits[BLANK_LINE, :CHAIN_STEPS] = _SURE - torch.arange(CHAIN_STEPS) * 1e-3
    return Chain(ids, logits, logits.logsumexp(dim=1))


def _word(number: int) -> str:
    """A number now and then, else letters."""
    if number % 8 == 0:
        return str(number)
    return "".join(chr(ord("a") + number // 26**place % 26) for place in range(2 + number % 4))
