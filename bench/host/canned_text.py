"""A Markov chain of tokens that reads like reasoning in steps: what the canned kernels let the engine write."""

from __future__ import annotations

from typing import Final, NamedTuple

import tokenizers
import torch
from marcot.model import Tokenizer
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from torch import Tensor

END: Final = 0
WORDS: Final = 768
"""Tokens that are words, each with a space before it."""

COLUMNS: Final = 64
"""Candidates of each row: as many as a head keeps at most."""

STEP_TOKENS: Final = 40
"""Words of a step, on average: every so many-th word is followed by a full stop and a blank line, in the same token."""

CHAIN_STEPS: Final = 6
"""Steps of a chain, on average, sampled or greedy."""


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
    """Words, and bytes; what is encoded becomes a token a byte."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    texts = ["<|end|>", *(f"Ġ{_word(number)}" for number in range(WORDS)), *letters]
    backend = tokenizers.Tokenizer(models.BPE({text: id for id, text in enumerate(texts)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(texts[END], special=True, normalized=False)])
    return Tokenizer(backend)


def chain() -> Chain:
    """Words in random order, of which the next one in the vocabulary is the most probable; after some steps the end."""
    draw = torch.Generator().manual_seed(0)
    vocabulary = 1 + WORDS + len(pre_tokenizers.ByteLevel.alphabet())
    ids = torch.stack([torch.randperm(WORDS, generator=draw)[:COLUMNS] + 1 for _ in range(vocabulary)])
    logits = torch.rand((vocabulary, COLUMNS), generator=draw).sort(dim=1, descending=True).values
    following = torch.arange(vocabulary) % WORDS + 1
    taken = (ids == following[:, None]).nonzero()
    ids[taken[:, 0], taken[:, 1]] = ids[taken[:, 0], 0]
    ids[:, 0] = following
    steps = torch.arange(STEP_TOKENS, WORDS, STEP_TOKENS)
    # One of so many continuations of a step, about as probable as the others; after some of them the most probable one.
    logits[steps, :CHAIN_STEPS] += 9
    ids[steps, CHAIN_STEPS - 1] = END
    ids[steps[CHAIN_STEPS - 1 :: CHAIN_STEPS]] = ids[steps[CHAIN_STEPS - 1 :: CHAIN_STEPS]].roll(1 - CHAIN_STEPS, 1)
    return Chain(ids, logits, logits.logsumexp(dim=1))


def _word(number: int) -> str:
    """A number now and then, else letters; behind the last one of a step an empty line."""
    word = str(number) if number % 8 == 0 else "".join(chr(97 + number // 26**at % 26) for at in range(2 + number % 4))
    return word + (".ĊĊ" if (number + 1) % STEP_TOKENS == 0 else "")
