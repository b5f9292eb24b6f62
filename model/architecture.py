"""The families of dense decoders that the forward pass supports, and how they differ."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Architecture:
    """A family of decoders: its structure, and the defaults of fields that are missing in config.json.

    Attributes:
        name: `model_type` in config.json.
        models: Names of the models of this family, for messages.
        qkv_bias: Whether Q, K and V projections have a bias.
        head_norms: Whether each head of Q and K is normed before RoPE.
        rope_interval: Default interval of layers without RoPE: one in this many layers has none; 0 if all have it.
        attends_back: Default of `sliding_window`: how many tokens a layer sees; None for all.
        has_kv_heads_default: Whether transformers has a default for `num_key_value_heads`; it is right for only one
            size of the model.
        head_dim: Default of `head_dim`; None for `hidden_size / num_attention_heads`.
        tied_embeddings: Default of `tie_word_embeddings`.
        eos_token_id: Default of `eos_token_id`.
        rope_theta: Default of the base of RoPE.
        gguf_interleaves: Whether llama.cpp's converter reorders the rows of Q and K, so that RoPE rotates neighbouring
            rows.
    """

    name: str
    models: str
    qkv_bias: bool = False
    head_norms: bool = False
    rope_interval: int = 0
    attends_back: int | None = None
    has_kv_heads_default: bool = True
    head_dim: int | None = None
    tied_embeddings: bool = False
    eos_token_id: int | None = None
    rope_theta: float = 10_000.0
    gguf_interleaves: bool = False

    def unrotated_layers(self, layers: int, interval: int) -> tuple[int, ...]:
        """Numbers of the layers without RoPE: every `interval`-th of `layers`; empty if all layers have RoPE."""
        return tuple(range(interval - 1, layers, interval)) if self.rope_interval else ()


QWEN2 = Architecture("qwen2", "Qwen2, Qwen2.5", qkv_bias=True)
QWEN3 = Architecture("qwen3", "Qwen3", head_norms=True, head_dim=128)
LLAMA = Architecture(
    "llama", "Llama 2 to 3.3, SmolLM2", has_kv_heads_default=False, eos_token_id=2, gguf_interleaves=True
)
MISTRAL = Architecture("mistral", "Mistral 7B, Mistral Nemo", attends_back=4096, eos_token_id=2)
SMOLLM3 = Architecture(
    "smollm3",
    "SmolLM3",
    rope_interval=4,
    tied_embeddings=True,
    eos_token_id=128_001,
    rope_theta=2_000_000.0,
    gguf_interleaves=True,
)

BY_CLASS = {
    "Qwen2ForCausalLM": QWEN2,
    "Qwen3ForCausalLM": QWEN3,
    "LlamaForCausalLM": LLAMA,
    "MistralForCausalLM": MISTRAL,
    "SmolLM3ForCausalLM": SMOLLM3,
}
"""Architectures by the class name in `architectures` of config.json. transformers uses `model_type` instead, so the two
must agree."""

BY_GGUF_NAME = {each.name: each for each in (QWEN2, QWEN3, LLAMA, SMOLLM3)}
"""Architectures by `general.architecture` of a GGUF file, where Mistral is stored as llama."""
