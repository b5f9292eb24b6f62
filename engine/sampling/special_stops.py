"""Turns stop strings that are special tokens into stop token ids."""

from __future__ import annotations

from dataclasses import replace

from ...model import Tokenizer
from ..errors import SamplingError
from .sampling import Sampling


def with_special_stops(sampling: Sampling, tokenizer: Tokenizer | None) -> tuple[Sampling, dict[int, str]]:
    """Return `sampling` with the stop strings that are special tokens moved to its stop token ids, and these strings.

    A branch's text is decoded without special tokens, so it would never contain such a string. The returned strings are
    keyed by token id and leave out tokens that `sampling.stop_token_ids` has anyway.

    Raises:
        SamplingError: A stop string has a special token among other characters.
    """
    if tokenizer is None or not sampling.stop:
        return sampling, {}
    special = [text for text in sampling.stop if text in tokenizer.special_tokens]
    for text in sampling.stop:
        inside = None if text in special else tokenizer.special_token_in(text)
        if inside is not None:
            raise SamplingError(
                f"stop={text!r}: {inside} is a special token and never part of a text; stop at {inside!r} alone, "
                f"or use stop_token_ids=({tokenizer.special_tokens[inside]},)"
            )
    if not special:
        return sampling, {}
    strings = {tokenizer.special_tokens[text]: text for text in special}
    for token in sampling.stop_token_ids:
        strings.pop(token, None)
    stop = tuple(text for text in sampling.stop if text not in special)
    return replace(sampling, stop=stop, stop_token_ids=(*sampling.stop_token_ids, *strings)), strings
