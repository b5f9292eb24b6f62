"""Turns stop strings that are special tokens into stop token ids."""

from __future__ import annotations

from dataclasses import replace

from ...model import Tokenizer
from ..errors import SamplingError
from .sampling import Sampling


def with_special_stops(sampling: Sampling, tokenizer: Tokenizer | None) -> Sampling:
    """Return `sampling` with the stop strings that are special tokens moved to its stop token ids.

    A branch's text is decoded without special tokens, so it would never contain such a string.

    Raises:
        SamplingError: A stop string has a special token among other characters.
    """
    if tokenizer is None or not sampling.stop:
        return sampling
    special = [text for text in sampling.stop if text in tokenizer.special_tokens]
    for text in sampling.stop:
        inside = None if text in special else tokenizer.special_token_in(text)
        if inside is not None:
            raise SamplingError(
                f"stop={text!r}: {inside} is a special token and never part of a text; stop at {inside!r} alone, "
                f"or use stop_token_ids=({tokenizer.special_tokens[inside]},)"
            )
    if not special:
        return sampling
    ids = (tokenizer.special_tokens[text] for text in special)
    return replace(
        sampling,
        stop=tuple(text for text in sampling.stop if text not in special),
        stop_token_ids=(*sampling.stop_token_ids, *ids),
    )
