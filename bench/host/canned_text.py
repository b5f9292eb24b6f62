"""The text that the canned kernels generate: a Markov chain of tokens that looks like reasoning in steps."""

from __future__ import annotations

from typing import Final, NamedTuple

import tokenizers
import torch
from marcot.model import Tokenizer
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from torch import Tensor

END: Final = 0
WORDS: Final = 768
"""Number of tokens that are words, each preceded by a space."""

COLUMNS: Final = 64
"""Candidates per row: the maximum that an LM head keeps."""

STEP_TOKENS: Final = 40
"""Average words per step: every 40th word of the vocabulary also contains a full stop and a blank line."""

CHAIN_STEPS: Final = 6
"""Average steps per chain, sampled or greedy."""


class Chain(NamedTuple):
    """The possible successors of each token.

    Attributes:
        top_ids: `[vocabulary, COLUMNS]` int64, best first.
        top_logits: `[vocabulary, COLUMNS]` fp32.
        lse: `[vocabulary]` fp32.
    """

    top_ids: Tensor
    top_logits: Tensor
    lse: Tensor


def text_tokenizer() -> Tokenizer:
    """Return a tokenizer whose vocabulary is words and bytes. Encoding gives one token per byte."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    texts = ["<|end|>", *(f"Ġ{_word(number)}" for number in range(WORDS)), *letters]
    backend = tokenizers.Tokenizer(models.BPE({text: id for id, text in enumerate(texts)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(texts[END], special=True, normalized=False)])
    return Tokenizer(backend)


def chain() -> Chain:
    """Return a chain of random words: the most probable is the next in the vocabulary. Some steps end the text."""
    draw = torch.Generator().manual_seed(0)
    vocabulary = 1 + WORDS + len(pre_tokenizers.ByteLevel.alphabet())
    ids = torch.stack([torch.randperm(WORDS, generator=draw)[:COLUMNS] + 1 for _ in range(vocabulary)])
    logits = torch.rand((vocabulary, COLUMNS), generator=draw).sort(dim=1, descending=True).values
    following = torch.arange(vocabulary) % WORDS + 1
    taken = (ids == following[:, None]).nonzero()
    ids[taken[:, 0], taken[:, 1]] = ids[taken[:, 0], 0]
    ids[:, 0] = following
    steps = torch.arange(STEP_TOKENS, WORDS, STEP_TOKENS)
    # After a step, END is one of CHAIN_STEPS almost equally probable tokens; after each CHAIN_STEPS-th, it is first.
    logits[steps, :CHAIN_STEPS] += 9
    ids[steps, CHAIN_STEPS - 1] = END
    ids[steps[CHAIN_STEPS - 1 :: CHAIN_STEPS]] = ids[steps[CHAIN_STEPS - 1 :: CHAIN_STEPS]].roll(1 - CHAIN_STEPS, 1)
    return Chain(ids, logits, logits.logsumexp(dim=1))


def _word(number: int) -> str:
    """Return word `number`: letters or, for every eighth word, digits; the last one of a step ends in a blank line."""
    word = str(number) if number % 8 == 0 else "".join(chr(97 + number // 26**at % 26) for at in range(2 + number % 4))
    return word + (".ĊĊ" if (number + 1) % STEP_TOKENS == 0 else "")
