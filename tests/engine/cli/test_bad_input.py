"""Mistakes of users: each prints one clear line on stderr and nothing on stdout, and has its exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FILES: dict[str, str | bytes] = {
    "questions.xml": "How many?",
    "empty.txt": "\n  \n",
    "broken.jsonl": '{"question": "How many?"}\n{"question": \n',
    "list.jsonl": '["How many?"]\n',
    "number.jsonl": '{"question": 7}\n',
    "blank.jsonl": '{"question": "How many?"}\n\n{"question": " "}\n',
    "blank.tsv": "How many?\t8\n\t9\n",
    "latin.txt": "Wie schön?".encode("latin-1"),
    "one.txt": "How many?\n",
    "deep.jsonl": '{"question": "How many?", "more": ' + "[" * 100_000 + "\n",
    "nested.jsonl": '{"question": "One?"}\n{"question": "Two?", "more": ' + "[" * 300 + "]" * 300 + "}\n",
    "digits.jsonl": '{"question": "How many?", "answer": ' + "7" * 5000 + "}\n",
    "deep.toml": "kinds = " + "[" * 100_000,
    "foreign.jsonl": '{"name": "Natalia"}\n',
    "other.jsonl": json.dumps({"index": 0, "question": "How many?", "settings": {"model": "another"}}) + "\n",
}

SEARCH = {
    "no question and no input": ([], 2, "give either a question or --input FILE"),
    "question and input": (["How many?", "--input", "one.txt"], 2, "give either a question or --input FILE"),
    "empty question": ([""], 2, "the question is empty"),
    "bytes that are no text": (["sch\udcf6n?"], 2, "the question is not UTF-8 text"),
    "blank question": (["  \n"], 2, "the question is empty"),
    "empty stdin": (["-"], 2, "the question is empty"),
    "missing input file": (["--input", "missing.txt"], 2, "missing.txt: there is no such file"),
    "input is a folder": (["--input", "folder.txt"], 2, "folder.txt: cannot be read"),
    "input of another kind": (["--input", "questions.xml"], 2, "question files end in .txt, .jsonl, .csv, .parquet"),
    "input without questions": (["--input", "empty.txt"], 2, "has no questions"),
    "broken JSON": (["--input", "broken.jsonl"], 2, "broken.jsonl, line 2: is not JSON"),
    "JSON that is no object": (
        ["--input", "list.jsonl"],
        2,
        "line 1: must be a JSON object",
    ),
    "question that is no string": (["--input", "number.jsonl"], 2, 'line 1: must have a text under "question"'),
    "empty question in JSON": (["--input", "blank.jsonl"], 2, "line 3: the question is empty"),
    "empty question in a table": (["--input", "blank.tsv"], 2, "line 2: the question is empty"),
    "input in another encoding": (["--input", "latin.txt"], 2, "is not UTF-8 text (byte 7)"),
    "out in no folder": (["How many?", "--out", "nowhere/out.jsonl"], 2, "out.jsonl: cannot be written"),
    "out with something else": (["How many?", "--out", "foreign.jsonl"], 2, "line 1: is not a result of marcot search"),
    "out with other settings": (["How many?", "--out", "other.jsonl"], 2, "model was 'another', is "),
    "no rollouts": (["How many?", "--rollouts", 0], 2, "rollouts=0: must be an integer >= 1"),
    "more samples than memory": (
        ["How many?", "--strategy", "beam:samples=10000000000"],
        2,
        "samples=10000000000: must be at most 2147483647",
    ),
    "more branches than memory": (
        ["How many?", "--strategy", "dvts:samples=100000,subtrees=100000"],
        2,
        "subtrees times samples=10000000000: one call takes at most 262144 branches",
    ),
    "more chains at once than memory": (
        ["How many?", "--parallel", 10**9],
        2,
        "parallel=1000000000: one call takes at most 262144",
    ),
    "more questions at once than memory": (["How many?", "--concurrency", 10**10], 2, "concurrency=10000000000: must"),
    "no width": (["How many?", "--width", 0], 2, "width=0: must be an integer >= 1"),
    "unknown action": (["How many?", "--action", "leap"], 2, "action 'leap': must be step, mini-step-64"),
    "unknown answer rule": (["How many?", "--answer-rule", "loudest"], 2, "answer_rule 'loudest': must be one of"),
    "negative exploration": (["How many?", "--exploration", -1], 2, "exploration=-1.0"),
    "no seconds": (["How many?", "--max-seconds", 0], 2, "max_seconds=0.0"),
    "one node": (["How many?", "--max-nodes", 1], 2, "max_nodes=1: must be an integer >= 2"),
    "negative temperature": (["How many?", "--temperature", -1], 2, "temperature=-1.0: must be"),
    "temperature that is no number": (["How many?", "--temperature", "nan"], 2, "temperature=nan: must be"),
    "top-p of 0": (["How many?", "--top-p", 0], 2, "top_p=0.0: must be in (0, 1]"),
    "top-p of 2": (["How many?", "--top-p", 2], 2, "top_p=2.0: must be in (0, 1]"),
    "negative top-k": (["How many?", "--top-k", -1], 2, "top_k=-1: must be"),
    "empty stop": (["How many?", "--stop", ""], 2, "stop=('',): must be a tuple of non-empty strings"),
    "stop token that is no number": (["How many?", "--stop-token-ids", "1 x"], 2, "--stop-token-ids: 'x' is not"),
    "bias without a token": (
        ["How many?", "--logit-bias", ":3"],
        2,
        "--logit-bias: ':3' is not a token id with a bias",
    ),
    "bias that is no number": (["How many?", "--logit-bias", "5:x"], 2, "--logit-bias: '5:x' is not a token id with a"),
    "allowed token that is none": (["How many?", "--allowed-token-ids", "-1"], 2, "--allowed-token-ids: '-1' is not"),
    "frequency penalty of 3": (["How many?", "--frequency-penalty", 3], 2, "frequency_penalty=3.0: must be from -2"),
    "bias of a token beyond": (["How many?", "--logit-bias", "9999:1"], 2, "logit_bias: token id 9999: the model's"),
    "no concurrency": (["How many?", "--concurrency", 0], 2, "concurrency=0: must be at least 1"),
    "unknown device": (["How many?", "--device", "tpu"], 2, "device='tpu': must be auto, cpu or cuda"),
    "unknown dtype": (["How many?", "--dtype", "int3"], 2, "dtype='int3': must be auto"),
    "unknown compute mode": (["How many?", "--compute", "slow"], 2, "compute='slow': must be auto, exact, fast"),
    "unknown weights": (["How many?", "--weights", "int3"], 2, "weights='int3': must be stored, bf16, int8, int4"),
    "fast without int8": (["How many?", "--compute", "fast"], 2, "needs quantised weights"),
    "rows that are no blocks": (["How many?", "--weights", "int8"], 4, "model.embed_tokens.weight cannot be rounded"),
    "negative threads": (["How many?", "--threads", -2], 2, "threads=-2: must be at least 1"),
    "threads without end": (["How many?", "--threads", 10**6], 2, "threads=1000000: must be at most 1024; there are"),
    "KV cache without end": (
        ["How many?", "--kv-tokens", 10**15],
        2,
        "kv_tokens=1000000000000000: they need",
    ),
    "subnormal temperature": (["How many?", "--temperature", "1e-310"], 2, "temperature=1e-310: must be 0 (greedy) or"),
    "actions in too many brackets": (["How many?", "--action", "deep.toml"], 2, "deep.toml: is nested too deeply"),
    "question in too many brackets": (["--input", "deep.jsonl"], 2, "deep.jsonl, line 1: is nested too deeply"),
    "fields in many brackets": (["--input", "nested.jsonl"], 2, "nested.jsonl, line 2: is nested too deeply"),
    "a number of many digits": (
        ["--input", "digits.jsonl"],
        2,
        "digits.jsonl, line 1: has an integer of too many digits",
    ),
    "KV cache of nothing": (["How many?", "--kv-tokens", 3], 2, "kv_tokens=3: the KV pool must hold at least"),
    "KV cache smaller than the prompt": (["word " * 60, "--kv-tokens", 32], 3, "32"),
    "question longer than the context": (["word " * 3000], 2, "4096"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with all of `FILES`."""
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "folder.txt").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(ended: Any, code: int, message: str) -> None:
    assert message in ended.err
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert ended.out == ""
    assert ended.code == code


@pytest.mark.parametrize(("arguments", "code", "message"), SEARCH.values(), ids=SEARCH.keys())
@pytest.mark.usefixtures("folder")
def test_search(marcot: Callable, talker: Path, arguments: list[Any], code: int, message: str) -> None:
    check(marcot("search", "--model", talker, *arguments), code, message)


GENERATE = {
    "no prompt": ([], 2, "give a prompt, --token-ids, or a conversation with --messages"),
    "prompt and ids": (["one", "--token-ids", "1"], 2, "give only one of a prompt, --token-ids, or a conversation"),
    "empty prompt": ([""], 2, "the prompt is empty"),
    "more samples than memory": (["one", "-n", 10**9], 2, "samples=1000000000: one call takes at most 262144 branches"),
    "a sample without end": (["one", "--max-tokens", 10**10], 2, "max_tokens=10000000000: must be at most 2147483647"),
    "no samples": (["one", "-n", 0], 2, "samples=0: must be at least 1"),
    "no tokens": (["one", "--max-tokens", 0], 2, "max_tokens=0: must be"),
    "chat of ids": (["--chat", "--token-ids", "1"], 2, "--chat needs a text prompt"),
    "system without chat": (["one", "--system", "Be brief."], 2, "--system needs --chat"),
    "no logprobs": (["one", "--top-logprobs", 0], 2, "top_logprobs=0: must be"),
    "ids that are no numbers": (["--token-ids", "1 two"], 2, "--token-ids: 'two' is not a token id"),
    "an id of many digits": (["--token-ids", "7" * 5000], 2, "is not a token id; give integers"),
    "negative id": (["--token-ids", "-1"], 2, "--token-ids: '-1' is not a token id"),
    "no ids": (["--token-ids", " "], 2, "the prompt is empty"),
    "id outside the vocabulary": (
        ["--token-ids", "5 331"],
        2,
        "token id 331: must be in the model's vocabulary, 0 to 330",
    ),
}


@pytest.mark.parametrize(("arguments", "code", "message"), GENERATE.values(), ids=GENERATE.keys())
def test_generate(marcot: Callable, talker: Path, arguments: list[Any], code: int, message: str) -> None:
    check(marcot("generate", "--model", talker, *arguments), code, message)


SCORE = {
    "nothing": ([], 2, "give either a text or --token-ids"),
    "two texts": (["one", "--text", "two"], 2, "give either a text or --token-ids"),
    "text and ids": (["--text", "one", "--token-ids", "1"], 2, "give either a text or --token-ids"),
    "empty text": (["--text", ""], 2, "the prompt is empty"),
    "text without tokenizer": (["--text", "one"], 2, "this checkpoint has no tokenizer"),
    "top-k beyond the vocabulary": (
        ["--token-ids", "1 2", "--top-logprobs", 10**6],
        2,
        "top_logprobs=1000000: must be from 1 to 331",
    ),
    "top-k of 0": (["--token-ids", "1 2", "--top-logprobs", 0], 2, "top_logprobs=0: must be from 1 to 331"),
    "ids that are no numbers": (["--token-ids", "1.5"], 2, "--token-ids: '1.5' is not a token id"),
    "id outside the vocabulary": (["--token-ids", "9999"], 2, "token id 9999"),
}


@pytest.mark.parametrize(("arguments", "code", "message"), SCORE.values(), ids=SCORE.keys())
def test_score(marcot: Callable, mute: Path, arguments: list[Any], code: int, message: str) -> None:
    check(marcot("score", "--model", mute, *arguments), code, message)


def test_a_question_in_words_needs_a_tokenizer(marcot: Callable, mute: Path) -> None:
    check(marcot("search", "--model", mute, "How many?"), 2, "this checkpoint has no tokenizer")


def test_unknown_model(marcot: Callable) -> None:
    check(marcot("search", "--model", "qwen9", "How many?"), 4, "no model called 'qwen9'")


def test_folder_without_config(marcot: Callable, tmp_path: Path) -> None:
    check(marcot("score", "--model", tmp_path, "--token-ids", "1"), 4, "config.json")


def test_unknown_built_in_model(marcot: Callable) -> None:
    check(marcot("models", "--fetch", "gpt"), 2, "no built-in model is called 'gpt'; use smollm2-135m")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "How many?"], "--model"),
        (["search", "--model", "x", "--rollouts", "many", "How many?"], "--rollouts"),
        (["search", "--model", "x", "--depth", "3", "How many?"], "--depth"),
        (["serve"], "serve"),
        (["search", "How many?", "--model"], "'--model' requires an argument. Try 'marcot search --help'"),
    ],
    ids=["no model", "a number that is none", "unknown option", "unknown command", "an option without its value"],
)
def test_usage(marcot: Callable, arguments: list[str], message: str) -> None:
    ended = marcot(*arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert message in ended.err


def test_a_developer_can_see_the_traceback(marcot: Callable, talker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from marcot.engine import InputError

    monkeypatch.setenv("MARCOT_DEBUG", "1")
    with pytest.raises(InputError):
        marcot("search", "--model", talker, "")
