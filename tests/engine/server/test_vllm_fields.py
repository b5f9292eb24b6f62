"""Fields that vLLM has in addition to OpenAI's."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
import pytest
from marcot.engine import Engine, Sampling
from marcot.engine.scheduler.limits import SchedulerLimits
from support.server.live_server import LiveServer

PROMPT = "Natalia sold 48 clips in April"


def complete(client: httpx2.Client, **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/completions", json={"prompt": PROMPT, "max_tokens": 12, "temperature": 0} | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def tokens(client: httpx2.Client, **fields: Any) -> list[int]:
    return complete(client, return_token_ids=True, **fields)["choices"][0]["token_ids"]


def drawn(offline: Engine, **options: Any) -> list[int]:
    with offline.prefill(PROMPT) as node:
        [child] = offline.expand(node, 1, Sampling(**{"max_tokens": 12, "temperature": 0} | options))
        return child.token_ids.tolist()


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"temperature": 1.2, "top_k": 3, "seed": 4}, {"temperature": 1.2, "top_k": 3, "top_p": 1, "seed": 4}),
        ({"temperature": 1, "top_k": -1, "seed": 4}, {"temperature": 1, "top_k": 0, "top_p": 1, "seed": 4}),
        (
            {"temperature": 1, "min_p": 0.2, "seed": 4},
            {"temperature": 1, "min_p": 0.2, "top_k": 0, "top_p": 1, "seed": 4},
        ),
        ({"repetition_penalty": 1.7}, {"repetition_penalty": 1.7}),
        ({"ignore_eos": True, "max_tokens": 30}, {"ignore_eos": True, "max_tokens": 30}),
    ],
    ids=lambda value: next(iter(value)) + str(value[next(iter(value))]),
)
def test_tokens_are_drawn_as_by_the_engine(
    client: httpx2.Client, offline: Engine, fields: dict[str, Any], options: dict[str, Any]
) -> None:
    assert tokens(client, **fields) == drawn(offline, **options)


def test_stop_tokens(client: httpx2.Client, offline: Engine) -> None:
    expected = drawn(offline)
    stop = expected[5]
    choice = complete(client, stop_token_ids=[stop], return_token_ids=True)["choices"][0]
    assert choice["token_ids"] == expected[: expected.index(stop) + 1]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", stop)


def test_a_stop_text_may_be_kept(client: httpx2.Client) -> None:
    whole = complete(client, max_tokens=40)["choices"][0]["text"]
    stop = whole[4:6]
    kept = complete(client, max_tokens=40, stop=stop, include_stop_str_in_output=True)["choices"][0]["text"]
    assert whole.startswith(kept)
    assert stop in kept


def test_only_allowed_tokens_are_drawn(client: httpx2.Client) -> None:
    assert set(tokens(client, allowed_token_ids=[40, 41])) <= {40, 41}


def test_bad_words_are_not_drawn(client: httpx2.Client) -> None:
    text = complete(client, max_tokens=1, logprobs=1)["choices"][0]["logprobs"]["tokens"][0]
    if "\N{REPLACEMENT CHARACTER}" in text:
        text = " sold"
    assert text not in complete(client, bad_words=[text])["choices"][0]["text"]


def test_a_sample_has_tokens_enough(client: httpx2.Client, offline: Engine) -> None:
    first = drawn(offline)[0]
    assert len(tokens(client, stop_token_ids=[first])) == 1
    assert len(tokens(client, stop_token_ids=[first], min_tokens=4)) > 4


def test_special_tokens_may_be_shown(client: httpx2.Client) -> None:
    fields: dict[str, Any] = {"logit_bias": {"1": 100}, "max_tokens": 3}
    assert complete(client, **fields)["choices"][0]["text"] == ""
    assert complete(client, skip_special_tokens=False, **fields)["choices"][0]["text"] == "<|im_start|>" * 3


def test_special_tokens_are_shown_in_streams(client: httpx2.Client) -> None:
    fields = {"prompt": PROMPT, "logit_bias": {"1": 100}, "max_tokens": 5, "skip_special_tokens": False, "stream": True}
    text = "".join(piece["choices"][0]["text"] for piece in events(client, "/v1/completions", fields))
    assert text == "<|im_start|>" * 5


def test_prompt_logprobs(client: httpx2.Client, offline: Engine) -> None:
    choice = complete(client, prompt_logprobs=2, return_token_ids=True)["choices"][0]
    [score] = offline.score([PROMPT], 2)
    told = choice["prompt_logprobs"]
    assert choice["prompt_token_ids"] == score.token_ids.tolist()
    assert told[0] is None
    for at in range(1, len(told)):
        own = told[at][str(score.token_ids[at])]
        assert np.float32(own["logprob"]) == score.logprobs[at]
        assert own["decoded_token"] in PROMPT
        best = {key: entry["logprob"] for key, entry in told[at].items() if entry["rank"] in (1, 2)}
        assert best == dict(zip(map(str, score.top_ids[at].tolist()), score.top_logprobs[at].tolist(), strict=True))


def test_a_rated_prompt_is_computed_once(client: httpx2.Client, server: LiveServer) -> None:
    counted = server.engine.engine.usage
    before = counted.prefill_tokens
    usage = complete(client, prompt="A prompt that no other test sends: 31, 47", prompt_logprobs=1)["usage"]
    assert counted.prefill_tokens - before == usage["prompt_tokens"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0}


def test_prompt_logprobs_of_chats(client: httpx2.Client, offline: Engine) -> None:
    fields = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "prompt_logprobs": 0}
    answer = client.post("/v1/chat/completions", json=fields | {"return_token_ids": True}).json()
    assert answer["prompt_token_ids"] == offline.chat_ids("Hi")
    assert [len(entries) for entries in answer["prompt_logprobs"][1:]] == [1] * (len(offline.chat_ids("Hi")) - 1)


def test_tokens_may_be_written_as_numbers(client: httpx2.Client) -> None:
    choice = complete(client, logprobs=1, return_tokens_as_token_ids=True, return_token_ids=True)["choices"][0]
    assert choice["logprobs"]["tokens"] == [f"token_id:{token}" for token in choice["token_ids"]]


def test_a_prompt_may_be_cut(client: httpx2.Client, offline: Engine) -> None:
    answer = complete(client, truncate_prompt_tokens=4, return_token_ids=True)
    assert answer["choices"][0]["prompt_token_ids"] == offline.prefill(PROMPT).token_ids.tolist()[-4:]
    assert answer["usage"]["prompt_tokens"] == 4
    long = complete(client, prompt="word " * 3000, truncate_prompt_tokens=-1)
    assert long["usage"] == long["usage"] | {"prompt_tokens": 1024 - 12, "completion_tokens": 12}


def test_a_request_may_choose_its_id(client: httpx2.Client) -> None:
    assert complete(client, request_id="mine.7")["id"] == "cmpl-mine.7"


def test_usage_of_every_piece(client: httpx2.Client) -> None:
    fields = {"prompt": PROMPT, "stream": True, "stream_options": {"continuous_usage_stats": True}}
    counts = [piece["usage"]["completion_tokens"] for piece in events(client, "/v1/completions", fields)]
    assert counts == sorted(counts)
    assert counts[-1] == 16


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_goes_on_where_the_last_message_ends(client: httpx2.Client, offline: Engine, stream: bool) -> None:
    messages = [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": "So she sold "}]
    fields = {"messages": messages, "continue_final_message": True, "add_generation_prompt": False, "temperature": 0}
    path = "/v1/chat/completions"
    if stream:
        pieces = events(client, path, fields | {"max_tokens": 12, "stream": True})
        text = "".join(piece["choices"][0]["delta"]["content"] or "" for piece in pieces)
    else:
        text = client.post(path, json=fields | {"max_tokens": 12}).json()["choices"][0]["message"]["content"]
    prompt = offline.tokenizer.decode(offline.chat_ids("How many?"), keep_special=True) + "So she sold "  # type: ignore[union-attr]
    with offline.prefill(prompt) as node:
        [expected] = offline.expand(node, 1, Sampling(temperature=0, max_tokens=12))
    assert text == expected.text


def test_without_the_opening_of_an_answer(client: httpx2.Client) -> None:
    fields = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    with_it, without = (
        client.post("/v1/chat/completions", json=fields | {"add_generation_prompt": opening}).json()["usage"]
        for opening in (True, False)
    )
    assert with_it["prompt_tokens"] > without["prompt_tokens"]


def test_lower_priorities_go_first(start: Callable[..., LiveServer]) -> None:
    server = start()
    server.engine.engine.routines.scheduler._limits = SchedulerLimits(requests=1)
    body = {"prompt": PROMPT, "max_tokens": 200, "ignore_eos": True, "n": 200, "stream": True}
    with httpx2.Client(base_url=server.url, timeout=60) as client, ThreadPoolExecutor(1) as threads:
        with client.stream("POST", "/v1/completions", json=body) as middle:
            lines = middle.iter_lines()  # the stream is closed with its iterator
            next(lines)
            last = threads.submit(tokens, client, priority=5)
            assert server.wait_for(lambda: server.engine.stats().requests == 2)
            first = tokens(client, priority=-5)
            assert not last.done()
        assert last.result() == first


def test_an_error_in_a_stream_is_an_event(
    client: httpx2.Client, monkeypatch: pytest.MonkeyPatch, server: LiveServer
) -> None:
    scheduler = server.engine.engine.routines.scheduler

    def broken() -> None:
        monkeypatch.undo()
        raise RuntimeError("no memory")

    monkeypatch.setattr(scheduler, "step", broken)
    [told] = events(client, "/v1/completions", {"prompt": "Something new", "stream": True})
    assert told["error"]["code"] == 500


def events(client: httpx2.Client, path: str, fields: dict[str, Any]) -> list[dict[str, Any]]:
    with client.stream("POST", path, json=fields) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream"), answer.read()
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


FOUR = {"max_tokens": 4, "temperature": 0}
SALTED: dict[str, dict[str, Any]] = {
    "/v1/completions": {**FOUR, "prompt": "A prompt to be shared among some"},
    "/v1/chat/completions": {**FOUR, "messages": [{"role": "user", "content": "How many clips?"}]},
    "/inference/v1/generate": {"token_ids": list(range(20, 60)), "sampling_params": FOUR},
}


@pytest.mark.parametrize("path", SALTED)
def test_prompts_are_shared_only_among_equal_salts(client: httpx2.Client, path: str) -> None:
    cached = []
    texts = set()
    for salt in (None, f"mine {path}", f"mine {path}", f"yours {path}", None):
        answer = client.post(path, json=SALTED[path] | ({} if salt is None else {"cache_salt": salt})).json()
        cached.append(answer["usage"]["prompt_tokens_details"]["cached_tokens"])
        choice = answer["choices"][0]
        texts.add(str(choice.get("text") or choice.get("message") or choice["token_ids"]))
    total = answer["usage"]["prompt_tokens"]
    assert cached[1:] == [0, total, 0, total]
    assert len(texts) == 1


def test_a_rated_prompt_keeps_its_salt(client: httpx2.Client) -> None:
    fields = {"prompt": "Another prompt that some share", "max_tokens": 1}
    plain = complete(client, **fields, prompt_logprobs=1)["choices"][0]["prompt_logprobs"]
    salted = complete(client, **fields, prompt_logprobs=1, cache_salt="rated")["choices"][0]["prompt_logprobs"]
    assert salted == plain
    cached = [
        complete(client, **fields, cache_salt=salt)["usage"]["prompt_tokens_details"]["cached_tokens"]
        for salt in ("other", "rated")
    ]
    assert cached == [0, len(plain)]


def test_a_branch_has_the_salt_of_its_prompt(client: httpx2.Client, server: LiveServer) -> None:
    def made(path: str, **fields: Any) -> list[str]:
        answer = client.post(f"/v1/branches{path}", json=fields)
        assert answer.status_code == 200, answer.text
        return [each["id"] for each in answer.json()["data"]]

    prompt = "A branch that only some may read"
    [branch] = made("", prompts=[prompt], cache_salt="of a branch")
    [fork] = made("/fork", forks=[{"branch": branch, "length": 5}])
    [added] = made("/append", appendings=[{"branch": fork, "tokens": " and more of it"}])
    client.post("/v1/branches/extend", json={"extensions": [{"branch": added, "sampling": {"max_tokens": 2}}]})
    ids = client.get(f"/v1/branches/{added}").json()["token_ids"]
    for salt, expected in (("another", 0), ("of a branch", len(ids))):
        answer = complete(client, prompt=ids, max_tokens=1, cache_salt=salt)
        assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == expected
    client.post("/v1/branches/release", json={"branches": [branch, fork, added]})
