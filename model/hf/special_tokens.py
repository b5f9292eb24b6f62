"""Reads special and added tokens from the files beside a Hugging Face folder's vocabulary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken

from ..errors import TokenizerError
from ..files.json_file import read_json_if_present

CONFIG_FILE = "tokenizer_config.json"
MAP_FILE = "special_tokens_map.json"
ADDED_FILE = "added_tokens.json"

_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_MOST_DIGITS = 9
"""Maximum digits of a token id, so that no integer with thousands of digits is parsed."""

_FLAGS = ("lstrip", "rstrip", "normalized", "special", "single_word")


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The tokens that `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` declare.

    They are read as in transformers 5: `special_tokens_map.json` and `added_tokens.json` are the layout of older
    checkpoints and count only if `tokenizer_config.json` has no `added_tokens_decoder`.

    Attributes:
        named: Special tokens by the names that chat templates use, such as `"eos_token"`.
        added: Tokens that are not in the vocabulary file, or that are matched whole, by their ids.
        extra: Further special tokens.
        ends: Every text that one of the files declares as `eos_token`, whether it counts for `named` or not.
    """

    named: dict[str, AddedToken]
    added: dict[int, AddedToken]
    extra: tuple[AddedToken, ...]
    ends: tuple[str, ...]

    def to_add(self, defaults: Mapping[str, str] | None = None) -> list[AddedToken]:
        """The tokens to add to the tokenizer, in the order in which new ones get their ids.

        Args:
            defaults: Special tokens of the tokenizer's class, used if the files name none.
        """
        named = {name: _special(text) for name, text in (defaults or {}).items()} | self.named
        ordered = [named[name] for name in _NAMES if name in named]
        ordered += [token for name, token in named.items() if name not in _NAMES]
        tokens = [self.added[id] for id in sorted(self.added)]
        known = {token.content for token in tokens}
        for token in (*ordered, *self.extra):
            if token.content not in known:
                known.add(token.content)
                tokens.append(token)
        specials = {token.content for token in (*ordered, *self.extra)}
        return [_special(token.content, token) if token.content in specials else token for token in tokens]


def read_special_tokens(folder: Path) -> SpecialTokens:
    """Read the files of `folder`; any may be missing.

    Raises:
        CheckpointError: One is not a JSON object.
        TokenizerError: `added_tokens_decoder` or `added_tokens.json` is invalid.
    """
    config, mapped = (read_json_if_present(folder / name) for name in (CONFIG_FILE, MAP_FILE))
    ends = tuple(
        token.content for values in (config, mapped) for name, token in _named(values).items() if name == "eos_token"
    )
    named = _named(config)
    listed = config.get("extra_special_tokens") or config.get("additional_special_tokens")
    extra = tuple(filter(None, map(_token, listed))) if isinstance(listed, list) else ()
    if isinstance(listed, dict):
        named |= {name: token for name, value in listed.items() if (token := _token(value))}
    if "added_tokens_decoder" in config:
        return SpecialTokens(named, _decoder(config["added_tokens_decoder"], folder / CONFIG_FILE), extra, ends)
    named |= _named(mapped)
    special = {token.content for token in (*named.values(), *extra)}
    added = {
        id: AddedToken(text, special=text in special, normalized=text not in special)
        for text, id in _added(folder / ADDED_FILE).items()
    }
    return SpecialTokens(named, added, extra, ends)


def _named(values: Mapping[str, object]) -> dict[str, AddedToken]:
    """`bos_token`, `eos_token` and so on, each stored as a string or as an AddedToken object."""
    return {name: token for name, value in values.items() if name.endswith("_token") and (token := _token(value))}


def _token(value: object) -> AddedToken | None:
    if isinstance(value, dict) and isinstance(value.get("content"), str) and value["content"]:
        flags = {name: flag for name in _FLAGS if isinstance(flag := value.get(name), bool)}
        return AddedToken(value["content"], **({"special": True, "normalized": False} | flags))
    return _special(value) if isinstance(value, str) and value else None


def _special(text: str, like: AddedToken | None = None) -> AddedToken:
    if like is None:
        return AddedToken(text, special=True, normalized=False)
    return AddedToken(
        text,
        special=True,
        normalized=like.normalized,
        lstrip=like.lstrip,
        rstrip=like.rstrip,
        single_word=like.single_word,
    )


def _decoder(value: object, file: Path) -> dict[int, AddedToken]:
    added = {}
    for id, entry in value.items() if isinstance(value, dict) else [("", None)]:
        token = _token({"special": False} | entry) if isinstance(entry, dict) else None
        if token is None or not id.isdecimal() or len(id) > _MOST_DIGITS:
            raise TokenizerError(f"{file}: added_tokens_decoder must map token ids to objects with a content")
        added[int(id)] = token
    return added


def _added(file: Path) -> dict[str, int]:
    ids = {}
    for text, id in read_json_if_present(file).items():
        if not text or isinstance(id, bool) or not isinstance(id, int) or id < 0:
            raise TokenizerError(f"{file}: must map texts to token ids; {text!r} has {id!r}")
        ids[text] = id
    return ids
