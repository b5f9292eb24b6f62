"""Small GGUF files, written by the gguf package as llama.cpp's converter would write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from safetensors.torch import load_file
from transformers import AutoConfig

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "model.layers": "blk",
}


def gguf_name(name: str) -> str:
    """Translate a Hugging Face parameter name."""
    for theirs, ours in NAMES.items():
        name = name.replace(theirs, ours)
    return name


def convert(
    folder: Path, path: Path, *, quantize: str = "F32", edit: Callable[[GGUFWriter], object] | None = None
) -> Path:
    """Write the checkpoint `folder` to the GGUF file `path`.

    Args:
        folder: A Hugging Face folder with one safetensors file.
        path: The file to write.
        quantize: Format of the matrices whose rows fit its blocks.
        edit: Called with the writer before it writes; may add keys and tensors.
    """
    config = AutoConfig.from_pretrained(folder)
    writer = GGUFWriter(path, "llama" if config.model_type == "mistral" else config.model_type)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(head_dim)
    for name, tensor in load_file(folder / "model.safetensors").items():
        values = tensor
        if config.model_type in ("llama", "mistral", "smollm3") and ("q_proj" in name or "k_proj" in name):
            values = values.reshape(-1, 2, head_dim // 2, values.shape[1]).transpose(1, 2).reshape(values.shape)
        _add(writer, gguf_name(name), values, quantize)
    if edit:
        edit(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: GGUFWriter, name: str, values: torch.Tensor, quantize: str) -> None:
    kind = GGMLQuantizationType[quantize]
    fits = values.ndim == 2 and values.shape[1] % gguf.GGML_QUANT_SIZES[kind][0] == 0
    kind = kind if fits else GGMLQuantizationType.F32
    writer.add_tensor(name, gguf.quants.quantize(values.numpy().astype(np.float32), kind), raw_dtype=kind)
