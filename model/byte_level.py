"""Splits a text into words before the merges of byte-level BPE."""

from __future__ import annotations

from tokenizers import Regex, pre_tokenizers

_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}"
    r"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""The split of cl100k, which Qwen2 and Llama 3 share except for digits."""

_CAPITALS, _SMALL, _BEFORE = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]", r"[^\r\n\p{L}\p{N}]?"
_TEKKEN = (
    rf"{_BEFORE}{_CAPITALS}*{_SMALL}+|{_BEFORE}{_CAPITALS}+{_SMALL}*|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""The split of Mistral Nemo's Tekken: a word ends where a capital follows small letters, and every digit is a word."""


def _split_then_bytes(regex: str) -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(Regex(regex), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


QWEN2_SPLIT = _split_then_bytes(_SPLIT.format(digits=r"\p{N}"))
LLAMA3_SPLIT = _split_then_bytes(_SPLIT.format(digits=r"\p{N}{1,3}"))
TEKKEN_SPLIT = _split_then_bytes(_TEKKEN)
GPT2_SPLIT = pre_tokenizers.ByteLevel(add_prefix_space=False)
SMOLLM_SPLIT = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
)
