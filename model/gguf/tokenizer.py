"""Builds the tokenizer in a GGUF file's metadata."""

from __future__ import annotations

from collections.abc import Mapping

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers

from ..byte_level import GPT2_SPLIT, LLAMA3_SPLIT, QWEN2_SPLIT, SMOLLM_SPLIT, TEKKEN_SPLIT
from ..end_tokens import ends_a_turn
from ..errors import TokenizerError
from ..files.fields import Fields
from ..files.rust_errors import translated
from ..template.chat_template import ChatTemplate
from ..tokenizer import Tokenizer
from .sentence_piece import sentence_piece_bpe

_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4


def tokenizer_from_gguf(metadata: Mapping[str, object], source: str) -> Tokenizer | None:
    """Build the BPE that `tokenizer.ggml.*` describes, or return None when the file has no tokenizer.

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
    fields.require("tokenizer.ggml.model", "gpt2", "llama")
    tokens, types = _strings(fields, "tokenizer.ggml.tokens"), metadata.get("tokenizer.ggml.token_type")
    if not isinstance(types, list) or len(types) != len(tokens):
        raise TokenizerError(
            f"{source}: tokenizer.ggml.token_type must have one entry for each of {len(tokens)} tokens"
        )
    if fields.text("tokenizer.ggml.model") == "llama":
        backend, adds_bos = _sentence_piece(fields, tokens, types), True
    else:
        kind = fields.text("tokenizer.ggml.pre", "missing")
        backend = _byte_level_bpe(kind, tokens, _strings(fields, "tokenizer.ggml.merges"), source)
        adds_bos = kind in _WHOLE_WORDS
    _add_special_tokens(backend, tokens, types)
    special = _special_tokens(fields, tokens)
    bos = fields.token_ids("tokenizer.ggml.bos_token_id", len(tokens))
    template = fields.text("tokenizer.chat_template", "")
    return Tokenizer(
        backend,
        bos_token_id=bos[0] if bos else None,
        adds_bos=fields.flag("tokenizer.ggml.add_bos_token", default=adds_bos),
        chat_template=ChatTemplate(template, special) if template else None,
    )


def _sentence_piece(fields: Fields, tokens: list[str], types: list[object]) -> tokenizers.Tokenizer:
    scores = fields.numbers("tokenizer.ggml.scores")
    if len(scores) != len(tokens) or None in scores:
        raise TokenizerError(
            f"{fields.source}: tokenizer.ggml.scores must have one number for each of {len(tokens)} tokens"
        )
    return sentence_piece_bpe(
        tokens,
        [score for score in scores if score is not None],
        types,
        leading_space=fields.flag("tokenizer.ggml.add_space_prefix", default=True),
        source=fields.source,
    )


def _byte_level_bpe(kind: str, tokens: list[str], merges: list[str], source: str) -> tokenizers.Tokenizer:
    split = _SPLITS.get(kind)
    if split is None:
        known = ", ".join(sorted(_SPLITS))
        raise TokenizerError(
            f"{source}: tokenizer.ggml.pre is {kind!r}, an unknown way to split text; supported are {known}"
        )
    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    vocabulary = {token: id for id, token in enumerate(tokens)}
    try:
        # Llama 3's vocabulary has words that its merges do not reach; they are matched whole.
        model = models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=kind in _WHOLE_WORDS)
    except BaseException as error:
        what = f"{source}: tokenizer.ggml.merges do not fit tokenizer.ggml.tokens"
        raise translated(error, what, TokenizerError) from error
    backend = tokenizers.Tokenizer(model)
    if kind in _COMPOSES:
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = split
    backend.decoder = decoders.ByteLevel()
    return backend


_LLAMA_3 = {"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"}

_WHOLE_WORDS = _LLAMA_3 | {"tekken"}
"""Kinds whose words are matched whole if the vocabulary has them, and whose files mean true if they omit
`add_bos_token`."""

_COMPOSES = {"qwen2", "deepseek-r1-qwen"}
"""Kinds whose original tokenizers compose characters first (NFC)."""

_SPLITS: Mapping[str, pre_tokenizers.PreTokenizer] = {
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "megrez", "kormo", "f2llmv2", "stablelm2", "hunyuan"), QWEN2_SPLIT),
    **dict.fromkeys((*_LLAMA_3, "smaug-bpe", "dbrx"), LLAMA3_SPLIT),
    **dict.fromkeys(("smollm", "starcoder", "refact"), SMOLLM_SPLIT),
    "gpt-2": GPT2_SPLIT,
    "tekken": TEKKEN_SPLIT,
}
"""How text is split before the merges, by `tokenizer.ggml.pre`. The converter names a kind after the tokenizer that it
recognises, so one split has many names; llama.cpp (src/llama-vocab.cpp) says which are the same."""


def _add_special_tokens(backend: tokenizers.Tokenizer, tokens: list[str], types: list[object]) -> None:
    """Tell the tokenizer which tokens to match whole in a text: control tokens and user-defined ones.

    Some files type the end of a turn as a user-defined or an ordinary token; it is treated as a control token anyway.
    """
    added = []
    for token, kind in zip(tokens, types, strict=True):
        special = kind == _CONTROL or ends_a_turn(token, ordinary=kind == _NORMAL)
        if special or kind == _USER_DEFINED:
            added.append(AddedToken(token, special=special, normalized=False))
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
