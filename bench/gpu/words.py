"""A tokenizer for models with random weights: every token is a word."""

from __future__ import annotations

import tokenizers
from marcot.model import Tokenizer
from tokenizers import models, pre_tokenizers


def word_tokenizer(vocab_size: int) -> Tokenizer:
    """A tokenizer that maps `"w0 w1 w2"` to `[0, 1, 2]`. Every id has a text, since a random model draws any id."""
    words = {f"w{id}": id for id in range(vocab_size)}
    backend = tokenizers.Tokenizer(models.WordLevel(words, unk_token="w0"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return Tokenizer(backend)


def words_of(ids: list[int]) -> str:
    """The text whose tokens are `ids`."""
    return " ".join(f"w{id}" for id in ids)
