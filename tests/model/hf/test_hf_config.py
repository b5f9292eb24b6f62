"""`config.json`, compared with transformers."""

import json
import math

import pytest
from marcot.model import UnsupportedConfigError
from marcot.model.hf.config import config_from_hf
from support.checkpoints.tiny import KINDS
from transformers import AutoConfig, LlamaConfig, Qwen2Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

QWEN2 = {
    "architectures": ["Qwen2ForCausalLM"],
    "vocab_size": 151_936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32_768,
    "hidden_act": "silu",
    "rope_theta": 1_000_000.0,
    "rms_norm_eps": 1e-6,
    "sliding_window": 32_768,
    "max_window_layers": 21,
    "use_sliding_window": False,
    "tie_word_embeddings": True,
    "eos_token_id": 151_645,
    "bos_token_id": 151_643,
}
YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def parse(generation=None, **changes):
    return config_from_hf(QWEN2 | changes, generation or {}, "folder/config.json")


def test_qwen2_fields_of_transformers_4():
    config = parse()
    assert (config.architecture, config.qkv_bias, config.tied_embeddings) == ("qwen2", True, True)
    assert (config.num_heads, config.num_kv_heads, config.gqa_group, config.head_dim) == (14, 2, 7, 64)
    assert (config.rope.theta, config.rope.scaling, config.max_positions) == (1e6, "none", 32_768)


# Width, intermediate width, layers, heads, KV heads, tied: the published Qwen2.5 family.
QWEN25_SHAPES = {
    "0.5B": (896, 4864, 24, 14, 2, True),
    "1.5B": (1536, 8960, 28, 12, 2, True),
    "3B": (2048, 11_008, 36, 16, 2, True),
    "7B": (3584, 18_944, 28, 28, 4, False),
    "14B": (5120, 13_824, 48, 40, 8, False),
    "32B": (5120, 27_648, 64, 40, 8, False),
    "72B": (8192, 29_568, 80, 64, 8, False),
}


@pytest.mark.parametrize("shape", QWEN25_SHAPES.values(), ids=QWEN25_SHAPES.keys())
def test_qwen25_family_is_accepted(shape):
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    config = parse(**dict(zip(names, shape, strict=False)), tie_word_embeddings=shape[5])
    assert config.head_dim * config.num_heads == config.hidden_size


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_transformers(kind, tiny_checkpoint):
    path = tiny_checkpoint(kind)
    ours = config_from_hf(json.loads((path / "config.json").read_text()), {}, str(path))
    theirs = AutoConfig.from_pretrained(path)
    head_dim = getattr(theirs, "head_dim", None) or theirs.hidden_size // theirs.num_attention_heads
    assert (ours.vocab_size, ours.hidden_size, ours.head_dim) == (theirs.vocab_size, theirs.hidden_size, head_dim)
    assert ours.rope.theta == theirs.rope_parameters["rope_theta"]
    assert ours.rope.factor == theirs.rope_parameters.get("factor", 1.0)


@pytest.mark.parametrize(
    "field", ["head_dim", "tie_word_embeddings", "rope_parameters", "no_rope_layers", "eos_token_id", "rms_norm_eps"]
)
@pytest.mark.parametrize("kind", ["qwen3", "mistral", "smollm3"])
def test_a_field_left_out_means_what_it_means_in_transformers(kind, field, tiny_checkpoint, tmp_path):
    values = json.loads((tiny_checkpoint(kind) / "config.json").read_text())
    values.pop(field, None)
    (tmp_path / "config.json").write_text(json.dumps(values))
    ours, theirs = config_from_hf(values, {}, "config.json"), AutoConfig.from_pretrained(tmp_path)
    assert ours.head_dim == getattr(theirs, "head_dim", theirs.hidden_size // theirs.num_attention_heads)
    assert ours.tied_embeddings == theirs.tie_word_embeddings
    assert ours.rope.theta == theirs.rope_parameters["rope_theta"]
    assert ours.eos_token_ids == (() if theirs.eos_token_id is None else (theirs.eos_token_id,))
    assert ours.rms_norm_eps == theirs.rms_norm_eps
    rotates = getattr(theirs, "no_rope_layers", [1] * theirs.num_hidden_layers)
    assert ours.unrotated_layers == tuple(layer for layer, yes in enumerate(rotates) if not yes)


@pytest.mark.parametrize(("window", "positions"), [(4096, 4096), (65_536, 32_768), (None, 32_768), ("", 4096)])
def test_mistral_sees_no_further_than_its_window(window, positions):
    """If it is missing it is 4096, as in transformers."""
    changes = {"architectures": ["MistralForCausalLM"], "sliding_window": window}
    values = {name: value for name, value in (QWEN2 | changes).items() if value != ""}
    config = config_from_hf(values, {}, "")
    assert (config.architecture, config.max_positions) == ("mistral", positions)
    assert config.sliding_window == (4096 if window == "" else window)


@pytest.mark.parametrize("field", ["rope_scaling", "rope_parameters"])
def test_yarn_as_qwen25_documents_it(field):
    config = parse(**{field: YARN | ({"rope_theta": 1e6} if field == "rope_parameters" else {})})
    assert (config.rope.scaling, config.rope.factor, config.rope.original_positions) == ("yarn", 4.0, 32_768)
    assert (config.rope.beta_fast, config.rope.beta_slow) == (32.0, 1.0)
    assert config.max_positions == 131_072
    theirs = Qwen2Config(
        rope_parameters=YARN | {"rope_type": "yarn", "rope_theta": 1e6}, max_position_embeddings=32_768
    )
    assert config.rope.attention_factor == pytest.approx(ROPE_INIT_FUNCTIONS["yarn"](theirs)[1], rel=1e-12)


def test_yarn_attention_factor_of_the_checkpoint_wins():
    assert parse(rope_scaling=YARN | {"attention_factor": 1.25}).rope.attention_factor == 1.25


def test_llama_32():
    config = parse(architectures=["LlamaForCausalLM"], rope_scaling=LLAMA3, max_position_embeddings=131_072)
    assert (config.architecture, config.qkv_bias, config.max_positions) == ("llama", False, 131_072)
    assert (config.rope.scaling, config.rope.low_freq_factor, config.rope.high_freq_factor) == ("llama3", 1.0, 4.0)
    assert LlamaConfig().rms_norm_eps == config.rms_norm_eps


@pytest.mark.parametrize(
    ("config_eos", "generation_eos", "expected"),
    [
        (5, None, (5,)),
        (5, [7, 5], (5, 7)),
        ([5, 6], 6, (5, 6)),
        (None, None, ()),
        (None, 9, (9,)),
    ],
)
def test_end_tokens_of_both_files_are_merged(config_eos, generation_eos, expected):
    assert parse({"eos_token_id": generation_eos}, eos_token_id=config_eos).eos_token_ids == expected


def test_the_end_token_that_llama_has_by_default():
    """If neither file names one, as in transformers; null counts as none."""
    without = {name: value for name, value in QWEN2.items() if name != "eos_token_id"}
    llama = without | {"architectures": ["LlamaForCausalLM"]}
    assert config_from_hf(llama, {}, "").eos_token_ids == (LlamaConfig().eos_token_id,) == (2,)
    assert config_from_hf(llama | {"eos_token_id": None}, {}, "").eos_token_ids == ()
    assert config_from_hf(llama, {"eos_token_id": 7}, "").eos_token_ids == (7,)
    assert config_from_hf(without, {}, "").eos_token_ids == ()


def test_the_type_alone_names_the_architecture():
    assert parse(architectures=None, model_type="llama").architecture == "llama"


def test_an_unknown_architecture_is_refused_first_with_what_works():
    with pytest.raises(UnsupportedConfigError, match=r"architectures is \['Gemma3ForCausalLM'\]") as caught:
        parse(architectures=["Gemma3ForCausalLM"], hidden_size="nonsense")
    for name in ("Qwen2ForCausalLM (Qwen2, Qwen2.5)", "Qwen3ForCausalLM", "LlamaForCausalLM", "MistralForCausalLM"):
        assert name in str(caught.value)
    assert "SmolLM3ForCausalLM (SmolLM3)" in str(caught.value)


SMOLLM3 = {"architectures": ["SmolLM3ForCausalLM"]}
REFUSED = {
    "architecture": ({"architectures": ["MixtralForCausalLM"]}, "architectures"),
    "no architecture": ({"architectures": None}, "architectures"),
    "two architectures": ({"model_type": "llama"}, "model_type is 'llama': contradicts architectures"),
    "type of another": ({"architectures": None, "model_type": "qwen3_moe"}, "architectures is None"),
    "layers without RoPE not listed": (
        SMOLLM3 | {"no_rope_layers": [1, 0]},
        "[1, 0]: must have an entry",
    ),
    "layers without RoPE not numbers": (SMOLLM3 | {"no_rope_layers": [True] * 24}, "no_rope_layers"),
    "no interval": (SMOLLM3 | {"no_rope_layer_interval": 0}, "no_rope_layer_interval is 0"),
    "sees what follows": ({"is_causal": False}, "is_causal is False"),
    "nested config": ({"text_config": {"hidden_size": 8}}, "text_config"),
    "two bases": (
        {"rope_parameters": {"rope_theta": 1e5}, "rope_scaling": YARN},
        "rope_parameters.rope_theta is 100000.0: rope_scaling replaces it",
    ),
    "yarn half truncated": ({"rope_scaling": YARN | {"truncate": None}}, "rope_scaling.truncate is None"),
    "theta null": ({"rope_theta": None}, "rope_theta is None"),
    "sliding window": ({"use_sliding_window": True}, "use_sliding_window is True: attention over a sliding window"),
    "sliding layer": ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
    "activation": ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
    "attention bias": ({"attention_bias": True}, "attention_bias"),
    "mlp bias": ({"mlp_bias": True}, "mlp_bias"),
    "tensor parallel": ({"pretraining_tp": 2}, "pretraining_tp is 2"),
    "quantised": ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config"),
    "partial rotary": ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
    "linear rope": ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling.type is 'linear'"),
    "dynamic rope": ({"rope_parameters": {"rope_type": "dynamic"}}, "rope_parameters.rope_type is 'dynamic'"),
    "yarn mscale": ({"rope_scaling": YARN | {"mscale": 1.0}}, "rope_scaling.mscale"),
    "yarn untruncated": ({"rope_scaling": YARN | {"truncate": False}}, "rope_scaling.truncate"),
    "yarn shrinks": ({"rope_scaling": YARN | {"factor": 0.5}}, "rope_scaling.factor is 0.5"),
    "yarn no factor": ({"rope_scaling": {"type": "yarn"}}, "rope_scaling.factor is missing"),
    "yarn beyond int32": ({"rope_scaling": YARN | {"factor": 1e6}}, "rope_scaling.factor"),
    "multimodal rope": ({"rope_scaling": {"type": "default", "mrope_section": [8, 8]}}, "rope_scaling.mrope_section"),
    "rope per layer type": ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "full_attention"),
    "llama3 order": ({"rope_scaling": LLAMA3 | {"low_freq_factor": 8.0}}, "rope_scaling.low_freq_factor"),
    "rope not an object": ({"rope_scaling": "yarn"}, "rope_scaling is 'yarn'"),
    "theta not finite": ({"rope_theta": math.inf}, "rope_theta is inf"),
    "eps not a number": ({"rms_norm_eps": math.nan}, "rms_norm_eps is nan"),
    "eps negative": ({"rms_norm_eps": -1e-6}, "rms_norm_eps"),
    "no layers": ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
    "negative width": ({"hidden_size": -896}, "hidden_size is -896"),
    "fractional width": ({"hidden_size": 896.0}, "hidden_size is 896.0"),
    "absurd vocabulary": ({"vocab_size": 10**18}, "vocab_size"),
    "boolean heads": ({"num_attention_heads": True}, "num_attention_heads is True"),
    "missing width": ({"intermediate_size": None}, "intermediate_size is None"),
    "groups do not fit": ({"num_key_value_heads": 3}, "num_key_value_heads is 3"),
    "heads do not fit": ({"num_attention_heads": 12, "num_key_value_heads": 2}, "hidden_size"),
    "odd head": ({"head_dim": 63}, "head_dim is 63"),
    "end token outside": ({"eos_token_id": 151_936}, "eos_token_id is 151936"),
    "end token is text": ({"eos_token_id": "<|im_end|>"}, "eos_token_id"),
    "tied is text": ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
}


@pytest.mark.parametrize(("changes", "named"), REFUSED.values(), ids=REFUSED.keys())
def test_refusal_names_file_and_field(changes, named):
    with pytest.raises(UnsupportedConfigError) as caught:
        parse(**changes)
    assert str(caught.value).startswith("folder/config.json: ")
    assert named in str(caught.value)
    assert caught.value.exit_code == 4
