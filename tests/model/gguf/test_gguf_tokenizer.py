"""Tokenizers of GGUF files, compared with llama.cpp's and transformers'."""

import json
from pathlib import Path

import pytest
from marcot.kernels import MarcotError
from marcot.model import open_checkpoint
from marcot.model.gguf.tokenizer import tokenizer_from_gguf
from tokenizers import AddedToken, Regex, normalizers
from tokenizers.pre_tokenizers import Split
from transformers import Qwen2Tokenizer
from transformers.convert_slow_tokenizer import TikTokenConverter

# From llama.cpp: its server's /tokenize (build b11549, parse_special true, add_special false) over the real files.
LLAMA_CPP = json.loads((Path(__file__).parent / "llama_cpp_token_ids.json").read_text())
COMPOSED = "café naïve e\u0301 \u00e9 ﬁ Å"

MINIMAL = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "qwen2",
    "tokenizer.ggml.tokens": ["a", "b", "ab", "<end>"],
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.token_type": [1, 1, 1, 3],
    "tokenizer.ggml.eos_token_id": 3,
}


@pytest.fixture(scope="module")
def real_tokenizers(real_model):
    return {name: open_checkpoint(real_model(name)).tokenizer() for name in ("smollm2-135m", "qwen2.5-coder-0.5b")}


@pytest.mark.real
@pytest.mark.parametrize("name", ["smollm2-135m", "qwen2.5-coder-0.5b"])
def test_same_ids_as_llama_cpp(name, real_tokenizers):
    # Qwen2's own tokenizer normalises text to NFC first; llama.cpp does not.
    skipped = COMPOSED if name.startswith("qwen") else None
    for case in LLAMA_CPP:
        if case["text"] != skipped:
            assert real_tokenizers[name].encode(case["text"]) == case[name], case["text"]


@pytest.mark.real
def test_same_ids_as_the_qwen2_tokenizer_of_transformers(real_tokenizers):
    ours = real_tokenizers["qwen2.5-coder-0.5b"]
    saved = json.loads(ours._backend.to_str())
    theirs = Qwen2Tokenizer(vocab=saved["model"]["vocab"], merges=[tuple(pair) for pair in saved["model"]["merges"]])
    special = [AddedToken(token["content"], normalized=False) for token in saved["added_tokens"]]
    theirs.add_tokens(special, special_tokens=True)
    for text in [COMPOSED, *(case["text"] for case in LLAMA_CPP)]:
        assert ours.encode(text) == theirs(text, add_special_tokens=False)["input_ids"], text


@pytest.mark.real
@pytest.mark.parametrize("name", ["smollm2-135m", "qwen2.5-coder-0.5b"])
def test_round_trip(name, real_tokenizers):
    for case in LLAMA_CPP:
        text = normalizers.NFC().normalize_str(case["text"]) if name.startswith("qwen") else case["text"]
        assert real_tokenizers[name].decode(real_tokenizers[name].encode(text), keep_special=True) == text


@pytest.mark.real
def test_special_tokens_of_the_real_files(real_tokenizers):
    smollm, qwen = real_tokenizers["smollm2-135m"], real_tokenizers["qwen2.5-coder-0.5b"]
    assert (smollm.vocab_size, smollm.bos_token_id, smollm.adds_bos) == (49_152, 1, False)
    assert (qwen.vocab_size, qwen.bos_token_id, qwen.adds_bos) == (151_936, 151_643, False)
    assert (smollm.token_id("<|im_end|>"), qwen.token_id("<|im_end|>")) == (2, 151_645)


def test_llama_bpe_splits_as_transformers_converter_for_llama_3():
    saved = json.loads(tokenizer_from_gguf(MINIMAL | {"tokenizer.ggml.pre": "llama-bpe"}, "file")._backend.to_str())
    pattern = saved["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    ours, theirs = (Split(Regex(regex), "isolated") for regex in (pattern, TikTokenConverter().pattern))
    for case in LLAMA_CPP:
        assert ours.pre_tokenize_str(case["text"]) == theirs.pre_tokenize_str(case["text"])


TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""The field `config.pattern` of Mistral's tekken.json (mistral-common 1.13.1)."""


def test_tekken_splits_as_mistral_says():
    backend = tokenizer_from_gguf(MINIMAL | {"tokenizer.ggml.pre": "tekken"}, "file")._backend
    pattern = json.loads(backend.to_str())["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    ours, theirs = (Split(Regex(regex), "isolated") for regex in (pattern, TEKKEN))
    for text in ["HelloWorld XMLHttpRequest iPhone 2024 ÉtéÀ //\n/", *(case["text"] for case in LLAMA_CPP)]:
        assert ours.pre_tokenize_str(text) == theirs.pre_tokenize_str(text)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("deepseek-r1-qwen", "qwen2"),
        ("megrez", "qwen2"),
        ("llama3", "llama-bpe"),
        ("llama-v3", "llama-bpe"),
        ("falcon3", "llama-bpe"),
        ("smaug-bpe", "llama-bpe"),
        ("refact", "smollm"),
    ],
)
def test_names_of_the_same_split(name, known):
    alias, original = (
        tokenizer_from_gguf(MINIMAL | {"tokenizer.ggml.pre": pre}, "file")._backend for pre in (name, known)
    )
    for case in LLAMA_CPP:
        splits = [tokenizer.pre_tokenizer.pre_tokenize_str(case["text"]) for tokenizer in (alias, original)]
        assert splits[0] == splits[1]


def test_deepseek_r1_qwen_composes_characters_as_qwen2():
    assert tokenizer_from_gguf(MINIMAL | {"tokenizer.ggml.pre": "deepseek-r1-qwen"}, "file")._backend.normalizer


@pytest.mark.parametrize("kind", [1, 3, 4], ids=["ordinary", "control", "user-defined"])
def test_the_end_of_a_turn_is_a_control_token_however_it_is_typed(kind):
    tokens = ["a", "b", "ab", "<|im_end|>"]
    changes = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": [1, 1, 1, kind]}
    tokenizer = tokenizer_from_gguf(MINIMAL | changes, "file")
    assert tokenizer.encode("a<|im_end|>b") == [0, 3, 1]
    assert tokenizer.decode([0, 3, 1]) == "ab"


def test_an_ordinary_word_that_looks_like_an_end_stays_one():
    """`</s>` is a word of Qwen2's vocabulary: it ends struck-through text in HTML."""
    changes = {"tokenizer.ggml.tokens": ["a", "b", "ab", "</s>"], "tokenizer.ggml.token_type": [1] * 4}
    assert tokenizer_from_gguf(MINIMAL | changes, "file").decode([0, 3]) == "a</s>"


def test_minimal_file():
    tokenizer = tokenizer_from_gguf(MINIMAL, "file")
    assert tokenizer.encode("abba<end>") == [2, 1, 0, 3]
    assert tokenizer.decode([2, 3]) == "ab"
    assert (tokenizer.bos_token_id, tokenizer.adds_bos, tokenizer.chat_template) == (None, False, None)


@pytest.mark.parametrize(
    ("changes", "adds_bos"),
    [
        pytest.param({"tokenizer.ggml.pre": "tekken"}, True, id="tekken"),
        pytest.param({}, True, id="llama 3 unless told otherwise"),
        pytest.param({"tokenizer.ggml.add_bos_token": False}, False, id="told otherwise"),
    ],
)
def test_llama_3_and_tekken_add_bos(changes, adds_bos):
    metadata = MINIMAL | {"tokenizer.ggml.pre": "llama-bpe", "tokenizer.ggml.bos_token_id": 3} | changes
    assert tokenizer_from_gguf(metadata, "file").adds_bos is adds_bos


def test_file_without_tokenizer_has_none():
    assert tokenizer_from_gguf({}, "file") is None


REFUSED = {
    "unigram": ({"tokenizer.ggml.model": "t5"}, "tokenizer.ggml.model is 't5'"),
    "sentencepiece without scores": ({"tokenizer.ggml.model": "llama"}, "tokenizer.ggml.scores is missing"),
    "sentencepiece, scores too short": (
        {"tokenizer.ggml.model": "llama", "tokenizer.ggml.scores": [1.0]},
        "tokenizer.ggml.scores must have one number for each of 4 tokens",
    ),
    "unknown split": ({"tokenizer.ggml.pre": "poro-chat"}, "tokenizer.ggml.pre is 'poro-chat', an unknown way"),
    "no split": ({"tokenizer.ggml.pre": None}, "tokenizer.ggml.pre is 'missing'"),
    "no merges": ({"tokenizer.ggml.merges": None}, "tokenizer.ggml.merges must be a list of strings"),
    "tokens are numbers": ({"tokenizer.ggml.tokens": [1, 2]}, "tokenizer.ggml.tokens must be a list of strings"),
    "merge of unknown tokens": ({"tokenizer.ggml.merges": ["x y"]}, "merges do not fit"),
    "types too short": ({"tokenizer.ggml.token_type": [1]}, "one entry for each of 4 tokens"),
    "end token outside": ({"tokenizer.ggml.eos_token_id": 4}, "tokenizer.ggml.eos_token_id is 4"),
}


@pytest.mark.parametrize(("changes", "named"), REFUSED.values(), ids=REFUSED.keys())
def test_refusal_names_file_and_key(changes, named):
    with pytest.raises(MarcotError, match=r"^file: ") as caught:
        tokenizer_from_gguf(MINIMAL | changes, "file")
    assert named in str(caught.value)
    assert caught.value.exit_code == 4
