"""The SentencePiece BPE in a GGUF file, as in Llama 2: a vocabulary with scores instead of merges."""

from __future__ import annotations

from collections.abc import Sequence

import tokenizers
from tokenizers import decoders, models, normalizers

from ..errors import TokenizerError
from ..files.rust_errors import translated
from ..tokenizer import SPACE

_NORMAL, _UNKNOWN, _BYTE = 1, 2, 6
_LONGEST_WORD = 256
"""Maximum length of a word made by merges; the limit bounds the time that a malicious file can take."""

_MOST_MERGES = 1 << 21
"""Maximum number of merges; the limit bounds the memory that a malicious file can take. A real vocabulary has about two
for each word; one that has every word of twenty letters, be they only a and b, has nineteen."""


def sentence_piece_bpe(
    words: Sequence[str], scores: Sequence[float], types: Sequence[object], *, leading_space: bool, source: str
) -> tokenizers.Tokenizer:
    """Build the tokenizer without its special tokens.

    SentencePiece joins the two neighbours whose joined word has the best score, and among equals the first ones. A list
    of merges does the same if it has every way to make a word of two others, in the order of the words' scores.

    Args:
        words: By token id; spaces are `SPACE`, single bytes `<0x00>` to `<0xFF>`.
        scores: Of each word.
        types: Of each word, as in `tokenizer.ggml.token_type`.
        leading_space: A text is encoded as if a space were in front of it.
        source: The file, for messages.

    Raises:
        TokenizerError: The words do not make a tokenizer.
    """
    vocabulary = {word: id for id, word in enumerate(words)}
    unknown = next((words[id] for id, type in enumerate(types) if type == _UNKNOWN), None)
    merges = _merges(vocabulary, words, scores, types)
    if merges is None:
        raise TokenizerError(
            f"{source}: tokenizer.ggml.tokens need more than {_MOST_MERGES} merges: no real vocabulary does"
        )
    try:
        model = models.BPE(
            vocab=vocabulary,
            merges=merges,
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=_BYTE in types,
        )
    except BaseException as error:
        raise translated(error, f"{source}: tokenizer.ggml.tokens make no tokenizer", TokenizerError) from error
    backend = tokenizers.Tokenizer(model)
    spaces = normalizers.Replace(" ", SPACE)
    backend.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), spaces]) if leading_space else spaces
    backend.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    return backend


def _merges(
    vocabulary: dict[str, int], words: Sequence[str], scores: Sequence[float], types: Sequence[object]
) -> list[tuple[str, str]] | None:
    """Every pair of words that makes a word, best first; pairs that make the same one by the ids of their parts.

    Returns:
        The pairs; None if there are more than `_MOST_MERGES`.
    """
    found = []
    for id, word in enumerate(words):
        if types[id] != _NORMAL or not 1 < len(word) <= _LONGEST_WORD:
            continue
        for cut in range(1, len(word)):
            left, right = vocabulary.get(word[:cut]), vocabulary.get(word[cut:])
            if left is not None and right is not None:
                found.append((-scores[id], id, left, right))
        if len(found) > _MOST_MERGES:
            return None
    return [(words[left], words[right]) for _, _, left, right in sorted(found)]
