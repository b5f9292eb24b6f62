"""OpenAI's own client against the server."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest
from marcot.engine import Engine, Sampling
from support.server.live_server import LiveServer

PROMPT = "Natalia sold 48 clips in April"
MESSAGES: Any = [{"role": "user", "content": "How many clips?"}]


@pytest.fixture(scope="module")
def openai_client(shared: LiveServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{shared.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def complete(openai_client: openai.OpenAI) -> Any:
    def create(prompt: Any = PROMPT, **options: Any) -> Any:
        return openai_client.completions.create(**{"model": "tiny", "prompt": prompt, "max_tokens": 9} | options)

    return create


@pytest.fixture
def chat(openai_client: openai.OpenAI) -> Any:
    def create(messages: Any = MESSAGES, **options: Any) -> Any:
        options = {"model": "tiny", "messages": messages, "max_tokens": 9} | options
        return openai_client.chat.completions.create(**options)

    return create


def greedy(offline: Engine, prompt: str | list[int], tokens: int = 9, **options: Any) -> Any:
    """The text that the engine draws without a server."""
    with offline.prefill(prompt) as node:
        [child] = offline.expand(node, 1, Sampling(temperature=0, max_tokens=tokens, top_logprobs=7, **options))
        return child


# --- models --------------------------------------------------------------------------------------------------------


def test_models_are_listed(openai_client: openai.OpenAI) -> None:
    [model] = openai_client.models.list().data
    assert (model.id, model.object) == ("tiny", "model")
    assert model.model_extra is not None
    assert model.model_extra["max_model_len"] == 1024


def test_a_model_is_retrieved(openai_client: openai.OpenAI) -> None:
    assert openai_client.models.retrieve("tiny").id == "tiny"


def test_another_model_is_not_found(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        openai_client.models.retrieve("gpt")


# --- completions ---------------------------------------------------------------------------------------------------


def test_a_greedy_completion_is_the_engines(complete: Any, offline: Engine) -> None:
    answer = complete(temperature=0)
    expected = greedy(offline, PROMPT)
    assert answer.choices[0].text == expected.text
    assert answer.choices[0].finish_reason == "length"
    assert answer.object == "text_completion"


def test_usage_counts_tokens(complete: Any, offline: Engine) -> None:
    usage = complete(temperature=0).usage
    prompt = len(offline.prefill(PROMPT).token_ids)
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (prompt, 9, prompt + 9)


def test_usage_knows_what_was_cached(complete: Any) -> None:
    prompt = "A library has 3 shelves with 24 books each."
    first, again = (complete(prompt, temperature=0).usage for _ in range(2))
    assert first.prompt_tokens_details.cached_tokens < first.prompt_tokens
    assert again.prompt_tokens_details.cached_tokens == again.prompt_tokens


def test_token_ids_are_a_prompt(complete: Any, offline: Engine) -> None:
    ids = offline.prefill(PROMPT).token_ids.tolist()
    assert complete(ids, temperature=0).choices[0].text == greedy(offline, ids).text


def test_several_prompts_are_answered_in_order(complete: Any, offline: Engine) -> None:
    prompts = [PROMPT, "So she sold", "Wait!"]
    answer = complete(prompts, temperature=0)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert [choice.text for choice in answer.choices] == [greedy(offline, prompt).text for prompt in prompts]


def test_several_prompts_of_token_ids(complete: Any, offline: Engine) -> None:
    prompts = [[5, 6, 7], [250, 251]]
    texts = [choice.text for choice in complete(prompts, temperature=0).choices]
    assert texts == [greedy(offline, prompt).text for prompt in prompts]


def test_n_samples_of_each_prompt(complete: Any) -> None:
    answer = complete([PROMPT, "So"], n=3, seed=5)
    assert [choice.index for choice in answer.choices] == list(range(6))
    assert len({choice.text for choice in answer.choices[:3]}) > 1
    assert answer.usage.completion_tokens == 6 * 9


def test_a_seed_repeats_samples(complete: Any) -> None:
    first, again = ([choice.text for choice in complete(n=2, seed=11).choices] for _ in range(2))
    assert first == again


def test_without_a_seed_samples_are_others(complete: Any) -> None:
    assert len({complete(max_tokens=12, temperature=1.5).choices[0].text for _ in range(4)}) > 1


def test_equal_prompts_of_one_request_are_different_samples(complete: Any) -> None:
    texts = [choice.text for choice in complete([PROMPT] * 4, seed=3, temperature=1.5).choices]
    assert len(set(texts)) > 1
    assert texts == [choice.text for choice in complete(PROMPT, n=4, seed=3, temperature=1.5).choices]


def test_echo_repeats_the_prompt(complete: Any, offline: Engine) -> None:
    assert complete(echo=True, temperature=0).choices[0].text == PROMPT + greedy(offline, PROMPT).text


def test_logprobs_are_the_engines(complete: Any, offline: Engine) -> None:
    logprobs = complete(temperature=0, logprobs=3).choices[0].logprobs
    expected = greedy(offline, PROMPT)
    assert np.array_equal(np.array(logprobs.token_logprobs, np.float32), expected.logprobs)
    assert len(logprobs.tokens) == len(logprobs.text_offset) == 9
    assert all(
        max(top.values()) == given for top, given in zip(logprobs.top_logprobs, logprobs.token_logprobs, strict=True)
    )


def test_logprobs_of_a_sample_name_the_token_itself(complete: Any) -> None:
    logprobs = (
        complete(logprobs=1, seed=1, temperature=2, extra_body={"return_tokens_as_token_ids": True}).choices[0].logprobs
    )
    for token, logprob, top in zip(logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs, strict=True):
        assert top[token] == logprob
        assert len(top) in (1, 2)


def test_a_prompt_is_only_rated(complete: Any, offline: Engine) -> None:
    choice = complete(max_tokens=0, echo=True, logprobs=2).choices[0]
    [score] = offline.score([PROMPT], 2)
    assert choice.text == PROMPT
    assert choice.logprobs.token_logprobs[0] is None
    assert np.array_equal(np.array(choice.logprobs.token_logprobs[1:], np.float32), score.logprobs[1:])
    assert "".join(choice.logprobs.tokens) == PROMPT


def test_an_echoed_prompt_is_rated_with_what_follows(complete: Any, offline: Engine) -> None:
    logprobs = complete(temperature=0, echo=True, logprobs=1).choices[0].logprobs
    [score] = offline.score([PROMPT], 1)
    expected = [*score.logprobs[1:].tolist(), *greedy(offline, PROMPT).logprobs.tolist()]
    assert logprobs.token_logprobs == [None, *expected]
    assert logprobs.text_offset == sorted(logprobs.text_offset)


def test_a_stop_text_ends_a_sample(complete: Any, offline: Engine) -> None:
    whole = greedy(offline, PROMPT, 40).text
    stop = whole[5:7]
    choice = complete(temperature=0, max_tokens=40, stop=stop).choices[0]
    assert choice.text == whole[: whole.index(stop)]
    assert choice.finish_reason == "stop"
    assert choice.model_extra["stop_reason"] == stop


def test_more_than_four_stops_arrive(complete: Any, offline: Engine) -> None:
    whole = greedy(offline, PROMPT, 40).text
    stops = ["zzz", "yyy", "xxx", "www", "vvv", whole[4:6]]
    assert complete(temperature=0, max_tokens=40, stop=stops).choices[0].text == whole[: whole.index(whole[4:6])]


def test_logit_bias_bans_and_forces(complete: Any) -> None:
    answer = complete(logit_bias={"65": 100}, max_tokens=3, temperature=0, extra_body={"return_token_ids": True})
    assert answer.choices[0].model_extra["token_ids"] == [65] * 3


def test_penalties_are_taken(complete: Any) -> None:
    plain = complete(temperature=0, max_tokens=60, extra_body={"return_token_ids": True}).choices[0]
    options = {"frequency_penalty": 2, "presence_penalty": 2, "extra_body": {"return_token_ids": True}}
    punished = complete(temperature=0, max_tokens=60, **options).choices[0]
    assert len(set(punished.model_extra["token_ids"])) > len(set(plain.model_extra["token_ids"]))


# --- streams of completions ----------------------------------------------------------------------------------------


def test_a_stream_adds_up(complete: Any, offline: Engine) -> None:
    pieces = list(complete(temperature=0, max_tokens=50, stream=True))
    assert "".join(piece.choices[0].text for piece in pieces) == greedy(offline, PROMPT, 50).text
    assert [piece.choices[0].finish_reason for piece in pieces][-1] == "length"
    assert len({piece.id for piece in pieces}) == 1


def test_a_stream_of_several_samples(complete: Any) -> None:
    texts = dict.fromkeys(range(4), "")
    for piece in complete([PROMPT, "So"], n=2, seed=2, max_tokens=30, stream=True):
        texts[piece.choices[0].index] += piece.choices[0].text
    whole = complete([PROMPT, "So"], n=2, seed=2, max_tokens=30)
    assert texts == {choice.index: choice.text for choice in whole.choices}


def test_a_stream_ends_with_usage(complete: Any) -> None:
    *pieces, last = complete(stream=True, stream_options={"include_usage": True})
    assert all(piece.usage is None for piece in pieces)
    assert last.choices == []
    assert last.usage.completion_tokens == 9


def test_a_stream_has_logprobs(complete: Any) -> None:
    pieces = list(complete(temperature=0, max_tokens=20, logprobs=2, stream=True))
    told = [logprob for piece in pieces for logprob in piece.choices[0].logprobs.token_logprobs]
    assert told == complete(temperature=0, max_tokens=20, logprobs=2).choices[0].logprobs.token_logprobs


def test_a_stream_echoes(complete: Any) -> None:
    pieces = list(complete(temperature=0, echo=True, stream=True))
    assert pieces[0].choices[0].text == PROMPT


def test_a_stream_can_be_left(complete: Any, server: LiveServer) -> None:
    stream = complete(max_tokens=900, temperature=0, stream=True, extra_body={"ignore_eos": True})
    next(iter(stream))
    before = server.engine.stats().generated_tokens
    stream.close()
    assert server.idle()
    assert server.engine.stats().generated_tokens - before < 850


# --- chats ---------------------------------------------------------------------------------------------------------


def test_a_greedy_answer_is_the_engines(chat: Any, offline: Engine) -> None:
    answer = chat(temperature=0)
    assert answer.choices[0].message.content == greedy(offline, offline.chat_ids(MESSAGES)).text
    assert answer.choices[0].message.role == "assistant"
    assert answer.object == "chat.completion"


def test_a_conversation_goes_on(chat: Any, offline: Engine) -> None:
    first = chat(temperature=0).choices[0].message
    messages = [*MESSAGES, first.model_dump(), {"role": "user", "content": "And then?"}]
    expected = [*MESSAGES, {"role": "assistant", "content": first.content}, {"role": "user", "content": "And then?"}]
    assert chat(messages, temperature=0).choices[0].message.content == greedy(offline, offline.chat_ids(expected)).text


def test_a_system_message_counts(chat: Any, offline: Engine) -> None:
    for role in ("system", "developer"):
        messages = [{"role": role, "content": "Be brief."}, *MESSAGES]
        expected = greedy(offline, offline.chat_ids(MESSAGES, "Be brief."))
        assert chat(messages, temperature=0).choices[0].message.content == expected.text


def test_parts_of_text_are_put_together(chat: Any, offline: Engine) -> None:
    parts = [{"type": "text", "text": "How many"}, {"type": "text", "text": "clips?"}]
    expected = greedy(offline, offline.chat_ids("How many\nclips?"))
    assert chat([{"role": "user", "content": parts}], temperature=0).choices[0].message.content == expected.text


def test_n_answers(chat: Any) -> None:
    answer = chat(n=3, seed=1, temperature=1.5)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) > 1


def test_answers_have_logprobs(chat: Any, offline: Engine) -> None:
    content = chat(temperature=0, logprobs=True, top_logprobs=3).choices[0].logprobs.content
    expected = greedy(offline, offline.chat_ids(MESSAGES))
    assert [token.logprob for token in content] == expected.logprobs.tolist()
    assert all(token.top_logprobs[0].logprob == token.logprob and len(token.top_logprobs) == 3 for token in content)
    assert all(token.bytes is None or bytes(token.bytes).decode() == token.token for token in content)


def test_answers_without_top_logprobs(chat: Any) -> None:
    assert all(token.top_logprobs == [] for token in chat(logprobs=True).choices[0].logprobs.content)


def test_max_completion_tokens(chat: Any) -> None:
    assert chat(max_tokens=openai.omit, max_completion_tokens=4, temperature=0).usage.completion_tokens == 4


def test_an_answer_may_be_as_long_as_the_context(chat: Any) -> None:
    usage = chat(max_tokens=openai.omit, temperature=0, extra_body={"ignore_eos": True}).usage
    assert usage.total_tokens == 1024


def test_an_answer_says_how_sure_the_model_was(chat: Any, offline: Engine) -> None:
    choice = chat(temperature=0, logprobs=True).choices[0]
    expected = greedy(offline, offline.chat_ids(MESSAGES))
    assert math.isclose(choice.model_extra["confidence"], expected.confidence, rel_tol=1e-6)
    told = [token.model_extra["confidence"] for token in choice.logprobs.content]
    assert told == expected.confidences.tolist()


def test_a_streamed_answer_adds_up(chat: Any, offline: Engine) -> None:
    pieces = list(chat(temperature=0, max_tokens=50, stream=True))
    assert pieces[0].choices[0].delta.role == "assistant"
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert text == greedy(offline, offline.chat_ids(MESSAGES), 50).text
    assert pieces[-1].choices[0].finish_reason == "length"


def test_a_streamed_answer_has_logprobs_and_usage(chat: Any) -> None:
    *pieces, last = chat(
        max_tokens=20, temperature=0, logprobs=True, top_logprobs=1, stream=True, stream_options={"include_usage": True}
    )
    told = [
        token.logprob for piece in pieces if piece.choices[0].logprobs for token in piece.choices[0].logprobs.content
    ]
    whole = chat(max_tokens=20, temperature=0, logprobs=True, top_logprobs=1)
    assert told == [token.logprob for token in whole.choices[0].logprobs.content]
    assert last.usage.completion_tokens == 20


def test_streamed_answers_come_by_their_index(chat: Any) -> None:
    texts = ["", "", ""]
    for piece in chat(n=3, seed=4, max_tokens=30, stream=True):
        texts[piece.choices[0].index] += piece.choices[0].delta.content or ""
    assert texts == [choice.message.content for choice in chat(n=3, seed=4, max_tokens=30).choices]


# --- errors and retries --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"temperature": -1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 100_000}, "n"),
        ({"logprobs": 10_000}, "logprobs"),
        ({"suffix": "the end"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [10_000]}, "vocabulary"),
        ({"prompt": "word " * 5000}, "context"),
        ({"stop": ""}, "stop"),
        ({"logit_bias": {"first": 1}}, "logit_bias"),
        ({"extra_body": {"temprature": 1}}, "temprature"),
        ({"extra_body": {"guided_regex": "a*"}}, "guided_regex"),
        ({"extra_body": {"cache_salt": ""}}, "cache_salt"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else value,
)
def test_invalid_values_are_refused(complete: Any, options: dict[str, Any], word: str) -> None:
    with pytest.raises(openai.BadRequestError, match=word) as refused:
        complete(**options)
    assert refused.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    "options",
    [
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
        {"response_format": {"type": "json_object"}},
        {"messages": [{"role": "tool", "content": "3", "tool_call_id": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
        {"messages": []},
        {"top_logprobs": 3},
        {"extra_body": {"chat_template": "{{ messages }}"}},
        {"extra_body": {"chat_template_kwargs": {"messages": []}}},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_is_not_done_in_chats_is_refused(chat: Any, options: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError):
        chat(**options)


def test_a_model_that_is_not_there(chat: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="tiny"):
        chat(model="gpt-4o")


def test_fields_that_ask_for_nothing_are_taken(chat: Any) -> None:
    assert chat(tools=[], response_format={"type": "text"}, user="me", metadata={"a": "b"}, store=False).choices


def test_a_client_tries_again_when_the_queue_is_full(start: Any) -> None:
    server = start(max_requests=1)
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=8) as client:
        holding = client.completions.create(
            model="tiny", prompt="So", max_tokens=900, stream=True, extra_body={"ignore_eos": True}
        )
        next(iter(holding))
        with pytest.raises(openai.RateLimitError) as refused:
            client.with_options(max_retries=0).completions.create(model="tiny", prompt="So", max_tokens=1)
        assert refused.value.response.headers["retry-after"] == "1"
        holding.close()
        assert client.completions.create(model="tiny", prompt="So", max_tokens=1).choices
