"""Folders and files given in place of a checkpoint: one line says what they are and what to do."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from marcot.engine import Engine
from marcot.model import CheckpointError, ModelNotFoundError, UnsupportedConfigError, open_checkpoint
from support.checkpoints.tiny_gguf import convert

ADAPTER = {"peft_type": "LORA", "base_model_name_or_path": "Qwen/Qwen2.5-0.5B", "r": 16}
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 988097824\n"


@pytest.fixture
def folder(tiny_checkpoint, tmp_path):
    return Path(shutil.copytree(tiny_checkpoint("qwen2", tokenizer=True), tmp_path / "model"))


def write(folder: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


CONFIG = {"model_type": "qwen2"}
NO_CONFIG = {
    "adapter": (
        {"adapter_config.json": ADAPTER, "adapter_model.safetensors": ""},
        "is a LORA adapter for Qwen/Qwen2.5-0.5B, not a complete model: merge it once with peft's "
        "AutoPeftModelForCausalLM.from_pretrained(folder).merge_and_unload()",
    ),
    "adapter without a base": ({"adapter_config.json": {}}, "a PEFT adapter for a model it does not name"),
    "adapter without its config": ({"adapter_model.safetensors": ""}, "has the weights of a PEFT adapter"),
    "hub cache": (
        {"snapshots/abc/config.json": CONFIG, "refs/main": "abc"},
        "it has folders with models; give one of them: ",
    ),
    "training run": ({"checkpoint-10/config.json": CONFIG, "trainer_state.json": {}}, "/checkpoint-10"),
    "folder of GGUF folders": ({"q4/model.gguf": ""}, "q4/model.gguf"),
    "onnx": ({"onnx/model.onnx": ""}, "onnx/model.onnx is an ONNX export: use the checkpoint"),
    "original llama": ({"consolidated.00.pth": "", "params.json": {}}, "use the checkpoint in Hugging Face's format"),
    "mlx": ({"weights.00.npz": ""}, "weights.00.npz is an MLX checkpoint"),
    "anything": (
        {"notes.txt": "", "a.csv": ""},
        "config.json: cannot be read: no such file; the folder has a.csv",
    ),
    "nothing": ({}, "the folder has no files"),
}


@pytest.mark.parametrize(("files", "message"), NO_CONFIG.values(), ids=NO_CONFIG.keys())
def test_folder_without_a_config(files, message, tmp_path):
    with pytest.raises(CheckpointError, match=re.escape(message)) as caught:
        open_checkpoint(write(tmp_path, files))
    assert str(caught.value).startswith(str(tmp_path))
    assert caught.value.exit_code == 4


NO_WEIGHTS = {
    "pickle": (
        {"pytorch_model.bin": ""},
        "pytorch_model.bin is a pickle, which could run code and is never opened: "
        "AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder) of transformers writes safetensors",
    ),
    "pickle of a training run": (
        {"training_args.bin": "", "model.onnx": ""},
        "model.onnx is an ONNX export",
    ),
    "onnx": ({"model.onnx": ""}, "model.onnx is an ONNX export"),
    "flax": ({"flax_model.msgpack": ""}, "flax_model.msgpack is a Flax checkpoint"),
    "another name": ({"weights.safetensors": ""}, "weights.safetensors is not called model.safetensors"),
    "no index": (
        {"model-00001-of-00002.safetensors": "", "model-00002-of-00002.safetensors": ""},
        "model-00001-of-00002.safetensors is a shard without its index: also download model.safetensors.index.json",
    ),
    "half a download": ({"model.safetensors.part": ""}, "is an incomplete download"),
    "several GGUF files": ({"a.gguf": "", "b.gguf": ""}, "has 2 GGUF files; give one of them: "),
}


@pytest.mark.parametrize(("files", "message"), NO_WEIGHTS.values(), ids=NO_WEIGHTS.keys())
def test_folder_without_safetensors(files, message, folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=re.escape(message)) as caught:
        open_checkpoint(write(folder, files))
    assert str(caught.value).startswith(str(folder))


def test_adapter_beside_the_weights(folder):
    write(folder, {"adapter_config.json": ADAPTER})
    with pytest.raises(CheckpointError, match=r"adapter_config\.json: this LORA adapter for .* is beside a model's"):
        open_checkpoint(folder)


QUANTISED = {
    "gptq": (
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        "weights quantised by gptq are not supported",
    ),
    "awq": ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "weights quantised by awq are not"),
    "mlx": (
        {"quantization": {"group_size": 64, "bits": 4}},
        "quantization is {'group_size': 64, 'bits': 4}: quantised",
    ),
}


@pytest.mark.parametrize(("fields", "message"), QUANTISED.values(), ids=QUANTISED.keys())
def test_quantised_safetensors(fields, message, folder):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    with pytest.raises(UnsupportedConfigError, match=re.escape(message)) as caught:
        open_checkpoint(folder)
    assert "give a GGUF file, or the unquantised model" in str(caught.value)


def test_gemma3_is_called_gemma3(folder):
    """Its tensors have norms that a Qwen2 does not have; the message is about the architecture."""
    file = folder / "config.json"
    fields = {"architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3"}
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    with pytest.raises(UnsupportedConfigError, match=r"architectures is \['Gemma3ForCausalLM'\]: choose a model"):
        open_checkpoint(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_git_lfs_pointer(name, folder):
    write(folder, {name: POINTER})
    with pytest.raises(CheckpointError, match=rf"{re.escape(name)}: is a Git LFS pointer, .* 'git lfs pull'"):
        open_checkpoint(folder).tokenizer()


def test_git_lfs_pointer_in_place_of_a_gguf_file(tmp_path):
    write(tmp_path, {"model.gguf": POINTER})
    with pytest.raises(CheckpointError, match=r"model\.gguf: is a Git LFS pointer"):
        open_checkpoint(tmp_path / "model.gguf")


@pytest.mark.parametrize("with_config", [True, False])
def test_folder_of_one_gguf_file_is_that_file(with_config, folder, tmp_path):
    path = convert(folder, tmp_path / "only.gguf")
    inside = tmp_path / "inside"
    inside.mkdir()
    shutil.move(path, inside / "only.gguf")
    if with_config:
        shutil.copy(folder / "config.json", inside)
    engine = Engine.load(str(inside), kv_tokens=256, threads=1)
    [ours], [theirs] = (
        engine.score([[5, 6, 7]]),
        Engine.load(str(folder), kv_tokens=256, threads=1).score([[5, 6, 7]]),
    )
    assert ours.logprobs[1:] == pytest.approx(theirs.logprobs[1:], abs=1e-5)


def test_gguf_file_beside_safetensors_is_left_alone(folder):
    write(folder, {"other.gguf": ""})
    assert open_checkpoint(folder).path == folder


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folder_that_must_not_be_read(folder):
    folder.chmod(0)
    try:
        with pytest.raises(CheckpointError, match="cannot be read: Permission denied"):
            open_checkpoint(folder)
    finally:
        folder.chmod(0o700)


def test_weights_file_in_place_of_its_folder(folder):
    with pytest.raises(ModelNotFoundError, match=rf"give its folder: {re.escape(str(folder))}$"):
        open_checkpoint(folder / "model.safetensors")
