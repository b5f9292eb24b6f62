"""Builds the byte-level BPE of `vocab.json` and `merges.txt`, the layout before `tokenizer.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers

from ..byte_level import GPT2_SPLIT, QWEN2_SPLIT
from ..errors import TokenizerError
from ..files.json_file import MAX_BYTES, read_json, read_json_if_present
from ..files.plain_file import read_plain_text
from ..files.rust_errors import translated
from .special_tokens import CONFIG_FILE

VOCABULARY_FILE = "vocab.json"
MERGES_FILE = "merges.txt"

CONVERT = (
    "Write tokenizer.json with transformers: AutoTokenizer.from_pretrained(folder).save_pretrained(folder), or use "
    "the tokenizer.json of the model that this one was made from"
)
"""Advice for a tokenizer that is stored in another way."""

_END_OF_TEXT = "<|endoftext|>"
CLASS_DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "Qwen2Tokenizer": dict.fromkeys(("eos_token", "unk_token", "pad_token"), _END_OF_TEXT),
    "GPT2Tokenizer": dict.fromkeys(("bos_token", "eos_token", "unk_token"), _END_OF_TEXT),
}
"""The transformers classes that can be built from these files, with the default special tokens of each."""


def tokenizer_class(folder: Path) -> str:
    """The class that transformers would build from the two files of `folder`.

    Raises:
        TokenizerError: This engine does not support the class.
    """
    config = read_json_if_present(folder / "config.json")
    if config.get("model_type") == "qwen2":
        return "Qwen2Tokenizer"
    name = read_json_if_present(folder / CONFIG_FILE).get("tokenizer_class") or config.get("tokenizer_class")
    known = name.removesuffix("Fast") if isinstance(name, str) else ""
    if known not in CLASS_DEFAULTS:
        raise TokenizerError(
            f"{folder}: has {VOCABULARY_FILE} and {MERGES_FILE} but no tokenizer.json, and tokenizer_class in "
            f"{CONFIG_FILE} is {name!r}: only {' and '.join(CLASS_DEFAULTS)} can be built from them. {CONVERT}"
        )
    return known


def backend_from_vocabulary(folder: Path, name: str) -> tokenizers.Tokenizer:
    """Build the tokenizer of class `name` without its special tokens.

    Raises:
        CheckpointError: A file cannot be read.
        TokenizerError: The files are broken or do not fit each other.
    """
    vocabulary = folder / VOCABULARY_FILE
    try:
        backend = tokenizers.Tokenizer(models.BPE(_words(vocabulary), _merges(folder / MERGES_FILE)))
    except BaseException as error:
        what = f"{vocabulary} and {MERGES_FILE}: not a vocabulary with its merges"
        raise translated(error, what, TokenizerError) from error
    if name == "Qwen2Tokenizer":
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = QWEN2_SPLIT if name == "Qwen2Tokenizer" else GPT2_SPLIT
    backend.decoder = decoders.ByteLevel()
    return backend


def _words(file: Path) -> dict[str, int]:
    listed = read_json(file)
    words = {text: id for text, id in listed.items() if isinstance(id, int)}
    if len(words) < len(listed):
        raise TokenizerError(f"{file}: must map words to token ids")
    return words


def _merges(file: Path) -> list[tuple[str, str]]:
    merges = []
    for number, line in enumerate(read_plain_text(file, MAX_BYTES).removesuffix("\n").split("\n"), 1):
        if not line.startswith("#version"):
            left, space, right = line.removesuffix("\r").partition(" ")
            if not space or " " in right:
                raise TokenizerError(f"{file}: line {number} is not two words: {line!r:.80}")
            merges.append((left, right))
    return merges
