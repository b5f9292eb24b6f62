"""A tokenizer for models with random weights: every token is a word."""

from __future__ import annotations

import tokenizers
from marcot.model import Tokenizer
from tokenizers import models, pre_tokenizers


def word_tokenizer(vocab_size: int) -> Tokenizer:
    """`"w0 w1 w2"` is `[0, 1, 2]`; any token has a text, as draws of a random model may be any token."""
    words = {f"w{id}": id for id in range(vocab_size)}
    backend = tokenizers.Tokenizer(models.WordLevel(words, unk_token="w0"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return Tokenizer(backend)


def words_of(ids: list[int]) -> str:
    """The text whose tokens are `ids`."""
    return " ".join(f"w{id}" for id in ids)
