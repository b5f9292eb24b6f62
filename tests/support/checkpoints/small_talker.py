"""Tiny random models whose chains end after a few tokens.

Under the names of the built-in models, or as checkpoint folders, they let documented commands run unchanged in seconds.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from gguf import GGUFReader, GGUFWriter
from marcot.model import BUILT_IN_MODELS
from marcot.model.fetch.verified import note_verified
from safetensors.torch import load_file, save_file
from support.checkpoints.tiny import write_tiny
from support.checkpoints.tiny_gguf import convert
from torch import Tensor

_CONTEXT = 4096
_END_LOGIT = 4.2
"""The logit of the end token, after any token; other logits are normal with a deviation of 1. Among 20 candidates of
50,000 tokens it has a probability of about 0.1, and it is the most probable token half of the time.
"""


def write_talking_folder(path: Path, vocabulary: int = 331, end: int = 2) -> Path:
    """Write a checkpoint folder with a tokenizer and a single layer, whose state is the last token's embedding."""
    write_tiny(
        path, "qwen2", tokenizer=True, vocab_size=vocabulary, eos_token_id=end, num_hidden_layers=1,
        tie_word_embeddings=False, max_position_embeddings=_CONTEXT,
    )  # fmt: skip
    weights = load_file(path / "model.safetensors")
    for name in ("self_attn.o_proj", "mlp.down_proj"):
        weights[f"model.layers.0.{name}.weight"].zero_()
    weights["model.norm.weight"].fill_(1.0)
    _let_it_end(weights["model.embed_tokens.weight"], weights["lm_head.weight"], end)
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    return path


def write_built_in_models(vocabulary_of: Path, models: Path) -> None:
    """Write such a model to the folder `models` under every built-in name, with the file size that is expected of it.

    Args:
        vocabulary_of: A GGUF file to copy the tokenizer and chat template from.
        models: The folder; created if missing.
    """
    models.mkdir(parents=True, exist_ok=True)
    tokenizer = [field for field in GGUFReader(vocabulary_of).fields.values() if field.name.startswith("tokenizer.")]
    known = {field.name: field.contents() for field in tokenizer}
    folder = write_talking_folder(
        models / "folder", len(known["tokenizer.ggml.tokens"]), known["tokenizer.ggml.eos_token_id"]
    )

    def add_tokenizer(writer: GGUFWriter) -> None:
        for field in tokenizer:
            kind, *elements = field.types
            writer.add_key_value(field.name, known[field.name], kind, sub_type=elements[-1] if elements else None)

    written = convert(folder, models / "small-talker.gguf", edit=add_tokenizer).read_bytes()
    for model in BUILT_IN_MODELS.values():
        path = models / f"{model.name}.gguf"
        path.write_bytes(written)
        os.truncate(path, model.size)  # a hole, which takes no disk space
        note_verified(path, model.sha256)


def _let_it_end(embeddings: Tensor, head: Tensor, end: int) -> None:
    """Fill `embeddings` and `head`, `[vocabulary, hidden]`, so that token `end` has its logit in every state.

    The first dimension of every state is a constant that makes up half of the state's square. Only the end token uses
    it.
    """
    hidden = embeddings.shape[1]
    draw = torch.Generator().manual_seed(0)
    embeddings.normal_(generator=draw)
    embeddings[:, 0] = hidden**0.5
    head.normal_(generator=draw).mul_((hidden / 2) ** -0.5)
    head[:, 0] = 0.0
    head[end] = 0.0
    head[end, 0] = _END_LOGIT * (hidden / 2) ** -0.5
