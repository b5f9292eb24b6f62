"""Folders of safetensors files, also damaged ones."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from marcot.model import CheckpointError, ModelNotFoundError, UnsupportedConfigError, open_checkpoint
from marcot.model.parameters import parameter_shapes
from safetensors.torch import load_file, save_file
from support.checkpoints.tiny import KINDS

Q_PROJ = "model.layers.1.self_attn.q_proj.weight"


@pytest.fixture
def folder(tiny_checkpoint, tmp_path) -> Path:
    """A checkpoint of one file that tests may damage."""
    return Path(shutil.copytree(tiny_checkpoint("qwen2"), tmp_path / "broken"))


@pytest.fixture
def sharded(tiny_checkpoint, tmp_path) -> Path:
    """The same weights in several shards."""
    path = Path(shutil.copytree(tiny_checkpoint("qwen2", max_shard_size="300KB"), tmp_path / "shards"))
    assert len(list(path.glob("*.safetensors"))) > 2
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_is_what_safetensors_stores(kind, tiny_checkpoint):
    path = tiny_checkpoint(kind)
    stored = load_file(path / "model.safetensors")
    with open_checkpoint(path) as checkpoint:
        names = parameter_shapes(checkpoint.config).keys()
        assert names == stored.keys()
        assert all(torch.equal(checkpoint.tensor(name), stored[name]) for name in names)


def test_shards_hold_the_same_weights_as_one_file(folder, sharded):
    with open_checkpoint(folder) as one, open_checkpoint(sharded) as many:
        assert all(torch.equal(one.tensor(n), many.tensor(n)) for n in parameter_shapes(one.config))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks at the mappings of a Linux process")
def test_tensors_are_views_of_the_mapped_file(folder):
    """Reading maps the file: it appears in the process's mappings, and the tensor lies inside one of them."""
    tensor = open_checkpoint(folder).tensor(Q_PROJ)
    assert isinstance(tensor, torch.Tensor)
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if "model.safetensors" in line]
    spans = [tuple(int(end, 16) for end in span.split("-")) for span, *_ in maps]
    assert any(low <= tensor.data_ptr() < high for low, high in spans)


def test_tensors_outlive_the_checkpoint(folder):
    with open_checkpoint(folder) as checkpoint:
        tensor = checkpoint.tensor(Q_PROJ)
    assert torch.equal(tensor, load_file(folder / "model.safetensors")[Q_PROJ])


def test_folder_without_tokenizer_has_none(folder):
    assert open_checkpoint(folder).tokenizer() is None


def test_generation_config_adds_end_tokens(folder):
    (folder / "generation_config.json").write_text('{"eos_token_id": [2, 7]}')
    assert open_checkpoint(folder).config.eos_token_ids == (2, 7)


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_missing_tensor(folder):
    rewrite(folder, lambda tensors: tensors.pop(Q_PROJ))
    with pytest.raises(CheckpointError, match=rf"broken: tensor {Q_PROJ} is missing"):
        open_checkpoint(folder).tensor(Q_PROJ)


def test_wrong_shape(folder):
    rewrite(folder, lambda tensors: tensors.update({Q_PROJ: torch.zeros(112, 111)}))
    with pytest.raises(CheckpointError, match=rf"safetensors: tensor {Q_PROJ} has shape \[112, 111\].*\[112, 112\]"):
        open_checkpoint(folder).tensor(Q_PROJ)


def test_wrong_dtype(folder):
    rewrite(folder, lambda tensors: tensors.update({Q_PROJ: torch.zeros(112, 112, dtype=torch.int8)}))
    with pytest.raises(CheckpointError, match=rf"{Q_PROJ} is stored as int8"):
        open_checkpoint(folder).tensor(Q_PROJ)


def test_tied_head_may_be_stored_too(folder):
    rewrite(folder, lambda tensors: tensors.update({"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}))
    assert open_checkpoint(folder).config.tied_embeddings


@pytest.mark.parametrize("head", [torch.zeros(331, 112), torch.zeros(331, 112, dtype=torch.half), torch.zeros(1)])
def test_tied_head_must_not_differ(head, folder):
    rewrite(folder, lambda tensors: tensors.update({"lm_head.weight": head}))
    with pytest.raises(UnsupportedConfigError, match=r"config\.json: tie_word_embeddings is True, but .*safetensors"):
        open_checkpoint(folder)


def test_untied_head_must_be_there(tiny_checkpoint, tmp_path):
    path = Path(shutil.copytree(tiny_checkpoint("qwen2-untied"), tmp_path / "headless"))
    rewrite(path, lambda tensors: tensors.pop("lm_head.weight"))
    with pytest.raises(
        UnsupportedConfigError, match=r"config\.json: tie_word_embeddings is False .* lm_head\.weight: set"
    ):
        open_checkpoint(path)


def test_parameter_that_the_model_does_not_have(folder):
    with pytest.raises(CheckpointError, match=r"no parameter lm_head\.weight"):
        open_checkpoint(folder).tensor("lm_head.weight")


def with_header(header: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header


BROKEN_FILES = {
    "truncated": lambda whole: whole[: len(whole) // 2],
    "truncated header": lambda whole: whole[:100],
    "empty": lambda _: b"",
    "garbage": lambda _: b"\x93garbage" * 100,
    "header length beyond the file": lambda whole: with_header(whole[8:], 2**63),
    "header is not JSON": lambda _: with_header(b"{nothing}"),
    "NaN in the header": lambda _: with_header(b'{"w":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}') + bytes(4),
    "negative shape": lambda _: with_header(b'{"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}') + bytes(4),
    "shape overflows": lambda _: (
        with_header(b'{"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}') + bytes(4)
    ),
    "offsets outside": lambda _: with_header(b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[9,13]}}') + bytes(4),
}


@pytest.mark.parametrize("damage", BROKEN_FILES.values(), ids=BROKEN_FILES.keys())
def test_broken_safetensors_file(damage, folder):
    file = folder / "model.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(CheckpointError, match=r"model\.safetensors: is not a complete safetensors file"):
        open_checkpoint(folder)


def test_missing_shard(sharded):
    shard = sorted(sharded.glob("*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(
        CheckpointError, match=r"safetensors: this shard is missing; it should have tensor model\."
    ) as caught:
        open_checkpoint(sharded)
    assert shard.name in str(caught.value)


def test_tensor_is_not_in_the_shard_that_the_index_names(sharded):
    index = sharded / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    first, last = (sorted(set(content["weight_map"].values()))[i] for i in (0, -1))
    name = next(name for name, shard in content["weight_map"].items() if shard == first)
    content["weight_map"][name] = last
    index.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=rf"{last}: tensor {name} cannot be read"):
        open_checkpoint(sharded).tensor(name)


@pytest.mark.parametrize("shard", ["../model.safetensors", "/etc/passwd", "model.bin", "", 7, None])
def test_index_must_not_leave_the_folder(shard, sharded):
    index = sharded / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {Q_PROJ: shard}}))
    with pytest.raises(CheckpointError, match=rf"index\.json: tensor {Q_PROJ}: .* is not the name"):
        open_checkpoint(sharded)


def test_index_without_a_map(sharded):
    (sharded / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match="weight_map must be an object"):
        open_checkpoint(sharded)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth"])
def test_pickles_are_never_opened(name, folder):
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(CheckpointError, match=rf"{name} is a pickle"):
        open_checkpoint(folder)


def test_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor model\.safetensors\.index\.json"):
        open_checkpoint(folder)


BROKEN_CONFIGS = {
    "missing": (None, "cannot be read"),
    "empty": (b"", "is not JSON"),
    "cut": (b'{"architectures": ["Qwen2', "is not JSON"),
    "binary": (b"\xff\xfe\x00", "is not UTF-8 text"),
    "list": (b"[]", "must be a JSON object, not list"),
    "nested too deep": (b"[" * 100_000, "is nested too deeply"),
    "number too long": (b'{"vocab_size": ' + b"9" * 5000 + b"}", "has an integer of too many digits"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN_CONFIGS.values(), ids=BROKEN_CONFIGS.keys())
def test_broken_config_file(content, message, folder):
    file = folder / "config.json"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"config\.json: {message}"):
        open_checkpoint(folder)


def test_broken_tokenizer_file(folder):
    (folder / "tokenizer.json").write_text('{"model": 1}')
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: not a tokenizer"):
        open_checkpoint(folder).tokenizer()


@pytest.mark.parametrize(
    ("name", "message"), [("nothing", "no such file"), ("model.onnx", "must be a .gguf file or a folder")]
)
def test_paths_of_no_known_kind(name, message, tmp_path):
    (tmp_path / "model.onnx").touch()
    with pytest.raises(ModelNotFoundError, match=message):
        open_checkpoint(tmp_path / name)
