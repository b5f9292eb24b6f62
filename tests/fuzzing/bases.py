"""The valid checkpoints that mutants are made of: tiny ones, in every layout that marcot reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from support.checkpoints.stored_weights import random_weight
from support.checkpoints.tiny import CHAT_TEMPLATE, SPECIAL_TOKENS, train_tokenizer, write_tiny
from support.checkpoints.tiny_gguf import convert

_VOCABULARY = 331
_WHOLE_BLOCKS = {"hidden_size": 128, "intermediate_size": 160, "num_attention_heads": 8, "num_key_value_heads": 2}
_WHOLE_K_BLOCKS = {"hidden_size": 256, "intermediate_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2}


def write_bases(folder: Path) -> None:
    """Write each checkpoint into its own folder inside `folder`."""
    for kind, fields in {
        "qwen2": {},
        "qwen2.5-yarn": {"num_hidden_layers": 2},
        "llama3.2": {"max_shard_size": "100KB"},
    }.items():
        _with_every_file(write_tiny(folder / kind, kind, tokenizer=True, **{"num_hidden_layers": 1} | fields))
    _write_vocabulary(folder / "vocabulary")
    for format in ("F32", "F16", "Q4_1", "Q5_0"):
        _write_gguf(folder / f"gguf-{format}", "qwen2", format, **_WHOLE_BLOCKS)
    _write_gguf(folder / "gguf-Q8_0", "llama3.2", "Q8_0")
    for format in ("Q4_K", "Q6_K"):
        _write_gguf(folder / f"gguf-{format}", "qwen2-untied", format, **_WHOLE_K_BLOCKS)


def _with_every_file(folder: Path) -> None:
    """Add the files that transformers 5 no longer writes but still reads."""
    (folder / "special_tokens_map.json").write_text(
        json.dumps({"eos_token": {"content": SPECIAL_TOKENS[2], "lstrip": False}, "pad_token": SPECIAL_TOKENS[0]})
    )


def _write_vocabulary(folder: Path) -> None:
    """A folder with the tokenizer files from before tokenizer.json."""
    write_tiny(folder, "qwen2-untied", num_hidden_layers=1)
    model = json.loads(train_tokenizer(320).to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in model["merges"]))
    (folder / "added_tokens.json").write_text(json.dumps({"<think>": 320, "</think>": 321}))
    config = {
        "tokenizer_class": "Qwen2Tokenizer",
        "eos_token": SPECIAL_TOKENS[2],
        "chat_template": CHAT_TEMPLATE,
        "additional_special_tokens": ["<tool>"],
        "added_tokens_decoder": {"2": {"content": SPECIAL_TOKENS[2], "special": True, "normalized": False}},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def _write_gguf(folder: Path, kind: str, format: str, **fields: object) -> None:
    """A single .gguf file with a tokenizer, and with matrices in `format`."""
    source = write_tiny(folder / "source", kind, num_hidden_layers=1, vocab_size=_VOCABULARY, **fields)
    file = folder / "model.gguf"
    if format in ("Q4_K", "Q6_K"):
        convert(source, file, edit=lambda writer: (_add_tokenizer(writer), _use_blocks(writer, format)))
    else:
        convert(source, file, quantize=format, edit=_add_tokenizer)
    shutil.rmtree(source)


def _use_blocks(writer: GGUFWriter, format: str) -> None:
    """Replace the data of every matrix by blocks, which the gguf package cannot quantise itself."""
    random = torch.Generator().manual_seed(0)
    tensors, writer.tensors = writer.tensors, [{} for _ in writer.tensors]
    for name, info in tensors[0].items():
        values = info.tensor
        if values.ndim == 1:
            writer.add_tensor(name, values)
            continue
        weight = random_weight(format, *values.shape, random)
        writer.add_tensor(name, weight.data.numpy(), raw_dtype=GGMLQuantizationType[format])


def _add_tokenizer(writer: GGUFWriter) -> None:
    model = json.loads(train_tokenizer(_VOCABULARY - 11).to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if token in SPECIAL_TOKENS else TokenType.NORMAL for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_eos_token_id(2)
    writer.add_bos_token_id(0)
    writer.add_chat_template(CHAT_TEMPLATE)
