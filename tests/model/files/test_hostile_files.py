"""Checkpoint files that are of another kind, have false contents, or change while they are read."""

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import tokenizers
from marcot.engine import Engine
from marcot.model import CheckpointError, ModelNotFoundError, TokenizerError, open_checkpoint
from marcot.model.crashing_tokenizers import refuse_crashing
from marcot.model.files.plain_file import read_plain
from marcot.model.files.rust_errors import translated
from marcot.model.tokenizer import Tokenizer
from support.checkpoints.tiny_gguf import convert

READ = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "chat_template.jinja", "model.safetensors",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """If a test waits for a pipe, end the run with a traceback."""
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.fixture
def folder(tiny_checkpoint, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1), tmp_path / "model"))


@pytest.fixture
def gguf_file(tiny_checkpoint, tmp_path) -> Path:
    return convert(tiny_checkpoint("qwen2", num_hidden_layers=1), tmp_path / "tiny.gguf")


def put(kind: str, file: Path) -> None:
    file.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "sparse":
        file.touch()
        os.truncate(file, 2**40)
    else:
        file.symlink_to(kind)


@pytest.mark.parametrize("kind", ["pipe", "folder", "sparse", "/dev/zero", "/dev/null"])
@pytest.mark.parametrize("name", READ)
def test_what_is_no_plain_file_is_refused_at_once(kind, name, folder):
    put(kind, folder / name)
    with pytest.raises(CheckpointError, match=re.escape(name)):
        Engine.load(folder, threads=1, kv_tokens=64)


@pytest.mark.parametrize("kind", ["pipe", "sparse", "/dev/zero"])
def test_what_is_no_gguf_file_is_refused_at_once(kind, gguf_file):
    put(kind, gguf_file)
    with pytest.raises(CheckpointError, match=r"tiny\.gguf"):
        open_checkpoint(gguf_file)


def test_links_to_files_are_followed(folder):
    """Files are symbolic links in the hub's cache."""
    (folder / "config.json").rename(folder / "blob")
    (folder / "config.json").symlink_to("blob")
    assert open_checkpoint(folder).config.num_layers == 1


def test_a_fingerprint_waits_for_nothing(folder):
    with open_checkpoint(folder) as checkpoint:
        put("pipe", folder / "merges.txt")
        with pytest.raises(CheckpointError, match=r"merges\.txt"):
            checkpoint.fingerprint()


def test_a_file_that_grows_is_read_no_further_than_its_bound(tmp_path):
    file = tmp_path / "some.json"
    file.write_bytes(bytes(100))
    assert len(read_plain(file, 100)) == 100
    with pytest.raises(CheckpointError, match="larger than"):
        read_plain(file, 99)


@pytest.mark.parametrize("kind", ["safetensors", "gguf"])
def test_a_file_that_is_cut_while_it_is_open(kind, folder, gguf_file):
    """Reading a truncated mapping would kill the process with SIGBUS."""
    path, file = (folder, folder / "model.safetensors") if kind == "safetensors" else (gguf_file, gguf_file)
    with open_checkpoint(path) as checkpoint:
        os.truncate(file, 4096)
        with pytest.raises(CheckpointError, match=rf"{file.name}: was truncated from \d+ to 4096 bytes"):
            checkpoint.tensor("model.layers.0.mlp.up_proj.weight")
        with pytest.raises(CheckpointError, match="was truncated"):
            checkpoint.fingerprint()


def test_a_file_that_another_one_replaces_stays_readable(gguf_file):
    with open_checkpoint(gguf_file) as checkpoint:
        other = gguf_file.with_name("other")
        other.write_bytes(b"short")
        other.replace(gguf_file)
        assert checkpoint.tensor("model.norm.weight").shape == (112,)


@pytest.mark.parametrize("name", ["a" * 5000, "a/" * 3000, "b" * 300 + ".gguf", "\0", "\ud800", "\x1b[2J", "é" * 200])
def test_names_that_no_file_can_have(name, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError) as caught:
        Engine.load(name)
    assert isinstance(caught.value, ModelNotFoundError)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1100


@pytest.mark.parametrize("shard", ["a" * 300 + ".safetensors", "\0.safetensors"])
def test_shards_that_no_file_can_be(shard, folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"model.norm.weight": shard}}))
    with pytest.raises(CheckpointError, match="this shard is missing"):
        open_checkpoint(folder)


def test_names_cannot_command_a_terminal(folder):
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"\x1b]0;title\x07\u202e" + "x" * 5000: "../outside"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="is not the name of a safetensors file") as caught:
        open_checkpoint(folder)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1100


FIELDS = {
    "architectures in a list": {"architectures": [["Qwen2ForCausalLM"]]},
    "architecture is an object": {"architectures": [{"a": 1}]},
    "rotations of nothing": {"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "beta_fast": 5e-324}},
    "a base of one": {"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "rope_theta": 1.0000000000000002}},
    "attention without bounds": {"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "attention_factor": 1e12}},
    "norm of nothing": {"rms_norm_eps": 5e-324},
    "a million by a million": {"hidden_size": 14_000_000, "vocab_size": 16_000_000},
    "a head for each number": {"num_attention_heads": 112, "num_key_value_heads": 112},
    "no heads": {"num_attention_heads": 0},
    "negative layers": {"num_hidden_layers": -1},
    "layers that are not there": {"num_hidden_layers": 4096},
}


@pytest.mark.parametrize("changes", FIELDS.values(), ids=FIELDS.keys())
def test_configs_that_promise_what_is_not_there(changes, folder):
    config = json.loads((folder / "config.json").read_text())
    config.pop("rope_parameters")
    (folder / "config.json").write_text(json.dumps(config | {"head_dim": None} | changes))
    with pytest.raises(CheckpointError, match=folder.name):
        Engine.load(folder, threads=1, kv_tokens=64)


BESIDE = {
    "content is a list": ("tokenizer.json", {"added_tokens": [{"content": [], "id": 7}]}, "not a tokenizer"),
    "id of 5000 digits": (
        "tokenizer_config.json",
        {"added_tokens_decoder": {"1" * 5000: {"content": "x"}}},
        "must map token ids",
    ),
    "half a character": ("tokenizer_config.json", {"eos_token": "\ud800"}, "unpaired surrogate"),
    "half a key": ("special_tokens_map.json", {"\udfff_token": "x"}, "unpaired surrogate"),
    "template is an object": ("tokenizer_config.json", {"chat_template": {}}, "must be a string or a list"),
}


@pytest.mark.parametrize(("name", "changes", "message"), BESIDE.values(), ids=BESIDE.keys())
def test_fields_of_another_type(name, changes, message, folder):
    (folder / "chat_template.jinja").unlink()
    file = folder / name
    kept = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(kept | changes))
    with pytest.raises(CheckpointError, match=rf"{re.escape(name)}: .*{message}"):
        Engine.load(folder, threads=1, kv_tokens=64)


def test_named_templates_may_have_any_names(folder):
    (folder / "chat_template.jinja").unlink()
    templates = [{"name": [], "template": "x"}, {"name": "default", "template": "hello"}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": templates}))
    assert open_checkpoint(folder).tokenizer().chat([]) == "hello"


def test_whole_characters_may_be_spelt_as_two(folder):
    (folder / "tokenizer_config.json").write_text('{"eos_token": "\\ud83c\\udf33"}')
    assert open_checkpoint(folder).tokenizer().token_id("🌳") is not None


CRASHING = {
    "prefix of words": {"model": {"type": "BPE", "continuing_subword_prefix": "##"}},
    "prefix, spelt otherwise": '{"model": {"type": "BPE", "continuing_subword_prefi\\u0078": "##"}}',
    "empty pattern": {"normalizer": {"type": "Replace", "pattern": {"String": ""}, "content": "x"}},
    "charsmap is a number": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": 7}},
    "charsmap is empty": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": ""}},
    "strips a million": {"decoder": {"type": "Sequence", "decoders": [{"type": "Strip", "start": 10**6, "stop": 0}]}},
}


@pytest.mark.parametrize("content", CRASHING.values(), ids=CRASHING.keys())
def test_tokenizers_that_crash_their_library(content):
    text = content if isinstance(content, str) else json.dumps(content)
    with pytest.raises(TokenizerError, match=r"^some\.json: "):
        refuse_crashing(text.encode(), Path("some.json"))


def test_ordinary_parts_are_left_to_the_library():
    content = {
        "model": {"type": "BPE", "continuing_subword_prefix": "", "vocab": {'"Strip"': 0, '"String": ""': 1}},
        "decoder": {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    }
    refuse_crashing(json.dumps(content).encode(), Path("some.json"))


def test_a_panic_is_a_typed_error():
    backend = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0}, []))
    backend.decoder = tokenizers.decoders.Strip("a", 1, 2)
    with pytest.raises(TokenizerError, match="these tokens cannot be decoded"):
        Tokenizer(backend).decode([0])


def test_an_interrupt_stays_one():
    assert type(translated(KeyboardInterrupt(), "not a tokenizer")) is KeyboardInterrupt
