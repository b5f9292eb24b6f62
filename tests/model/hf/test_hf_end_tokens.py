"""The end-of-sequence token, from wherever a folder declares it. The config of the weights says 2, `<|im_end|>`."""

import json
import shutil
from pathlib import Path

import pytest
from marcot.engine import Engine, Sampling
from marcot.model import open_checkpoint

START, END_OF_TEXT = 1, 0
DECODER = {"0": {"content": "<|endoftext|>"}, "1": {"content": "<|im_start|>"}, "2": {"content": "<|im_end|>"}}


@pytest.fixture
def folder(tiny_checkpoint, tmp_path):
    """A checkpoint with tokenizer.json, whose config.json names no end token, and no other tokenizer file."""
    path = Path(shutil.copytree(tiny_checkpoint("qwen2", tokenizer=True), tmp_path / "copy"))
    for name in ("tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        (path / name).unlink(missing_ok=True)
    rewrite(path, "config", eos_token_id=None)
    return path


def rewrite(folder: Path, name: str, **fields: object) -> None:
    file = folder / f"{name}.json"
    values = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(values | fields))


DECLARED = {
    "nowhere": ({}, ()),
    "config": ({"config": {"eos_token_id": 1}}, (1,)),
    "list in config": ({"config": {"eos_token_id": [2, 1]}}, (2, 1)),
    "generation_config": ({"generation_config": {"eos_token_id": [0, 2]}}, (0, 2)),
    "tokenizer_config": ({"tokenizer_config": {"eos_token": "<|im_end|>"}}, (2,)),
    "object in tokenizer_config": ({"tokenizer_config": {"eos_token": {"content": "<|im_end|>"}}}, (2,)),
    "tokenizer_config with a decoder": (
        {"tokenizer_config": {"eos_token": "<|im_end|>", "added_tokens_decoder": DECODER}},
        (2,),
    ),
    "special_tokens_map": ({"special_tokens_map": {"eos_token": "<|im_end|>"}}, (2,)),
    "object in special_tokens_map": ({"special_tokens_map": {"eos_token": {"content": "<|im_end|>"}}}, (2,)),
    "an ordinary word": ({"tokenizer_config": {"eos_token": "a"}}, (67,)),
    "no token of the vocabulary": ({"tokenizer_config": {"eos_token": "<none>"}}, ()),
    "everywhere another one": (
        {
            "config": {"eos_token_id": 5},
            "generation_config": {"eos_token_id": 6},
            "tokenizer_config": {"eos_token": "<|im_end|>"},
            "special_tokens_map": {"eos_token": "<|endoftext|>"},
        },
        (5, 6, 2, 0),
    ),
    "the template only": ({"tokenizer_config": {"chat_template": "{{ m }}<|im_end|>"}}, (2,)),
    "no end in the template": ({"tokenizer_config": {"chat_template": "<|im_start|>{{ m }}"}}, ()),
}


@pytest.mark.parametrize(("files", "ends"), DECLARED.values(), ids=DECLARED.keys())
def test_every_declaration_counts(files, ends, folder):
    for name, fields in files.items():
        rewrite(folder, name, **fields)
    assert open_checkpoint(folder).config.eos_token_ids == ends


def test_without_tokenizer_json(folder):
    words = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(words["vocab"]))
    (folder / "merges.txt").write_text("".join(f"{a} {b}\n" for a, b in words["merges"]))
    rewrite(folder, "tokenizer_config", eos_token="<|im_end|>")
    assert open_checkpoint(folder).config.eos_token_ids == (2,)


def test_a_branch_ends_there(folder):
    """The end token of tokenizer_config.json decides: a text ends at the third token if that is declared the end."""
    sampling = Sampling(temperature=0, max_tokens=6)
    engine = Engine.load(str(folder), threads=1, kv_tokens=256)
    [free] = engine.expand(engine.prefill([5, 6, 7]), 1, sampling)
    last = int(free.token_ids[2])
    rewrite(folder, "tokenizer_config", eos_token=engine.tokenizer.token(last))
    engine = Engine.load(str(folder), threads=1, kv_tokens=256)
    [ended] = engine.expand(engine.prefill([5, 6, 7]), 1, sampling)
    assert (ended.finish_reason, ended.token_ids[-1]) == ("eos", last)
    assert len(ended.token_ids) <= 3
