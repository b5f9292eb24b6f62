"""Weights and config of GGUF files."""

from contextlib import suppress
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marcot.kernels import BlockTensor, MarcotError
from marcot.model import CheckpointError, UnsupportedConfigError, open_checkpoint
from marcot.model.parameters import parameter_shapes
from safetensors.torch import load_file
from support.checkpoints.tiny_gguf import convert, gguf_name
from transformers import AutoConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

Q_PROJ = "model.layers.0.self_attn.q_proj.weight"


def dense(weight: torch.Tensor | BlockTensor) -> torch.Tensor:
    return weight.dequantize() if isinstance(weight, BlockTensor) else weight


@pytest.mark.parametrize("kind", ["qwen2", "qwen2-untied", "smollm2", "qwen3", "smollm3"])
def test_unquantised_file_equals_the_folder_it_came_from(kind, tiny_checkpoint, tmp_path):
    folder = tiny_checkpoint(kind)
    ours, theirs = open_checkpoint(convert(folder, tmp_path / "tiny.gguf")), open_checkpoint(folder)
    assert ours.config.tied_embeddings == theirs.config.tied_embeddings
    assert ours.config.rope == theirs.config.rope
    assert ours.config.unrotated_layers == theirs.config.unrotated_layers
    for name in parameter_shapes(theirs.config):
        assert torch.equal(dense(ours.tensor(name)), dense(theirs.tensor(name))), name


@pytest.mark.parametrize("quantize", ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_block_formats_equal_the_gguf_package(quantize, tiny_checkpoint, tmp_path):
    folder = tiny_checkpoint("smollm2", hidden_size=288, num_hidden_layers=1)
    checkpoint = open_checkpoint(convert(folder, tmp_path / "tiny.gguf", quantize=quantize))
    kind = gguf.GGMLQuantizationType[quantize]
    for name, tensor in load_file(folder / "model.safetensors").items():
        stored = checkpoint.tensor(name)
        if tensor.ndim == 2 and tensor.shape[1] % gguf.GGML_QUANT_SIZES[kind][0] == 0:
            expected = gguf.dequantize(gguf.quantize(tensor.numpy(), kind), kind)
            assert torch.equal(dense(stored).float(), torch.from_numpy(expected)), name
        else:
            assert torch.equal(dense(stored), tensor), name


def test_llama3_scaling_is_recognised_from_its_divisors(tiny_checkpoint, tmp_path):
    folder = tiny_checkpoint("llama3.2")
    config = AutoConfig.from_pretrained(folder)
    inverse, _ = ROPE_INIT_FUNCTIONS["llama3"](config)
    plain = config.rope_parameters["rope_theta"] ** -(torch.arange(0, config.head_dim, 2) / config.head_dim)
    divisors = (plain / inverse).numpy().astype(np.float32)
    path = convert(folder, tmp_path / "a.gguf", edit=lambda writer: writer.add_tensor("rope_freqs.weight", divisors))
    assert open_checkpoint(path).config.rope == open_checkpoint(folder).config.rope
    path = tmp_path / "b.gguf"
    stretched = divisors * np.linspace(1.0, 1.1, len(divisors), dtype=np.float32)
    for other in (stretched, np.append(divisors[:-1], np.float32(np.inf))):
        convert(folder, path, edit=lambda writer, other=other: writer.add_tensor("rope_freqs.weight", other))
        with pytest.raises(UnsupportedConfigError, match=r"tensor rope_freqs\.weight is not the llama3 scaling"):
            open_checkpoint(path)


@pytest.mark.parametrize("original", [64, None], ids=["original context", "context length is the original"])
def test_yarn_metadata(original, tiny_checkpoint, tmp_path):
    def add_yarn(writer: gguf.GGUFWriter) -> None:
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(4.0)
        if original is not None:
            writer.add_rope_scaling_orig_ctx_len(original)

    folder = tiny_checkpoint("qwen2.5-yarn")
    ours = open_checkpoint(convert(folder, tmp_path / "tiny.gguf", edit=add_yarn)).config
    theirs = open_checkpoint(folder).config
    assert (ours.rope, ours.max_positions) == (theirs.rope, theirs.max_positions)


REFUSED = {
    "linear scaling": (lambda w: w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR), "rope.scaling.type is 'linear'"),
    "yarn without factor": (lambda w: w.add_rope_scaling_type(gguf.RopeScalingType.YARN), "scaling.factor is missing"),
    "factor without a type": (lambda w: w.add_rope_scaling_factor(4.0), "qwen2.rope.scaling.factor is 4.0"),
    "another factor of attention": (
        lambda w: (
            w.add_rope_scaling_type(gguf.RopeScalingType.YARN),
            w.add_rope_scaling_factor(4.0),
            w.add_rope_scaling_attn_factors(0.5),
        ),
        "qwen2.rope.scaling.attn_factor is 0.5",
    ),
    "divisors outside llama": (
        lambda w: w.add_tensor("rope_freqs.weight", np.ones(4, np.float32)),
        "tensor rope_freqs.weight is not part of a qwen2 model",
    ),
    "attends to what follows": (lambda w: w.add_causal_attention(False), "qwen2.attention.causal is False"),
    "an adapter": (lambda w: w.add_type("adapter"), "general.type is 'adapter': this file is not a complete model"),
    "partial rotation": (lambda w: w.add_rope_dimension_count(4), "qwen2.rope.dimension_count is 4"),
    "experts": (lambda w: w.add_expert_count(8), "qwen2.expert_count is 8"),
    "sliding window": (lambda w: w.add_sliding_window(512), "qwen2.attention.sliding_window is 512"),
    "split file": (lambda w: w.add_uint16("split.count", 3), "split.count is 3: join the parts first"),
    "end token outside": (lambda w: w.add_eos_token_id(331), "tokenizer.ggml.eos_token_id is 331"),
    "unknown tensor": (
        lambda w: w.add_tensor("blk.0.attn_sinks.weight", np.ones(8, np.float32)),
        "tensor blk.0.attn_sinks.weight is unknown to this engine",
    ),
    "norms of heads": (
        lambda w: w.add_tensor("blk.0.attn_q_norm.weight", np.ones(8, np.float32)),
        "tensor blk.0.attn_q_norm.weight is not part of a qwen2 model",
    ),
    "tensor of a layer too many": (
        lambda w: w.add_tensor("blk.3.attn_norm.weight", np.ones(112, np.float32)),
        "tensor blk.3.attn_norm.weight is not part of a qwen2 model",
    ),
}


@pytest.mark.parametrize(("edit", "named"), REFUSED.values(), ids=REFUSED.keys())
def test_refusal_names_file_and_key(edit, named, tiny_checkpoint, tmp_path):
    path = convert(tiny_checkpoint("qwen2"), tmp_path / "tiny.gguf", edit=edit)
    with pytest.raises(UnsupportedConfigError) as caught:
        open_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert named in str(caught.value)


def test_unknown_architecture(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "mamba.gguf", "mamba")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(UnsupportedConfigError, match=r"general\.architecture is 'mamba'"):
        open_checkpoint(tmp_path / "mamba.gguf")


def test_another_architecture_is_named_before_its_tensors(tiny_checkpoint, tmp_path):
    def as_gemma(writer: gguf.GGUFWriter) -> None:
        writer.arch = "gemma3"
        writer.add_key_value("general.architecture", "gemma3", gguf.GGUFValueType.STRING)
        writer.add_tensor("blk.0.post_attention_norm.weight", np.ones(8, np.float32))

    path = convert(tiny_checkpoint("qwen2"), tmp_path / "tiny.gguf", edit=as_gemma)
    with pytest.raises(UnsupportedConfigError, match=r"general\.architecture is 'gemma3'") as caught:
        open_checkpoint(path)
    for name in ("qwen2 (", "qwen3 (Qwen3)", "llama (", "Mistral 7B", "smollm3 (SmolLM3)"):
        assert name in str(caught.value)


TOKENS = ["a", "<|im_end|>", "<|endoftext|>", "</s>", "<|eom_id|>", "<|tool|>"]


@pytest.mark.parametrize(
    ("types", "keys", "ends"),
    [
        pytest.param([1, 3, 3, 1, 3, 3], {}, (1, 2, 4), id="by their texts"),
        pytest.param([1, 4, 1, 1, 1, 1], {}, (1, 2, 4), id="whatever their type"),
        pytest.param([1, 1, 1, 3, 1, 1], {}, (1, 2, 3, 4), id="a word where it is a control token"),
        pytest.param([1, 3, 3, 1, 3, 3], {"eos": 5, "eot": 2, "eom": 0}, (5, 2, 0, 1, 4), id="and what is declared"),
    ],
)
def test_end_tokens(types, keys, ends, tiny_checkpoint, tmp_path):
    def add_tokens(writer: gguf.GGUFWriter) -> None:
        writer.add_token_list(TOKENS)
        writer.add_token_types(types)
        for name, id in keys.items():
            writer.add_uint32(f"tokenizer.ggml.{name}_token_id", id)

    path = convert(tiny_checkpoint("qwen2"), tmp_path / "tiny.gguf", edit=add_tokens)
    assert open_checkpoint(path).config.eos_token_ids == ends


def test_wrong_shape(tiny_checkpoint, tmp_path):
    """The metadata claims a wider feed-forward part than the tensors have."""
    folder = tiny_checkpoint("qwen2")
    path = convert(folder, tmp_path / "tiny.gguf")
    content = path.read_bytes()
    key = content.index(b"feed_forward_length") + len("feed_forward_length") + 4
    path.write_bytes(content[:key] + (160).to_bytes(4, "little") + content[key + 4 :])
    with pytest.raises(
        CheckpointError, match=r"tiny\.gguf: tensor model.layers.0.mlp.up_proj.weight has shape \[152, 1"
    ):
        open_checkpoint(path).tensor("model.layers.0.mlp.up_proj.weight")


@pytest.fixture(scope="module")
def small_file(tiny_checkpoint, tmp_path_factory) -> Path:
    """A file with a tokenizer and as few bytes as possible."""

    def add_tokenizer(writer: gguf.GGUFWriter) -> None:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("qwen2")
        writer.add_token_list(["a", "b", "ab", "<end>"])
        writer.add_token_types([1, 1, 1, 3])
        writer.add_token_merges(["a b"])
        writer.add_chat_template("{{ messages[0].content }}")

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "vocab_size": 4}
    folder = tiny_checkpoint("qwen2", num_hidden_layers=1, num_key_value_heads=1, eos_token_id=3, **sizes)
    return convert(folder, tmp_path_factory.mktemp("small") / "small.gguf", edit=add_tokenizer)


def read_everything(path: Path) -> None:
    with open_checkpoint(path) as checkpoint:
        for name in parameter_shapes(checkpoint.config):
            dense(checkpoint.tensor(name))
        tokenizer = checkpoint.tokenizer()
        if tokenizer:
            tokenizer.decode(tokenizer.encode("abba<end>"))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_end_in_a_typed_error_or_in_nothing(data, small_file, tmp_path):
    content = bytearray(small_file.read_bytes())
    read_everything(small_file)
    header = content.index(b"output_norm") + 64
    for position in data.draw(st.lists(st.integers(0, header), min_size=1, max_size=4)):
        content[position] = data.draw(st.sampled_from([0, 1, 8, 9, 0x7F, 0x80, 0xFF]))
    path = tmp_path / "damaged.gguf"
    path.write_bytes(content)
    with suppress(MarcotError):
        read_everything(path)


def test_truncated_file(tiny_checkpoint, tmp_path):
    path = convert(tiny_checkpoint("qwen2"), tmp_path / "tiny.gguf")
    path.write_bytes(path.read_bytes()[:-100_000])
    with pytest.raises(CheckpointError, match=r"tiny\.gguf: tensor .* it is truncated"):
        open_checkpoint(path)


def test_empty_file(tmp_path):
    (tmp_path / "empty.gguf").touch()
    with pytest.raises(CheckpointError, match=r"empty\.gguf: cannot be mapped"):
        open_checkpoint(tmp_path / "empty.gguf")


@pytest.mark.real
@pytest.mark.slow  # the gguf package takes ten seconds to read the metadata of a Qwen file
@pytest.mark.parametrize("name", ["smollm2-135m", "qwen2.5-coder-0.5b"])
def test_real_file_equals_the_gguf_package(name, real_model):
    """The first tensors of each format and role, decoded from our mapping and from the gguf package's."""
    path: Path = real_model(name)
    checkpoint = open_checkpoint(path)
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    formats = set()
    for parameter in parameter_shapes(checkpoint.config):
        role, theirs = parameter.split(".", 3)[-1], stored[gguf_name(parameter)]
        if role in formats and theirs.tensor_type.name in formats:
            continue
        formats |= {role, theirs.tensor_type.name}
        rows = checkpoint.config.head_dim
        expected = torch.tensor(gguf.dequantize(theirs.data[:rows], theirs.tensor_type))
        if checkpoint.config.architecture == "llama" and role.endswith(("q_proj.weight", "k_proj.weight")):
            expected = torch.cat([expected[0::2], expected[1::2]])
        weight = checkpoint.tensor(parameter)
        ours = weight.dequantize(slice(rows)) if isinstance(weight, BlockTensor) else weight[:rows]
        assert torch.equal(ours, expected), parameter
    assert formats >= ({"F32", "Q4_1", "Q8_0"} if "smol" in name else {"F32", "Q4_K", "Q5_0", "Q6_K", "Q8_0"})
