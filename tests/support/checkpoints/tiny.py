"""Small random checkpoints in the Hugging Face layout, written by transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

CHAT_TEMPLATE = """\
{%- if messages[0].role != 'system' %}
    {{- '<|im_start|>system\\nYou are a small test.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

_CORPUS = (
    "Natalia sold 48 clips in April, and then she sold half as many clips in May.",
    "So she sold 48 / 2 = 24 clips in May, and altogether 48 + 24 = 72 clips. The answer is 72.",
    "<Thought> Wait! Maybe I made some mistakes! I need to rethink from scratch. </Thought>",
    "<Output> def add(first, second):\n    return first + second\n\n</Output>",
    "小明有三个苹果，又买了五个。一共有八个苹果。",
)

_SIZES: dict[str, dict[str, Any]] = {
    # Tied, GQA groups of 7 as in Qwen2.5-0.5B.
    "qwen2": {
        "hidden_size": 112,
        "intermediate_size": 152,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
    },
    # Untied, groups of 6 as in Qwen2.5-1.5B.
    "qwen2-untied": {
        "hidden_size": 96,
        "intermediate_size": 136,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
    },
    # The scaling that Qwen2.5 documents for long texts, over a shorter original context.
    "qwen2.5-yarn": {
        "hidden_size": 128,
        "intermediate_size": 168,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "tie_word_embeddings": False,
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 10_000.0,
            "factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    },
    # Tied, llama3 scaling with the real model's constants.
    "llama3.2": {
        "hidden_size": 96,
        "intermediate_size": 160,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 131_072,
        "tie_word_embeddings": True,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 500_000.0,
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    },
    # Tied, groups of 3.
    "smollm2": {
        "hidden_size": 144,
        "intermediate_size": 200,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100_000.0},
    },
    # Tied, heads wider than hidden_size / heads, groups of 2 as in Qwen3-0.6B.
    "qwen3": {
        "hidden_size": 96,
        "intermediate_size": 160,
        "num_attention_heads": 6,
        "num_key_value_heads": 3,
        "head_dim": 32,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
    },
    # Heads narrower than hidden_size / heads, as in Mistral Nemo; groups of 4.
    "mistral": {
        "hidden_size": 160,
        "intermediate_size": 200,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 4096,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
    },
    # Tied, groups of 4; the fourth layer has no RoPE.
    "smollm3": {
        "hidden_size": 128,
        "intermediate_size": 168,
        "num_hidden_layers": 5,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 2_000_000.0},
    },
}

KINDS = tuple(_SIZES)


def write_tiny(
    path: Path, kind: str, *, seed: int = 0, tokenizer: bool = False, max_shard_size: str = "1GB", **overrides: Any
) -> Path:
    """Write a random fp32 checkpoint of `kind` to the folder `path` and return it.

    Args:
        path: The folder; created if missing.
        kind: One of `KINDS`.
        seed: Seed of the weights.
        tokenizer: Also write tokenizer.json and tokenizer_config.json with `CHAT_TEMPLATE`.
        max_shard_size: A small size such as "100KB" splits the weights into shards with an index.
        overrides: Fields of the Hugging Face config, such as `num_hidden_layers=1`.
    """
    fields = {"vocab_size": 331, "num_hidden_layers": 3, "bos_token_id": None, "eos_token_id": 2, "pad_token_id": None}
    fields |= _SIZES[kind] | overrides
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(_model_type(kind), **fields))
        _randomize(model)
    model.to(torch.float32).save_pretrained(path, max_shard_size=max_shard_size)
    if tokenizer:
        wrapped = PreTrainedTokenizerFast(
            tokenizer_object=train_tokenizer(fields["vocab_size"]), eos_token=SPECIAL_TOKENS[2], pad_token=None
        )
        wrapped.chat_template = CHAT_TEMPLATE
        wrapped.save_pretrained(path)
    return path


def _model_type(kind: str) -> str:
    """The class name of `kind`'s architecture in transformers."""
    if kind in ("llama3.2", "smollm2"):
        return "llama"
    return "qwen2" if kind.startswith("qwen2") else kind


@torch.no_grad()
def _randomize(model: torch.nn.Module) -> None:
    """Draw weights that are so large that every part of the network matters and logits are far from flat."""
    for name, weight in model.named_parameters():
        if name.endswith("norm.weight"):
            weight.uniform_(0.5, 1.5)
        elif name.endswith("bias"):
            weight.normal_(std=0.5)
        elif "embed_tokens" in name or "lm_head" in name:
            weight.normal_(std=0.3)
        else:
            weight.normal_(std=1.5 * weight.shape[1] ** -0.5)


def train_tokenizer(vocab_size: int) -> Tokenizer:
    """Train a byte-level BPE of at most `vocab_size` tokens, whose ids 0, 1 and 2 are `SPECIAL_TOKENS`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer
