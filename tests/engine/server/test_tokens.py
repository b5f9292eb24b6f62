"""`/tokenize`, `/detokenize`, `/tokenizer_info`, `/inference/v1/generate` and `/generative_scoring`."""

from __future__ import annotations

import json
import math
from typing import Any

import httpx2
import pytest
from marcot.engine import Engine, Sampling


def test_a_text_becomes_tokens_and_a_text_again(client: httpx2.Client, offline: Engine) -> None:
    text = "小明 sold 48 clips<|im_end|>"
    answer = client.post("/tokenize", json={"prompt": text, "return_token_strs": True}).json()
    assert answer["tokens"] == offline.prefill(text).token_ids.tolist()
    assert answer["count"] == len(answer["tokens"]) == len(answer["token_strs"])
    assert client.post("/detokenize", json={"tokens": answer["tokens"]}).json() == {"prompt": text}


def test_a_conversation_becomes_tokens(client: httpx2.Client, offline: Engine) -> None:
    answer = client.post("/tokenize", json={"messages": [{"role": "user", "content": "Hi"}]}).json()
    assert answer["tokens"] == offline.chat_ids("Hi")


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/tokenize", {}),
        ("/tokenize", {"prompt": "x", "model": "other"}),
        ("/detokenize", {"tokens": [331]}),
        ("/detokenize", {"tokens": [-1]}),
        ("/detokenize", {"tokens": "all"}),
    ],
)
def test_invalid_token_requests_are_refused(client: httpx2.Client, path: str, fields: dict[str, Any]) -> None:
    assert client.post(path, json=fields).status_code in (400, 404)


def test_the_tokenizer_is_described(client: httpx2.Client) -> None:
    told = client.get("/tokenizer_info").json()
    assert told["special_tokens"] == {"<|endoftext|>": 0, "<|im_start|>": 1, "<|im_end|>": 2}
    assert (told["eos_token_ids"], told["has_chat_template"]) == ([2], True)


def test_tokens_in_and_tokens_out(client: httpx2.Client, offline: Engine) -> None:
    with offline.prefill([5, 6, 7]) as node:
        [expected] = offline.expand(node, 1, Sampling(temperature=0, max_tokens=6))
    sampling = {"temperature": 0, "max_tokens": 6, "logprobs": 2, "prompt_logprobs": 1}
    answer = client.post(
        "/inference/v1/generate", json={"token_ids": [5, 6, 7], "sampling_params": sampling, "request_id": "r-1"}
    ).json()
    [choice] = answer["choices"]
    assert answer["request_id"] == "r-1"
    assert choice["token_ids"] == expected.token_ids.tolist()
    assert [token["logprob"] for token in choice["logprobs"]["content"]] == expected.logprobs.tolist()
    assert len(answer["prompt_logprobs"]) == 3


def test_tokens_come_one_by_one(client: httpx2.Client) -> None:
    fields = {"token_ids": [5, 6, 7], "sampling_params": {"seed": 1, "n": 2, "prompt_logprobs": 1}}
    whole = client.post("/inference/v1/generate", json=fields).json()
    body = client.post("/inference/v1/generate", json=fields | {"stream": True}).text
    *lines, end = [line.removeprefix("data: ") for line in body.splitlines() if line]
    first, *others = map(json.loads, lines)
    drawn: list[list[int]] = [[], []]
    for piece in (first, *others):
        [choice] = piece["choices"]
        drawn[choice["index"]] += choice["token_ids"]
    assert drawn == [choice["token_ids"] for choice in whole["choices"]]
    assert first["prompt_logprobs"] == whole["prompt_logprobs"]
    assert not any(piece["prompt_logprobs"] for piece in others)
    assert end == "[DONE]"


def test_labels_are_scored_as_by_the_engine(client: httpx2.Client, offline: Engine) -> None:
    fields = {"query": "Is it ", "items": ["red", "blue"], "label_token_ids": [5, 9, 40]}
    answer = client.post("/generative_scoring", json=fields | {"apply_softmax": False}).json()
    for item, text in zip(answer["data"], ["Is it red", "Is it blue"], strict=True):
        for label in (5, 9, 40):
            [score] = offline.score([[*offline.prefill(text).token_ids.tolist(), label]])
            assert math.isclose(item["token_logprobs"][str(label)], score.logprobs[-1], rel_tol=1e-6)
        assert math.isclose(item["score"], math.exp(item["token_logprobs"]["5"]))
    assert answer["usage"]["prompt_tokens_details"] is None


def test_scores_among_labels_add_up(client: httpx2.Client) -> None:
    fields = {"query": [7, 8], "items": [[5], [6]], "label_token_ids": [5, 9], "item_first": True}
    for item in client.post("/generative_scoring", json=fields).json()["data"]:
        assert math.isclose(sum(item["token_probs"].values()), 1)
        assert item["score"] == item["token_probs"]["5"]
