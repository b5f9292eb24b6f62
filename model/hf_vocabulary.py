"""The byte-level BPE of `vocab.json` and `merges.txt`, the layout before `tokenizer.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers

from .byte_level import GPT2_SPLIT, QWEN2_SPLIT
from .errors import TokenizerError
from .hf_special_tokens import CONFIG_FILE
from .json_file import MAX_BYTES, read_json_if_present

VOCABULARY_FILE = "vocab.json"
MERGES_FILE = "merges.txt"

CONVERT = (
    "Write tokenizer.json with transformers: AutoTokenizer.from_pretrained(folder).save_pretrained(folder), or take "
    "the tokenizer.json of the model that this one was made from"
)
"""What to do about a tokenizer that is stored in another way."""

_END_OF_TEXT = "<|endoftext|>"
CLASS_DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "Qwen2Tokenizer": dict.fromkeys(("eos_token", "unk_token", "pad_token"), _END_OF_TEXT),
    "GPT2Tokenizer": dict.fromkeys(("bos_token", "eos_token", "unk_token"), _END_OF_TEXT),
}
"""The classes of transformers that these files are made into, and the special tokens that each has by default."""


def tokenizer_class(folder: Path) -> str:
    """The class that transformers would make the two files of `folder` into.

    Raises:
        TokenizerError: It is none that this engine knows.
    """
    config = read_json_if_present(folder / "config.json")
    if config.get("model_type") == "qwen2":
        return "Qwen2Tokenizer"
    name = read_json_if_present(folder / CONFIG_FILE).get("tokenizer_class") or config.get("tokenizer_class")
    known = name.removesuffix("Fast") if isinstance(name, str) else ""
    if known not in CLASS_DEFAULTS:
        raise TokenizerError(
            f"{folder}: tokenizer.json is missing; {VOCABULARY_FILE} and {MERGES_FILE} are there, but tokenizer_class "
            f"in {CONFIG_FILE} is {name!r}: only {' and '.join(CLASS_DEFAULTS)} are built from them. {CONVERT}"
        )
    return known


def backend_from_vocabulary(folder: Path, name: str) -> tokenizers.Tokenizer:
    """Build the tokenizer of class `name` without its special tokens.

    Raises:
        TokenizerError: The files are broken or do not fit each other.
    """
    vocabulary, merges = folder / VOCABULARY_FILE, folder / MERGES_FILE
    try:
        for file in (vocabulary, merges):
            if file.stat().st_size > MAX_BYTES:
                raise TokenizerError(f"{file}: larger than {MAX_BYTES >> 20} MiB, which no such file needs")
        backend = tokenizers.Tokenizer(models.BPE.from_file(str(vocabulary), str(merges)))
    except TokenizerError:
        raise
    except Exception as error:  # the Rust side raises bare Exception
        raise TokenizerError(f"{vocabulary} and {MERGES_FILE}: not a vocabulary with its merges: {error}") from error
    if name == "Qwen2Tokenizer":
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = QWEN2_SPLIT if name == "Qwen2Tokenizer" else GPT2_SPLIT
    backend.decoder = decoders.ByteLevel()
    return backend
