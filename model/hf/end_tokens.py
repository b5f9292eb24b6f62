"""Collects the tokens that end a generation from all files of a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path

from ..end_tokens import ends_a_turn
from ..files.json_file import read_json_if_present
from .special_tokens import CONFIG_FILE, SpecialTokens, read_special_tokens
from .tokenizer import TOKENIZER_FILE, template_source
from .vocabulary import VOCABULARY_FILE


def end_tokens_of_folder(folder: Path, vocab_size: int) -> tuple[int, ...]:
    """Token ids below `vocab_size` of the end tokens in the tokenizer's files, and of the ends of the template's turns.

    Many checkpoints name one end token in `config.json` and another in `tokenizer_config.json`; some chat templates end
    turns with a token that no file declares.

    Raises:
        CheckpointError: A file is broken.
    """
    special = read_special_tokens(folder)
    template = template_source(folder, read_json_if_present(folder / CONFIG_FILE)) or ""
    ids = _ids_of_added(folder, special)
    ends = dict.fromkeys(special.ends)
    ends |= dict.fromkeys(text for text in ids if ends_a_turn(text) and text in template)
    if not ends.keys() <= ids.keys():
        ids = _ids_of_words(folder) | ids
    return tuple(id for text in ends if (id := ids.get(text, vocab_size)) < vocab_size)


def _ids_of_added(folder: Path, special: SpecialTokens) -> dict[str, int]:
    """The added and special tokens, which are not ordinary words of the vocabulary."""
    if special.added:
        return {token.content: id for id, token in special.added.items()}
    listed = read_json_if_present(folder / TOKENIZER_FILE).get("added_tokens")
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    found = [(entry.get("content"), entry.get("id")) for entry in entries]
    return {text: id for text, id in found if isinstance(text, str) and isinstance(id, int)}


def _ids_of_words(folder: Path) -> dict[str, int]:
    model = read_json_if_present(folder / TOKENIZER_FILE).get("model")
    words = model.get("vocab") if isinstance(model, dict) else read_json_if_present(folder / VOCABULARY_FILE)
    return {text: id for text, id in words.items() if isinstance(id, int)} if isinstance(words, dict) else {}
