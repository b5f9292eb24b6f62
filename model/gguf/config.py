"""Reads the config in a GGUF file's metadata."""

from __future__ import annotations

import math

import numpy as np

from ..architecture import BY_GGUF_NAME, LLAMA, MISTRAL, Architecture
from ..config import ModelConfig, RopeConfig, yarn_attention_factor
from ..end_tokens import ends_a_turn
from ..errors import UnsupportedConfigError
from ..files.fields import MAX_POSITIONS, MIN_NORM_EPS, MIN_ROPE_THETA, YARN_ROTATIONS, Fields
from .header import GgufHeader

_OTHER_FORWARD_PASSES = {
    "expert_count": 0,
    "attention.sliding_window": 0,
    "attention.causal": True,
    "attention.scale": 0.0,
    "attention.clamp_kqv": 0.0,
    "logit_scale": 0.0,
    "residual_scale": 0.0,
    "embedding_scale": 0.0,
}
"""Keys that change the computation, each with the neutral value, which is the only supported one."""

_END_KEYS = ("eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep")
_NORMAL_TOKEN = 1


def gguf_architecture(header: GgufHeader, source: str) -> Architecture:
    """The architecture of a file.

    Raises:
        UnsupportedConfigError: This engine does not support it, or the file does not contain a whole model.
    """
    fields = Fields(header.metadata, source)
    if fields.values.get("split.count", 0) not in (0, 1):
        raise fields.refuse("split.count", "join the parts first: llama-gguf-split --merge FIRST_PART WHOLE_FILE")
    if fields.values.get("general.type", "model") != "model":
        raise fields.refuse("general.type", "this file is not a complete model; give the model that it belongs to")
    name = fields.text("general.architecture")
    if name not in BY_GGUF_NAME:
        known = ", ".join(f"{name} ({_models(architecture)})" for name, architecture in BY_GGUF_NAME.items())
        raise fields.refuse("general.architecture", f"choose a model of a supported architecture: {known}")
    return BY_GGUF_NAME[name]


def _models(architecture: Architecture) -> str:
    """The models to which llama.cpp's converter gives the name of `architecture`."""
    return f"{architecture.models}, {MISTRAL.models}" if architecture is LLAMA else architecture.models


def config_from_gguf(header: GgufHeader, frequency_factors: tuple[float, ...], source: str) -> ModelConfig:
    """Read the config of a dense decoder.

    Args:
        header: Metadata and tensor table.
        frequency_factors: Content of the tensor `rope_freqs.weight` (the divisor of each RoPE frequency), empty if the
            file has none.
        source: The file, for messages.

    Raises:
        UnsupportedConfigError: A key is missing, out of range, or needs something this engine does not implement.
    """
    fields = Fields(header.metadata, source)
    kind = gguf_architecture(header, source)
    architecture = kind.name
    for name, harmless in _OTHER_FORWARD_PASSES.items():
        fields.require(f"{architecture}.{name}", harmless)

    def key(name: str) -> str:
        return f"{architecture}.{name}"

    hidden, heads = fields.integer(key("embedding_length")), fields.integer(key("attention.head_count"))
    kv_heads = fields.integer(key("attention.head_count_kv"), heads)
    if heads % kv_heads:
        raise fields.refuse(key("attention.head_count_kv"), f"must divide {key('attention.head_count')} = {heads}")
    head_dim = fields.integer(key("attention.key_length"), hidden // heads)
    if head_dim % 2 or head_dim < 2:
        raise fields.refuse(key("attention.head_count"), f"gives a head_dim of {head_dim}, which must be even")
    for name in ("attention.value_length", "rope.dimension_count"):
        fields.require(key(name), head_dim)
    positions = fields.integer(key("context_length"), high=MAX_POSITIONS)
    layers = fields.integer(key("block_count"), high=4096)
    rope = _rope(fields, architecture, head_dim, positions, frequency_factors)
    if rope.scaling == "yarn":
        positions = max(positions, int(rope.factor * rope.original_positions))
    vocab_size = _vocab_size(header, source)
    bos = fields.token_ids("tokenizer.ggml.bos_token_id", vocab_size)
    return ModelConfig(
        architecture=architecture,
        vocab_size=vocab_size,
        hidden_size=hidden,
        intermediate_size=fields.integer(key("feed_forward_length")),
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        rms_norm_eps=fields.number(key("attention.layer_norm_rms_epsilon"), low=MIN_NORM_EPS, high=1.0),
        rope=rope,
        max_positions=positions,
        tied_embeddings="output.weight" not in header.tensors,
        qkv_bias=kind.qkv_bias,
        eos_token_ids=_end_tokens(fields, vocab_size),
        bos_token_id=bos[0] if bos else None,
        head_norms=kind.head_norms,
        unrotated_layers=kind.unrotated_layers(layers, kind.rope_interval),
    )


def _rope(
    fields: Fields, architecture: str, head_dim: int, positions: int, frequency_factors: tuple[float, ...]
) -> RopeConfig:
    prefix = f"{architecture}.rope."
    theta = fields.number(f"{prefix}freq_base", 10_000.0, low=MIN_ROPE_THETA)
    kind = fields.text(f"{prefix}scaling.type", "none")
    if not fields.present(f"{prefix}scaling.type"):
        for name in ("scaling.factor", "scale_linear"):  # for llama.cpp a missing type means linear scaling
            fields.require(f"{prefix}{name}", 0.0, 1.0)
    for name in ("attn_factor", "yarn_attn_factor", "yarn_ext_factor"):
        fields.require(f"{prefix}scaling.{name}", 1.0)
    fields.require(f"{prefix}scaling.yarn_log_multiplier", 0.0)
    fields.require(f"{prefix}scale_linear", 0.0, 1.0)
    if kind not in ("none", "yarn"):
        raise fields.refuse(f"{prefix}scaling.type", "only 'none' and 'yarn' are supported")
    if frequency_factors:
        if architecture != LLAMA.name:
            raise UnsupportedConfigError(
                f"{fields.source}: tensor rope_freqs.weight is not part of a {architecture} model"
            )
        if kind != "none":
            raise fields.refuse(f"{prefix}scaling.type", "not supported together with the tensor rope_freqs.weight")
        return _llama3(theta, head_dim, frequency_factors, fields.source)
    if kind == "none":
        return RopeConfig(theta)
    factor = fields.number(f"{prefix}scaling.factor")
    original = fields.integer(f"{prefix}scaling.original_context_length", positions, high=MAX_POSITIONS)
    if factor < 1 or factor * original > MAX_POSITIONS:
        raise fields.refuse(
            f"{prefix}scaling.factor",
            f"must be at least 1, and stretch the context to at most {MAX_POSITIONS} positions",
        )
    return RopeConfig(
        theta,
        "yarn",
        factor,
        original_positions=original,
        beta_fast=fields.number(f"{prefix}scaling.yarn_beta_fast", 32.0, **YARN_ROTATIONS),
        beta_slow=fields.number(f"{prefix}scaling.yarn_beta_slow", 1.0, **YARN_ROTATIONS),
        attention_factor=yarn_attention_factor(factor),
    )


def _llama3(theta: float, head_dim: int, divisors: tuple[float, ...], source: str) -> RopeConfig:
    """Recognise llama3 scaling, of which a file stores only the divisor of each frequency.

    Llama 3.1 to 3.3 differ only in the factor, and their longest wavelength is always divided by the whole factor.
    """
    rope = RopeConfig(theta, "llama3", divisors[-1], original_positions=8192, low_freq_factor=1.0, high_freq_factor=4.0)
    expected = []
    for pair in range(head_dim // 2):
        rotations = rope.original_positions / (2 * math.pi * theta ** (2 * pair / head_dim))
        kept = (rotations - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor)
        kept = min(max(kept, 0.0), 1.0)
        expected.append(1 / (kept + (1 - kept) / rope.factor) if 1 <= rope.factor < math.inf else math.nan)
    if len(divisors) != len(expected) or not np.allclose(divisors, expected, rtol=1e-4):
        raise UnsupportedConfigError(
            f"{source}: tensor rope_freqs.weight is not the llama3 scaling of Llama 3.1 to 3.3"
        )
    return rope


def _vocab_size(header: GgufHeader, source: str) -> int:
    """Rows of the embedding, which the metadata may not state."""
    embedding = header.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise UnsupportedConfigError(f"{source}: tensor token_embd.weight is missing or not a matrix")
    return embedding.shape[0]


def _end_tokens(fields: Fields, vocab_size: int) -> tuple[int, ...]:
    """The end tokens that the file declares, and those that llama.cpp recognises by their texts."""
    ids: tuple[int, ...] = ()
    for key in _END_KEYS:
        ids += fields.token_ids(f"tokenizer.ggml.{key}_token_id", vocab_size)
    tokens, types = (fields.values.get(f"tokenizer.ggml.{name}") for name in ("tokens", "token_type"))
    if isinstance(tokens, list) and isinstance(types, list):
        named = zip(range(vocab_size), tokens, types, strict=False)
        ids += tuple(id for id, token, kind in named if ends_a_turn(token, ordinary=kind == _NORMAL_TOKEN))
    return tuple(dict.fromkeys(ids))
