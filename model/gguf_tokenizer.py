"""The tokenizer in a GGUF file's metadata."""

from __future__ import annotations

from collections.abc import Mapping

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from .chat_template import ChatTemplate
from .errors import TokenizerError
from .fields import Fields
from .tokenizer import Tokenizer

_CONTROL, _USER_DEFINED = 3, 4

_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}"
    r"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""The split of cl100k, which Qwen2 and Llama 3 share but for the digits."""


def tokenizer_from_gguf(metadata: Mapping[str, object], source: str) -> Tokenizer | None:
    """Build the byte-level BPE that `tokenizer.ggml.*` describes, or return None when the file has no tokenizer.

    Args:
        metadata: The file's metadata.
        source: The file, for messages.

    Raises:
        TokenizerError: The tokenizer is of another kind, or inconsistent.
        ChatTemplateError: The chat template is broken.
    """
    if "tokenizer.ggml.model" not in metadata:
        return None
    fields = Fields(metadata, source)
    fields.require("tokenizer.ggml.model", "gpt2")
    tokens, merges = _strings(fields, "tokenizer.ggml.tokens"), _strings(fields, "tokenizer.ggml.merges")
    kind = fields.text("tokenizer.ggml.pre", "missing")
    backend = _byte_level_bpe(kind, tokens, merges, source)
    _add_special_tokens(backend, tokens, metadata.get("tokenizer.ggml.token_type"), source)
    special = _special_tokens(fields, tokens)
    bos = fields.token_ids("tokenizer.ggml.bos_token_id", len(tokens))
    template = fields.text("tokenizer.chat_template", "")
    return Tokenizer(
        backend,
        bos_token_id=bos[0] if bos else None,
        adds_bos=fields.flag("tokenizer.ggml.add_bos_token", default=kind in _ADDS_BOS),
        chat_template=ChatTemplate(template, special) if template else None,
    )


def _byte_level_bpe(kind: str, tokens: list[str], merges: list[str], source: str) -> tokenizers.Tokenizer:
    if kind not in _PRE_TOKENIZERS:
        known = ", ".join(sorted(_PRE_TOKENIZERS))
        raise TokenizerError(f"{source}: tokenizer.ggml.pre is {kind!r}: an unknown way to split text; known: {known}")
    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    vocabulary = {token: id for id, token in enumerate(tokens)}
    try:
        # Llama 3's vocabulary has words that its merges do not reach; they are taken whole.
        model = models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=kind == "llama-bpe")
    except Exception as error:  # the Rust side raises bare Exception
        raise TokenizerError(f"{source}: tokenizer.ggml.merges do not fit tokenizer.ggml.tokens: {error}") from error
    backend = tokenizers.Tokenizer(model)
    if kind == "qwen2":
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = _PRE_TOKENIZERS[kind]
    backend.decoder = decoders.ByteLevel()
    return backend


def _split_then_bytes(digits: str) -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(Regex(_SPLIT.format(digits=digits)), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


_PRE_TOKENIZERS: Mapping[str, pre_tokenizers.PreTokenizer] = {
    "qwen2": _split_then_bytes(r"\p{N}"),
    "llama-bpe": _split_then_bytes(r"\p{N}{1,3}"),
    "smollm": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
}
"""How text is cut before the merges, by `tokenizer.ggml.pre`."""

_ADDS_BOS = {"llama-bpe"}
"""Kinds whose files may leave `add_bos_token` out and mean true."""


def _add_special_tokens(backend: tokenizers.Tokenizer, tokens: list[str], types: object, source: str) -> None:
    """Tell the tokenizer which tokens are matched whole in a text: the control and the user-defined ones."""
    if not isinstance(types, list) or len(types) != len(tokens):
        raise TokenizerError(
            f"{source}: tokenizer.ggml.token_type must have one entry for each of {len(tokens)} tokens"
        )
    added = [
        AddedToken(token, special=kind == _CONTROL, normalized=False)
        for token, kind in zip(tokens, types, strict=True)
        if kind in (_CONTROL, _USER_DEFINED)
    ]
    backend.add_tokens(added)


def _special_tokens(fields: Fields, tokens: list[str]) -> dict[str, str]:
    """The special tokens by the names that chat templates use."""
    keys = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    found = {}
    for name, key in keys.items():
        ids = fields.token_ids(f"tokenizer.ggml.{key}_token_id", len(tokens))
        if ids:
            found[name] = tokens[ids[0]]
    return found


def _strings(fields: Fields, name: str) -> list[str]:
    value = fields.values.get(name)
    if not isinstance(value, list) or not value or not isinstance(value[0], str):
        raise TokenizerError(f"{fields.source}: {name} must be a list of strings")
    return value
