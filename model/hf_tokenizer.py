"""The tokenizer of a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path

import tokenizers

from .chat_template import ChatTemplate
from .errors import CheckpointError, TokenizerError
from .json_file import read_json_if_present
from .tokenizer import Tokenizer

MAX_TEMPLATE_BYTES = 4 * 2**20


def tokenizer_from_folder(folder: Path) -> Tokenizer | None:
    """Build the tokenizer of `tokenizer.json`, or return None when the folder has none.

    The chat template is `chat_template.jinja`, or else the one in `tokenizer_config.json` (the one called
    `default` where there are several).

    Raises:
        TokenizerError: `tokenizer.json` is broken.
        CheckpointError: `tokenizer_config.json` is broken.
        ChatTemplateError: The chat template is broken.
    """
    file = folder / "tokenizer.json"
    if not file.exists():
        return None
    try:
        backend = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the Rust side raises bare Exception
        raise TokenizerError(f"{file}: not a tokenizer: {error}") from error
    backend.no_padding()
    backend.no_truncation()
    config_file = folder / "tokenizer_config.json"
    config = read_json_if_present(config_file)
    special_tokens = _special_tokens(config)
    source = _template_source(folder, config)
    bos = special_tokens.get("bos_token")
    bos_token_id = None if bos is None else backend.token_to_id(bos)
    return Tokenizer(
        backend,
        bos_token_id=bos_token_id,
        adds_bos=bos_token_id is not None and backend.encode("").ids[:1] == [bos_token_id],
        chat_template=None if source is None else ChatTemplate(source, special_tokens),
    )


def _special_tokens(config: dict[str, object]) -> dict[str, str]:
    """`bos_token`, `eos_token` and their like, each a string or the object that AddedToken is stored as."""
    found = {}
    for name, value in config.items():
        text = value.get("content") if isinstance(value, dict) else value
        if name.endswith("_token") and isinstance(text, str):
            found[name] = text
    return found


def _template_source(folder: Path, config: dict[str, object]) -> str | None:
    file = folder / "chat_template.jinja"
    try:
        if file.exists():
            with file.open(encoding="utf-8") as opened:
                return opened.read(MAX_TEMPLATE_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file}: cannot be read: {error}") from error
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    if template is not None and not isinstance(template, str):
        raise CheckpointError(
            f"{folder / 'tokenizer_config.json'}: chat_template must be a string or a list of named ones"
        )
    return template
