"""Configs that say something twice, or in one of several ways: read as by transformers, or refused."""

import itertools
import json
import random
import shutil

import pytest
import torch
from marcot.engine import Engine
from marcot.model import UnsupportedConfigError
from marcot.model.hf.config import config_from_hf
from marcot.model.rope import inverse_frequencies
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding

BASE = {
    "model_type": "qwen2",
    "architectures": ["Qwen2ForCausalLM"],
    "vocab_size": 331,
    "hidden_size": 128,
    "intermediate_size": 168,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "eos_token_id": 2,
}
YARN = {"rope_type": "yarn", "factor": 4.0}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}

SPELLINGS: dict[str, list[object]] = {
    "rope_theta": [5e5, 10_000, None],
    "rope_scaling": [
        None,
        {},
        {"type": "default"},
        {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
        YARN | {"rope_theta": 5e5},
        YARN | {"type": "default", "original_max_position_embeddings": 32},
        YARN | {"rope_type": "default", "type": "yarn"},
        YARN | {"truncate": None},
        YARN | {"attention_factor": None, "beta_fast": None, "beta_slow": 2},
        YARN | {"original_max_position_embeddings": 5},
        YARN | {"mscale": 1.0, "mscale_all_dim": 0.5},
        LLAMA3 | {"original_max_position_embeddings": 32},
        {"type": "linear", "factor": 2.0},
    ],
    "rope_parameters": [
        None,
        {},
        {"rope_type": "default", "rope_theta": 1e6},
        {"rope_type": "default", "rope_theta": 5e5},
        {"rope_type": "default"},
        YARN | {"rope_theta": 1e6},
        YARN | {"factor": 2, "original_max_position_embeddings": 32, "attention_factor": 1.5},
        YARN | {"beta_fast": 1.0, "beta_slow": 8.0},
        LLAMA3,
        {"full_attention": {"rope_type": "default", "rope_theta": 1e6}},
        {"rope_type": "default", "partial_rotary_factor": 0.5},
    ],
    "partial_rotary_factor": [1.0, 0.5, None],
    "original_max_position_embeddings": [32, 64],
    "max_position_embeddings": [128, 1024],
    "head_dim": [16, 32],
    "num_key_value_heads": [None, 8, 3],
    "use_sliding_window": [True, False],
    "sliding_window": [16, None],
    "max_window_layers": [0, 1],
    "layer_types": [["full_attention"] * 2, ["sliding_attention"] * 2, ["full_attention", "sliding_attention"]],
    "model_type": ["llama", "qwen3"],
    "architectures": [["LlamaForCausalLM"], ["Qwen3ForCausalLM"]],
    "is_causal": [False, True],
    "torch_dtype": ["bfloat16"],
    "dtype": ["float16"],
    "text_config": [{"hidden_size": 64}],
    "tie_word_embeddings": [True],
}


def combinations() -> list[dict[str, object]]:
    """Every value alone, every pair of ways to say something about RoPE, and random combinations."""
    single = [{name: value} for name, values in SPELLINGS.items() for value in values]
    rope = ("rope_theta", "rope_scaling", "rope_parameters")
    pairs = [
        {first: a, second: b}
        for first, second in itertools.combinations(rope, 2)
        for a in SPELLINGS[first]
        for b in SPELLINGS[second]
    ]
    draw = random.Random(17)
    mixed = [
        {name: draw.choice(SPELLINGS[name]) for name in draw.sample(list(SPELLINGS), draw.randint(2, 6))}
        for _ in range(200)
    ]
    return single + pairs + mixed


def test_same_as_transformers_or_refused(tmp_path):
    """Frequencies, attention factor, context, heads and end tokens of every combination that is not refused."""
    accepted = 0
    for changes in combinations():
        values = BASE | changes
        try:
            ours = config_from_hf(values, {}, "config.json")
        except UnsupportedConfigError:
            continue
        accepted += 1
        (tmp_path / "config.json").write_text(json.dumps(values))
        theirs = AutoConfig.from_pretrained(tmp_path)
        assert theirs.model_type == ours.architecture, changes
        assert set(getattr(theirs, "layer_types", [])) <= {"full_attention"}, changes
        assert ours.num_kv_heads == theirs.num_key_value_heads, changes
        assert ours.tied_embeddings == theirs.tie_word_embeddings, changes
        rotary = Qwen2RotaryEmbedding(theirs)
        frequencies = inverse_frequencies(ours.rope, ours.head_dim)
        assert torch.allclose(frequencies, rotary.inv_freq, rtol=1e-5, atol=0), changes
        assert ours.rope.attention_factor == pytest.approx(rotary.attention_scaling), changes
        rope = theirs.rope_parameters
        original = rope.get("original_max_position_embeddings", 0)
        stretched = int(rope["factor"] * original) if rope["rope_type"] == "yarn" else 0
        assert ours.max_positions == max(theirs.max_position_embeddings, stretched), changes
    assert accepted > 150


def test_the_base_in_what_is_replaced_is_missed(tmp_path):
    """transformers would compute with its default of 10,000, far from what the checkpoint was trained with."""
    changes = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}, "rope_scaling": YARN}
    with pytest.raises(
        UnsupportedConfigError, match=r"rope_parameters\.rope_theta is 1000000\.0: rope_scaling replaces it"
    ):
        config_from_hf(BASE | changes, {}, "config.json")
    theirs = config_from_hf(BASE | changes | {"rope_theta": 1_000_000}, {}, "config.json")
    assert (theirs.rope.theta, theirs.rope.scaling, theirs.max_positions) == (1e6, "yarn", 256)


EDITED = {
    "yarn beside the saved default": ("qwen2-untied", {"rope_scaling": YARN | {"rope_theta": 1e6}}),
    "old spelling of yarn": (
        "qwen2",
        {"rope_parameters": None, "rope_theta": 1e6, "rope_scaling": {"type": "yarn", "factor": 2.0}},
    ),
    "default beside the saved yarn": ("qwen2.5-yarn", {"rope_scaling": {"type": "default", "rope_theta": 10_000.0}}),
    "llama3 beside the saved default": (
        "smollm2",
        {"rope_scaling": LLAMA3 | {"rope_theta": 1e5, "original_max_position_embeddings": 16}},
    ),
    "a base at the top that nobody reads": ("smollm2", {"rope_theta": 77.0}),
    "one KV head per head": ("llama3.2", {"num_key_value_heads": None}),
    "a type of its own": ("qwen2", {"dtype": "bfloat16", "torch_dtype": "float16"}),
}


@pytest.mark.parametrize(("kind", "changes"), EDITED.values(), ids=EDITED.keys())
def test_logprobs_of_an_edited_config(kind, changes, tiny_checkpoint, tmp_path):
    source = tiny_checkpoint(kind, num_key_value_heads=8) if "num_key_value_heads" in changes else tiny_checkpoint(kind)
    folder = shutil.copytree(source, tmp_path / "edited")
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    ids = [(7 * i) % 300 + 5 for i in range(60)]
    with torch.no_grad():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        theirs = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)[range(59), ids[1:]]
    [score] = Engine.load(str(folder), threads=1, kv_tokens=256).score([ids])
    assert float((theirs - torch.tensor(score.logprobs[1:])).abs().max()) < 1e-4
