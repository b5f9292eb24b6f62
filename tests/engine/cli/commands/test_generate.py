"""`marcot generate`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from marcot import Engine
from marcot.engine.text.printable import printable


def test_json_is_one_object_per_sample(marcot: Callable, talker: Path) -> None:
    ended = marcot("generate", "--model", talker, "-n", 3, "--max-tokens", 4, "--ignore-eos", "--json", "How many")
    assert ended.code == 0
    assert [entry["index"] for entry in ended.objects] == [0, 1, 2]
    for entry in ended.objects:
        assert entry["finish_reason"] == "length"
        assert len(entry["token_ids"]) == len(entry["logprobs"]) == len(entry["confidences"]) == 4
        for id, logprob, top_ids, top_logprobs, confidence in zip(
            *(entry[name] for name in ("token_ids", "logprobs", "top_ids", "top_logprobs", "confidences")), strict=True
        ):
            assert len(top_ids) == len(top_logprobs) == 5
            assert top_logprobs == sorted(top_logprobs, reverse=True)
            assert id not in top_ids or logprob == top_logprobs[top_ids.index(id)]
            assert confidence == pytest.approx(math.exp(logprob) / sum(map(math.exp, top_logprobs)), rel=1e-5)
        assert entry["confidence"] == pytest.approx(sum(entry["confidences"]) / 4, rel=1e-5)


def test_samples_differ_and_seeds_repeat(marcot: Callable, talker: Path) -> None:
    def texts(seed: int) -> list[str]:
        arguments = ("-n", 3, "--max-tokens", 6, "--seed", seed, "--temperature", 1.5, "--top-k", 0, "--top-p", 1)
        return [entry["text"] for entry in marcot("generate", "-m", talker, *arguments, "--json", "How").objects]

    assert len(set(texts(1))) == 3
    assert texts(1) == texts(1)
    assert texts(1) != texts(2)


def test_token_ids_need_no_tokenizer(marcot: Callable, mute: Path) -> None:
    ended = marcot("generate", "--model", mute, "--token-ids", "5, 6 7", "--max-tokens", 2, "--temperature", 0)
    assert ended.code == 0
    assert all(word.isdigit() for word in ended.out.split())


def test_chat_wraps_the_prompt(marcot: Callable, talker: Path) -> None:
    options = ("--max-tokens", 3, "--temperature", 0, "--json")
    rendered = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHow?<|im_end|>\n<|im_start|>assistant\n"
    chat = marcot("generate", "-m", talker, "--chat", "--system", "Be brief.", *options, "How?")
    plain = marcot("generate", "-m", talker, *options, rendered)
    assert chat.objects == plain.objects


CONVERSATION = [
    {"role": "user", "content": "How many clips?"},
    {"role": "assistant", "content": "48"},
    {"role": "user", "content": "And in May?"},
]


@pytest.mark.parametrize("by", ["file", "stdin"])
def test_a_conversation_of_several_turns(by: str, marcot: Callable, talker: Path, tmp_path: Path) -> None:
    options = ("--max-tokens", 3, "--temperature", 0, "--json")
    file = tmp_path / "conversation.json"
    file.write_text(json.dumps(CONVERSATION))
    source = {"file": (file, ""), "stdin": ("-", json.dumps(CONVERSATION))}[by]
    chat = marcot("generate", "-m", talker, "--messages", source[0], "--system", "Be brief.", *options, stdin=source[1])
    turns = [("system", "Be brief."), *((message["role"], message["content"]) for message in CONVERSATION)]
    rendered = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in turns)
    plain = marcot("generate", "-m", talker, *options, f"{rendered}<|im_start|>assistant\n")
    assert chat.objects == plain.objects
    assert chat.code == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ('{"role": "user"}', "must be a list of messages"),
        ("[]", "the conversation is empty"),
        ('["hi"]', "message 1 of the conversation must be an object with a role and a content"),
        ('[{"role": "user", "content": "hi"}, {"role": "user"}]', "message 2 of the conversation must be"),
        ('[{"role": "system", "content": "hi"}]', "already has a system message"),
    ],
)
def test_no_conversation(content: str, message: str, marcot: Callable, talker: Path, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(content)
    ended = marcot("generate", "-m", talker, "--messages", tmp_path / "c.json", "--system", "Be brief.")
    assert ended.code == 2
    assert message in ended.err


def test_text_is_for_people(marcot: Callable, talker: Path) -> None:
    one = marcot("generate", "--model", talker, "--max-tokens", 3, "-", stdin="How many\n")
    assert one.code == 0
    assert "sample" not in one.out
    two = marcot("generate", "--model", talker, "--max-tokens", 3, "-n", 2, "How many")
    assert "--- sample 2 of 2, confidence " in two.out


def test_stop_token_ids_end_a_sample(marcot: Callable, mute: Path) -> None:
    options = ("--token-ids", "5 6 7", "--temperature", 0, "--ignore-eos", "--json")
    [free] = marcot("generate", "-m", mute, "--max-tokens", 6, *options).objects
    stop = free["token_ids"][2]
    [stopped] = marcot("generate", "-m", mute, "--max-tokens", 6, "--stop-token-ids", stop, *options).objects
    assert stopped["finish_reason"] == "stop"
    assert stopped["token_ids"] == free["token_ids"][: free["token_ids"].index(stop) + 1]


def test_a_stream_is_the_same_text(marcot: Callable, talker: Path) -> None:
    options = ("--max-tokens", 30, "--temperature", 1.5, "--stop", "mn")
    whole, live = (marcot("generate", "-m", talker, *options, how, "How?") for how in ("--no-stream", "--stream"))
    assert whole.code == live.code == 0
    assert whole.out == live.out
    assert len(live.out) > 20


def test_a_stream_without_a_tokenizer_ends_in_ids(marcot: Callable, mute: Path) -> None:
    options = ("--token-ids", "5", "--max-tokens", 3, "--ignore-eos")
    assert len(marcot("generate", "-m", mute, "--stream", *options).out.split()) == 3


def test_printed_text_stays_after_ctrl_c(marcot: Callable, talker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream_text = Engine.stream_text

    def interrupted(*arguments: Any, **options: Any) -> Iterator[Any]:
        events = stream_text(*arguments, **options)
        told.extend([next(events), next(events)])
        yield from told
        raise KeyboardInterrupt

    told: list[Any] = []
    monkeypatch.setattr(Engine, "stream_text", interrupted)
    ended = marcot("generate", "-m", talker, "--stream", "--ignore-eos", "--temperature", 1.5, "How?")
    assert (ended.code, ended.err) == (130, "interrupted\n")
    assert ended.out == printable("".join(told)) + "\n"


@pytest.mark.parametrize(("option", "named"), [(["-n", 2], "-n"), (["--json"], "--json")])
def test_a_stream_is_of_one_sample_as_text(marcot: Callable, talker: Path, option: list[object], named: str) -> None:
    ended = marcot("generate", "-m", talker, "--stream", *option, "How?")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"error: --stream prints a single sample as text; omit {named}\n"
