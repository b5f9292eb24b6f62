"""Tokenizers without tokenizer.json: the same ids as transformers reads from these files, or a refusal."""

import json
import re
import shutil
from pathlib import Path

import pytest
from marcot.engine import Engine
from marcot.model import CheckpointError, TokenizerError, open_checkpoint
from support.checkpoints.tiny import CHAT_TEMPLATE, train_tokenizer
from transformers import AutoTokenizer

TEXTS = (
    "She sold 48 clips in 2024,\n\n  don't you know?",
    "cafe\u0301 日本 😀\t x = {1: 2}",
    "<|im_start|>user\nhi<|im_end|>\n<|endoftext|>",
    "<think>1 + 1</think> <tool> PAD[PAD]",
)


def token(content: str, **flags: bool) -> dict[str, object]:
    plain = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
    return {"content": content} | plain | flags


@pytest.fixture
def vocabulary_folder(tiny_checkpoint, tmp_path):
    """`vocabulary_folder(kind, tokenizer_config, **files)`: vocab.json, merges.txt and more JSON files."""

    def write(kind: str, tokenizer_config: dict[str, object] | None, /, **files: object) -> Path:
        folder = Path(shutil.copytree(tiny_checkpoint(kind), tmp_path / kind))
        model = json.loads(train_tokenizer(320).to_str())["model"]
        (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
        (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in model["merges"]))
        if tokenizer_config is not None:
            (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
        for name, content in files.items():
            file = folder / f"{name}.json"
            kept = json.loads(file.read_text()) if name == "config" else {}
            file.write_text(json.dumps(kept | content if isinstance(content, dict) else content))
        return folder

    return write


QWEN2 = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "chat_template": CHAT_TEMPLATE}
DECODER = {
    "0": token("<|endoftext|>"),
    "1": token("<|im_start|>"),
    "2": token("<|im_end|>"),
    "320": token("<think>", special=False),
    "321": token("</think>", special=False, normalized=True),
}
LAYOUTS = {
    "no config": ("qwen2", None, {}),
    "eos only": ("qwen2", QWEN2, {}),
    "class of another model": ("qwen2", {"tokenizer_class": "LlamaTokenizerFast"}, {}),
    "added_tokens_decoder": ("qwen2", QWEN2 | {"added_tokens_decoder": DECODER}, {}),
    "new special tokens": (
        "qwen2",
        QWEN2
        | {
            "pad_token": {"__type": "AddedToken"} | token("[PAD]"),
            "additional_special_tokens": ["<|im_start|>", "<tool>"],
        },
        {},
    ),
    "added_tokens.json": ("qwen2", QWEN2, {"added_tokens": {"</think>": 321, "<think>": 320, "<|im_end|>": 2}}),
    "special_tokens_map.json": (
        "qwen2",
        {},
        {"special_tokens_map": {"eos_token": token("<|im_end|>"), "bos_token": "<|im_start|>"}},
    ),
    "map beside a decoder": (
        "qwen2",
        QWEN2 | {"added_tokens_decoder": DECODER},
        {"special_tokens_map": {"eos_token": "<|endoftext|>", "pad_token": "[PAD]"}},
    ),
    "adds bos": ("qwen2", QWEN2 | {"bos_token": "<|im_start|>", "add_bos_token": True}, {}),
    "llama with gpt2": ("smollm2", {"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|im_end|>"}, {}),
    "class in config.json": ("smollm2", {}, {"config": {"tokenizer_class": "GPT2Tokenizer"}}),
    "llama with qwen2": ("smollm2", {"tokenizer_class": "Qwen2TokenizerFast"}, {}),
}


@pytest.mark.parametrize(("kind", "config", "files"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_same_ids_as_transformers(kind, config, files, vocabulary_folder):
    folder = vocabulary_folder(kind, config, **files)
    ours, theirs = open_checkpoint(folder).tokenizer(), AutoTokenizer.from_pretrained(folder)
    assert ours.vocab_size == len(theirs)
    assert ours.bos_token_id == theirs.bos_token_id
    assert ours.encode("plain", bos=ours.adds_bos) == theirs("plain")["input_ids"]
    for text in TEXTS:
        ids = theirs(text, add_special_tokens=False)["input_ids"]
        assert ours.encode(text) == ids, text
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True), text
        assert ours.decode(ids, keep_special=True) == theirs.decode(ids), text


@pytest.mark.parametrize("with_decoder", [True, False])
def test_tokens_beside_tokenizer_json(with_decoder, tiny_checkpoint, tmp_path):
    """A fine-tune that adds its tokens to tokenizer_config.json and leaves tokenizer.json unchanged."""
    folder = Path(shutil.copytree(tiny_checkpoint("smollm2", tokenizer=True), tmp_path / "tuned"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": "[PAD]"}
    if with_decoder:
        config["added_tokens_decoder"] = DECODER
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    ours, theirs = open_checkpoint(folder).tokenizer(), AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        ids = theirs(text, add_special_tokens=False)["input_ids"]
        assert ours.encode(text) == ids, text
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True), text


def test_an_engine_reads_text_and_chats(vocabulary_folder):
    folder = vocabulary_folder("qwen2", QWEN2)
    engine = Engine.load(str(folder), threads=1, kv_tokens=256)
    theirs = AutoTokenizer.from_pretrained(folder)
    assert list(engine.prefill("clips").path_ids) == theirs("clips")["input_ids"]
    chat = theirs.apply_chat_template([{"role": "user", "content": "hi"}], add_generation_prompt=True)["input_ids"]
    assert engine.chat_ids("hi") == chat


REFUSED = {
    "a class of another kind": (
        "smollm2",
        {"tokenizer_class": "LlamaTokenizer"},
        {},
        "has vocab.json and merges.txt but no tokenizer.json, and tokenizer_class in "
        "tokenizer_config.json is 'LlamaTokenizer'",
    ),
    "no class": ("smollm2", None, {}, "tokenizer_class in tokenizer_config.json is None"),
    "words are a list": ("qwen2", None, {"vocab": ["a"]}, "vocab.json: must be a JSON object"),
    "words do not fit": ("qwen2", QWEN2, {"vocab": {"a": 0}}, "vocab.json and merges.txt: not a vocabulary"),
    "decoder is a list": ("qwen2", {"added_tokens_decoder": [1]}, {}, "added_tokens_decoder must map token ids"),
    "added without an id": ("qwen2", QWEN2, {"added_tokens": {"x": "y"}}, "added_tokens.json: must map texts"),
}


@pytest.mark.parametrize(("kind", "config", "files", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refusal_names_the_file(kind, config, files, message, vocabulary_folder):
    folder = vocabulary_folder(kind, config, **files)
    with pytest.raises(CheckpointError, match=re.escape(message)):
        open_checkpoint(folder).tokenizer()


@pytest.mark.parametrize("name", ["tokenizer.model", "tekken.json", "vocab.json", "merges.txt"])
def test_tokenizer_of_another_kind_is_named(name, tiny_checkpoint, tmp_path):
    folder = Path(shutil.copytree(tiny_checkpoint("smollm2"), tmp_path / "other"))
    (folder / name).touch()
    with pytest.raises(
        TokenizerError, match=rf"{re.escape(name)}: this kind of tokenizer is not supported\. Write token"
    ):
        open_checkpoint(folder).tokenizer()
