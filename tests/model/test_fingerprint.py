"""Which changes of a checkpoint change its fingerprint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest
import torch
from marcot.model import open_checkpoint
from safetensors.torch import load_file, save_file
from support.checkpoints.tiny_gguf import convert


def fingerprint(path: Path) -> str:
    with open_checkpoint(path) as checkpoint:
        return checkpoint.fingerprint()


@pytest.fixture
def folder(tiny_checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """A checkpoint that tests may change."""
    return Path(shutil.copytree(tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1), tmp_path / "talker"))


def change_json(name: str, **values: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        file = folder / name
        known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        file.write_text(json.dumps(known | values), encoding="utf-8")

    return change


def change_weight(name: str, *place: int) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        weights[name][place] += 1.0
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return change


CHANGES = {
    "the config": change_json("config.json", rms_norm_eps=0.01),
    "ends of a text": change_json("generation_config.json", eos_token_id=[0, 1]),
    "the tokenizer's settings": change_json("tokenizer_config.json", bos_token="<|im_start|>"),
    "the chat template": lambda folder: (folder / "chat_template.jinja").write_text("{{ messages[0].content }}"),
    "a matrix, at its beginning": change_weight("model.layers.0.mlp.up_proj.weight", 0, 0),
    "a matrix, at its end": change_weight("model.layers.0.mlp.up_proj.weight", -1, -1),
    "a norm": change_weight("model.norm.weight", 3),
    "a bias": change_weight("model.layers.0.self_attn.k_proj.bias", 1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_checkpoint_has_another_fingerprint(folder: Path, change: Callable[[Path], object]) -> None:
    before = fingerprint(folder)
    change(folder)
    assert fingerprint(folder) != before


def test_it_is_the_same_wherever_the_checkpoint_lies_and_whatever_is_beside_it(folder: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copytree(folder, tmp_path / "elsewhere"))
    (elsewhere / "README.md").write_text("A card.")
    torch.save({}, elsewhere / "optimizer.pt")
    assert fingerprint(elsewhere) == fingerprint(folder)
    assert len(fingerprint(folder)) == 32


def test_gguf_files_are_told_apart_by_header_and_weights(folder: Path, tmp_path: Path) -> None:
    plain = convert(folder, tmp_path / "plain.gguf")
    same = convert(folder, tmp_path / "same.gguf")
    named = convert(folder, tmp_path / "named.gguf", edit=lambda writer: writer.add_name("another"))
    trained = shutil.copyfile(plain, tmp_path / "trained.gguf")
    last = gguf.GGUFReader(trained, "r+").tensors[-1]
    last.data.reshape(-1)[-1] += 1
    last.data.flush()
    assert fingerprint(plain) == fingerprint(same)
    assert len({fingerprint(plain), fingerprint(named), fingerprint(trained)}) == 3
