"""`POST /v1/search`."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from marcot.engine import MCTS, Beam, BestOfN, Engine, Sampling
from marcot.engine.view import read_tree

QUESTION = "How many clips are 48 and 24?"


def search(client: httpx2.Client, **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/search", json={"question": QUESTION} | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("fields", "strategy"),
    [
        (
            {
                "strategy": "mcts",
                "parameters": {"rollouts": 3, "action": "mini-step-4", "max_rollout_tokens": 12, "vote_margin": 0},
            },
            MCTS(rollouts=3, action="mini-step-4", max_rollout_tokens=12, vote_margin=0),
        ),
        (
            {"strategy": "beam", "parameters": {"beams": 2, "samples": 2, "action": "token", "max_rollout_tokens": 3}},
            Beam(beams=2, samples=2, action="token", max_rollout_tokens=3),
        ),
        (
            {
                "strategy": "best-of-n",
                "parameters": {"rollouts": 3, "value": "0.5*marco+0.5*logprob", "max_rollout_tokens": 8},
                "sampling": {"temperature": 1.1, "top_k": 0, "seed": 4},
            },
            BestOfN(
                rollouts=3,
                value="0.5*marco+0.5*logprob",
                max_rollout_tokens=8,
                sampling=Sampling(temperature=1.1, top_k=0, seed=4),
            ),
        ),
    ],
    ids=["mcts", "beam", "best-of-n"],
)
def test_a_search_finds_what_the_engine_finds(
    client: httpx2.Client, offline: Engine, fields: dict[str, Any], strategy: Any, tmp_path: Any
) -> None:
    answer = search(client, **fields)
    [expected] = offline.search(QUESTION, strategy)
    assert (answer["answer"], answer["text"], answer["value"]) == (expected.answer, expected.text, expected.value)
    assert [rollout["text"] for rollout in answer["rollouts"]] == [rollout.text for rollout in expected.rollouts]
    (tmp_path / "tree.json").write_text(json.dumps(answer["tree"]))
    assert read_tree(tmp_path / "tree.json").tree == expected.tree


def test_progress_is_streamed(client: httpx2.Client) -> None:
    fields = {
        "question": QUESTION,
        "parameters": {"rollouts": 3, "max_rollout_tokens": 20, "vote_margin": 0, "parallel": 1},
    }
    body = client.post("/v1/search", json=fields | {"stream": True, "request_id": "mine"}).text
    lines = [line.removeprefix("data: ") for line in body.splitlines() if line]
    assert lines.pop() == "[DONE]"
    *progress, result = map(json.loads, lines)
    assert {each["object"] for each in progress} == {"search.progress"}
    assert result["object"] == "search.result"
    assert {each["id"] for each in [*progress, result]} == {"search-mine"}
    assert result["answer"] == search(client, parameters=fields["parameters"])["answer"]


def test_a_reference_is_compared(client: httpx2.Client) -> None:
    parameters = {"rollouts": 1, "max_rollout_tokens": 4}
    assert search(client, parameters=parameters)["correct"] is None
    answer = search(client, parameters=parameters, reference="72", tree=False)
    assert answer["correct"] is False
    assert answer["tree"] is None


@pytest.mark.parametrize(
    "fields",
    [
        {"question": ""},
        {"question": "  "},
        {"strategy": "os:system"},
        {"strategy": "beam", "parameters": {"width": 3}},
        {"parameters": {"action": "os:getcwd"}},
        {"parameters": {"action": "/etc/kinds.toml"}},
        {"parameters": {"value": "os:getcwd"}},
        {"parameters": {"value": "judge:model"}},
        {"parameters": {"value": "ground-truth"}},
        {"parameters": {"value": "0.5*ground-truth+0.5*marco"}},
        {"parameters": {"answer_rule": "os:getcwd"}},
        {"parameters": {"answer_from": "(a+)+b"}},
        {"parameters": {"parallel": 10**6}},
        {"parameters": {"rollouts": 0}},
        {"sampling": {"max_tokens": 3}},
        {"messages": [{"role": "user", "content": "x"}]},
    ],
    ids=str,
)
def test_what_makes_no_sense_or_is_code_is_refused(client: httpx2.Client, fields: dict[str, Any]) -> None:
    for stream in (False, True):
        answer = client.post("/v1/search", json={"question": QUESTION, "stream": stream} | fields)
        assert answer.status_code == 400, answer.text
