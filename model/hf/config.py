"""Reads `config.json` of a Hugging Face folder."""

from __future__ import annotations

from collections.abc import Mapping

from ..architecture import BY_CLASS, Architecture
from ..config import ModelConfig, RopeConfig, yarn_attention_factor
from ..files.fields import MAX_ATTENTION_FACTOR, MAX_POSITIONS, MIN_NORM_EPS, MIN_ROPE_THETA, YARN_ROTATIONS, Fields

_ROPE_FIELDS = {
    "default": set[str](),
    "llama3": {"factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"},
    "yarn": {
        "factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow", "truncate",
    },
}  # fmt: skip
_COMMON_ROPE_FIELDS = {"type", "rope_type", "rope_theta", "partial_rotary_factor"}


def config_from_hf(values: Mapping[str, object], generation: Mapping[str, object], source: str) -> ModelConfig:
    """Read the config of a dense decoder, in the layout of transformers 4 or 5.

    Args:
        values: The content of config.json.
        generation: The content of generation_config.json, empty when there is none; its end tokens are added.
        source: The file, for messages.

    Raises:
        UnsupportedConfigError: A field is missing, out of range, or needs something this engine does not implement.
    """
    fields = Fields(values, source)
    architecture = _architecture(fields)
    _refuse_variants(fields)
    hidden, heads = fields.integer("hidden_size"), fields.integer("num_attention_heads")
    if architecture.has_kv_heads_default and "num_key_value_heads" not in values:
        why = f"this field is required in a {architecture.name} model (null means one per head)"
        raise fields.refuse("num_key_value_heads", why)
    kv_heads = fields.integer("num_key_value_heads", heads)
    if heads % kv_heads:
        raise fields.refuse("num_key_value_heads", f"must divide num_attention_heads = {heads}")
    if architecture.head_dim is None and not fields.present("head_dim") and hidden % heads:
        raise fields.refuse("hidden_size", f"must be a multiple of num_attention_heads = {heads} without a head_dim")
    head_dim = fields.integer("head_dim", architecture.head_dim or hidden // heads)
    if head_dim % 2:
        raise fields.refuse("head_dim" if fields.present("head_dim") else "hidden_size", "makes an odd head_dim")
    vocab_size = fields.integer("vocab_size")
    positions = fields.integer("max_position_embeddings", high=MAX_POSITIONS)
    rope = _rope(fields, positions, architecture)
    if rope.scaling == "yarn":
        positions = max(positions, int(rope.factor * rope.original_positions))
    layers, window = fields.integer("num_hidden_layers", high=4096), _sliding_window(fields, architecture)
    eos = fields.token_ids("eos_token_id", vocab_size)
    eos += Fields(generation, source, "generation_config.").token_ids("eos_token_id", vocab_size)
    if architecture.eos_token_id is not None and not generation and "eos_token_id" not in values:
        eos = (architecture.eos_token_id,)
    bos = fields.token_ids("bos_token_id", vocab_size)
    return ModelConfig(
        architecture=architecture.name,
        vocab_size=vocab_size,
        hidden_size=hidden,
        intermediate_size=fields.integer("intermediate_size"),
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        rms_norm_eps=fields.number("rms_norm_eps", 1e-6, low=MIN_NORM_EPS, high=1.0),
        rope=rope,
        max_positions=min(positions, window or positions),
        tied_embeddings=fields.flag("tie_word_embeddings", architecture.tied_embeddings),
        qkv_bias=architecture.qkv_bias,
        eos_token_ids=tuple(dict.fromkeys(eos)),
        bos_token_id=bos[0] if bos else None,
        head_norms=architecture.head_norms,
        unrotated_layers=_unrotated_layers(fields, architecture, layers),
        sliding_window=window,
    )


def _architecture(fields: Fields) -> Architecture:
    names = fields.values.get("architectures")
    kind = fields.values.get("model_type")
    by_kind = {architecture.name: architecture for architecture in BY_CLASS.values()}
    if names is None and isinstance(kind, str) and kind in by_kind:
        return by_kind[kind]
    name = names[0] if isinstance(names, list) and len(names) == 1 else None
    if not isinstance(name, str) or name not in BY_CLASS:
        known = ", ".join(f"{name} ({architecture.models})" for name, architecture in BY_CLASS.items())
        raise fields.refuse("architectures", f"choose a model of a supported architecture: {known}")
    architecture = BY_CLASS[name]
    if kind is not None and kind != architecture.name:
        wanted = architecture.name
        raise fields.refuse("model_type", f"contradicts architectures = {names}, whose type is {wanted!r}")
    return architecture


def _sliding_window(fields: Fields, architecture: Architecture) -> int | None:
    """How many tokens every layer sees; except in Mistral, `use_sliding_window` says whether there is a window."""
    if architecture.attends_back is None:
        return None
    if "sliding_window" in fields.values and not fields.present("sliding_window"):
        return None
    return fields.integer("sliding_window", architecture.attends_back, high=MAX_POSITIONS)


def _unrotated_layers(fields: Fields, architecture: Architecture, layers: int) -> tuple[int, ...]:
    """The layers without RoPE: those with a 0 in `no_rope_layers`, else one in every `no_rope_layer_interval`."""
    if not architecture.rope_interval:
        return ()
    interval = fields.integer("no_rope_layer_interval", architecture.rope_interval)
    if not fields.present("no_rope_layers"):
        return architecture.unrotated_layers(layers, interval)
    rotates = fields.integers("no_rope_layers", high=1)
    if len(rotates) < layers:
        raise fields.refuse("no_rope_layers", f"must have an entry for each of {layers} layers")
    return tuple(layer for layer in range(layers) if not rotates[layer])


def _refuse_variants(fields: Fields) -> None:
    """Refuse fields that would change the forward pass in ways that are not implemented."""
    fields.require("hidden_act", "silu")
    if fields.flag("use_sliding_window"):
        raise fields.refuse(
            "use_sliding_window",
            "attention over a sliding window is not implemented; for texts that fit in the window, set this to false, "
            "layer_types to null and max_position_embeddings to the size of the window",
        )
    fields.require("attention_bias", False)
    fields.require("mlp_bias", False)
    fields.require("pretraining_tp", 1)
    fields.require("partial_rotary_factor", 1.0, 1)
    _refuse_quantised(fields)
    fields.require("original_max_position_embeddings")
    fields.require("is_causal", True)
    fields.require("text_config")
    fields.require("per_layer_config")
    layer_types = fields.values.get("layer_types")
    if layer_types is not None and (
        not isinstance(layer_types, list) or set(map(str, layer_types)) - {"full_attention"}
    ):
        raise fields.refuse("layer_types", "only 'full_attention' is supported")


def _refuse_quantised(fields: Fields) -> None:
    """Refuse quantised safetensors, by the names of transformers and of MLX."""
    for name in ("quantization_config", "compression_config", "quantization"):
        if fields.present(name):
            method = fields.values[name]
            method = method.get("quant_method", method.get("mode")) if isinstance(method, dict) else None
            kind = f"weights quantised by {method}" if isinstance(method, str) else "quantised weights"
            raise fields.refuse(
                name,
                f"{kind} are not supported in safetensors: give a GGUF file, or the unquantised model with "
                "--weights int4",
            )


def _rope(fields: Fields, positions: int, architecture: Architecture) -> RopeConfig:
    section = _rope_section(fields, architecture)
    theta = _rope_theta(section, fields, architecture)
    kind_field = "rope_type" if section.present("rope_type") else "type"
    kind = section.text(kind_field, "default")
    if kind not in _ROPE_FIELDS:
        raise section.refuse(kind_field, "only 'default', 'llama3' and 'yarn' are supported")
    for unknown in section.values.keys() - _ROPE_FIELDS[kind] - _COMMON_ROPE_FIELDS:
        if section.present(unknown):
            raise section.refuse(unknown, f"not supported with {kind} scaling")
    section.require("partial_rotary_factor", 1.0, 1)
    if kind == "default":
        return RopeConfig(theta)
    factor = section.number("factor")
    if factor < 1:
        raise section.refuse("factor", "must be at least 1")
    original = section.integer("original_max_position_embeddings", positions, high=MAX_POSITIONS)
    if kind == "llama3":
        low, high = section.number("low_freq_factor"), section.number("high_freq_factor")
        if low >= high:
            raise section.refuse("low_freq_factor", f"must be below high_freq_factor = {high:g}")
        return RopeConfig(
            theta, "llama3", factor, original_positions=original, low_freq_factor=low, high_freq_factor=high
        )
    if section.values.get("truncate", True) is not True:
        raise section.refuse("truncate", "only True is supported")
    if factor * original > MAX_POSITIONS:
        raise section.refuse("factor", f"stretches {original} positions beyond {MAX_POSITIONS}")
    return RopeConfig(
        theta,
        "yarn",
        factor,
        original_positions=original,
        beta_fast=section.number("beta_fast", 32.0, **YARN_ROTATIONS),
        beta_slow=section.number("beta_slow", 1.0, **YARN_ROTATIONS),
        attention_factor=section.number("attention_factor", yarn_attention_factor(factor), high=MAX_ATTENTION_FACTOR),
    )


def _rope_section(fields: Fields, architecture: Architecture) -> Fields:
    """The object with the RoPE fields: as in transformers 5, `rope_scaling` replaces all of `rope_parameters`."""
    scaling, parameters = fields.section("rope_scaling"), fields.section("rope_parameters")
    if not (scaling.values and parameters.values):
        return scaling if scaling.values else parameters
    # transformers would ignore the base in the replaced object and use the default.
    theta = _rope_theta(scaling, fields, architecture)
    if parameters.present("rope_theta") and _rope_theta(parameters, fields, architecture) != theta:
        raise parameters.refuse(
            "rope_theta", f"rope_scaling replaces it, with rope_theta = {theta:g}: keep only one of the two"
        )
    return scaling


def _rope_theta(section: Fields, fields: Fields, architecture: Architecture) -> float:
    holder = section if "rope_theta" in section.values else fields
    # Null does not mean absent here: transformers fails on it.
    return holder.number("rope_theta", low=MIN_ROPE_THETA) if "rope_theta" in holder.values else architecture.rope_theta
