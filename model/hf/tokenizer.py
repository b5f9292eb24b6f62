"""Builds the tokenizer of a Hugging Face folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tokenizers

from ..crashing_tokenizers import refuse_crashing
from ..errors import CheckpointError, TokenizerError
from ..files.json_file import MAX_BYTES, read_json_if_present
from ..files.plain_file import is_there, read_plain, read_plain_text
from ..files.rust_errors import translated
from ..template.chat_template import ChatTemplate
from ..tokenizer import Tokenizer
from .special_tokens import CONFIG_FILE, read_special_tokens
from .vocabulary import (
    CLASS_DEFAULTS,
    CONVERT,
    MERGES_FILE,
    VOCABULARY_FILE,
    backend_from_vocabulary,
    tokenizer_class,
)

TOKENIZER_FILE = "tokenizer.json"
OTHER_FILES = ("tokenizer.model", "tiktoken.model", "tekken.json", "spiece.model", VOCABULARY_FILE, MERGES_FILE)
"""Files of other kinds of tokenizers, or of incomplete ones."""

MAX_TEMPLATE_BYTES = 4 * 2**20


def tokenizer_from_folder(folder: Path) -> Tokenizer | None:
    """Build the tokenizer of a folder, or return None when it has none.

    It is read from `tokenizer.json`, or else from `vocab.json` and `merges.txt`, and includes the tokens that the files
    beside it add. The chat template is `chat_template.jinja`, or else the one in `tokenizer_config.json` (the one
    called `default` if there are several).

    Raises:
        TokenizerError: A file is damaged, or the tokenizer is stored in a way that this engine does not support.
        CheckpointError: `tokenizer_config.json` is damaged.
        ChatTemplateError: The chat template is broken.
    """
    special = read_special_tokens(folder)
    config = read_json_if_present(folder / CONFIG_FILE)
    defaults: Mapping[str, str] = {}
    adds_bos = False
    if is_there(folder / TOKENIZER_FILE):
        backend = _from_file(folder / TOKENIZER_FILE)
    elif all(is_there(folder / name) for name in (VOCABULARY_FILE, MERGES_FILE)):
        name = tokenizer_class(folder)
        backend, defaults = backend_from_vocabulary(folder, name), CLASS_DEFAULTS[name]
        adds_bos = config.get("add_bos_token") is True
    else:
        _refuse_other_kinds(folder)
        return None
    backend.add_tokens(special.to_add(defaults))
    texts = {**defaults, **{name: token.content for name, token in special.named.items()}}
    bos = backend.token_to_id(texts["bos_token"]) if "bos_token" in texts else None
    source = template_source(folder, config)
    return Tokenizer(
        backend,
        bos_token_id=bos,
        adds_bos=bos is not None and (adds_bos or backend.encode("").ids[:1] == [bos]),
        chat_template=None if source is None else ChatTemplate(source, texts),
    )


def _from_file(file: Path) -> tokenizers.Tokenizer:
    content = read_plain(file, MAX_BYTES)
    refuse_crashing(content, file)
    try:
        backend = tokenizers.Tokenizer.from_buffer(content)
    except BaseException as error:
        raise translated(error, f"{file}: not a tokenizer", TokenizerError) from error
    backend.no_padding()
    backend.no_truncation()
    return backend


def _refuse_other_kinds(folder: Path) -> None:
    """Refuse a tokenizer that is stored in another way, which would otherwise count as missing."""
    for name in OTHER_FILES:
        if is_there(folder / name):
            raise TokenizerError(f"{folder / name}: this kind of tokenizer is not supported. {CONVERT}")


def template_source(folder: Path, config: Mapping[str, object]) -> str | None:
    """The text of the folder's chat template, if it has one.

    Raises:
        CheckpointError: It cannot be read, or is stored as something else.
    """
    file = folder / "chat_template.jinja"
    if is_there(file):
        return read_plain_text(file, MAX_TEMPLATE_BYTES)
    template = config.get("chat_template")
    if isinstance(template, list):
        named = [entry for entry in template if isinstance(entry, dict) and entry.get("name") == "default"]
        template = named[-1].get("template") if named else None
    if template is not None and not isinstance(template, str):
        raise CheckpointError(f"{folder / CONFIG_FILE}: chat_template must be a string or a list of named ones")
    return template
