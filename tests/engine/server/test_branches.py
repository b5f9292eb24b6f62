"""`/v1/branches`: branches that a client holds."""

from __future__ import annotations

from typing import Any

import httpx2
import numpy as np
import pytest
from marcot.engine import Engine, Sampling
from marcot.engine.server.errors import RequestError
from marcot.engine.server.leases import Leases
from support.server.live_server import Clock, LiveServer

PROMPT = "Natalia sold 48 clips in April"


def post(client: httpx2.Client, path: str, **fields: Any) -> Any:
    answer = client.post(f"/v1/branches{path}", json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def create(client: httpx2.Client, *prompts: Any) -> list[str]:
    return [branch["id"] for branch in post(client, "", prompts=prompts or (PROMPT,))["data"]]


@pytest.fixture(autouse=True)
def _nothing_is_left(server: LiveServer, client: httpx2.Client) -> Any:
    yield
    server.clock.now += 1000
    assert client.get("/v1/branches/br-000000000000000000000000").status_code == 404
    assert 'marcot_branches_held{model_name="tiny"} 0.0' in client.get("/metrics").text


def test_a_branch_is_extended_as_by_the_engine(client: httpx2.Client, offline: Engine) -> None:
    [branch] = create(client)
    sampling = {"max_tokens": 5, "seed": 3, "logprobs": 2}
    [samples] = post(client, "/extend", extensions=[{"branch": branch, "n": 3, "sampling": sampling}])["data"]
    with offline.prefill(PROMPT) as node:
        expected = offline.expand(node, 3, Sampling(temperature=1, top_k=0, top_p=1, max_tokens=5, seed=3))
    assert [sample["token_ids"] for sample in samples] == [node.token_ids.tolist() for node in expected]
    assert [sample["text"] for sample in samples] == [node.text for node in expected]
    assert [token["logprob"] for token in samples[0]["logprobs"]["content"]] == expected[0].logprobs.tolist()
    assert {sample["parent"] for sample in samples} == {branch}


def test_samples_go_on_where_they_ended(client: httpx2.Client) -> None:
    [branch] = create(client)
    [four] = post(client, "/extend", extensions=[{"branch": branch, "n": 4, "sampling": {"seed": 1}}])["data"]
    [more] = post(client, "/extend", extensions=[{"branch": branch, "n": 2, "first": 2, "sampling": {"seed": 1}}])[
        "data"
    ]
    assert [sample["token_ids"] for sample in more] == [sample["token_ids"] for sample in four[2:]]


def test_many_branches_in_one_call(client: httpx2.Client) -> None:
    ids = create(client, PROMPT, [5, 6, 7], {"messages": [{"role": "user", "content": "Hi"}]})
    data = post(client, "/extend", extensions=[{"branch": id, "n": 2, "sampling": {"max_tokens": 2}} for id in ids])[
        "data"
    ]
    assert [[sample["parent"] for sample in samples] for samples in data] == [[id] * 2 for id in ids]
    assert post(client, "/release", branches=ids)["released"] == 3


def test_a_branch_is_forked_at_any_token(client: httpx2.Client, offline: Engine) -> None:
    [branch] = create(client)
    [[long]] = post(client, "/extend", extensions=[{"branch": branch, "sampling": {"max_tokens": 6, "seed": 1}}])[
        "data"
    ]
    path = client.get(f"/v1/branches/{long['id']}").json()["token_ids"]
    assert path == offline.prefill(PROMPT).token_ids.tolist() + long["token_ids"]
    lengths = [2, len(path) - 3, len(path)]
    forks = post(client, "/fork", forks=[{"branch": long["id"], "length": length} for length in lengths])["data"]
    for fork, length in zip(forks, lengths, strict=True):
        assert client.get(f"/v1/branches/{fork['id']}").json()["token_ids"] == path[:length]
        assert fork["parent"] == long["id"]


def test_a_fork_within_the_branch_only(client: httpx2.Client) -> None:
    [branch] = create(client, [5, 6, 7])
    assert client.post("/v1/branches/fork", json={"forks": [{"branch": branch, "length": 4}]}).status_code == 400


def test_given_tokens_are_appended(client: httpx2.Client) -> None:
    [branch] = create(client, [5, 6, 7])
    appended = post(
        client, "/append", appendings=[{"branch": branch, "tokens": [8, 9]}, {"branch": branch, "tokens": " half"}]
    )["data"]
    paths = [client.get(f"/v1/branches/{each['id']}").json()["token_ids"] for each in appended]
    assert paths[0] == [5, 6, 7, 8, 9]
    assert paths[1][:3] == [5, 6, 7]


def test_tokens_are_rated_after_branches(client: httpx2.Client, offline: Engine) -> None:
    ids = create(client, [5, 6, 7], PROMPT)
    fields = [{"branch": ids[0], "tokens": [8, 9]}, {"branch": ids[1], "tokens": [40]}]
    scores = post(client, "/score", continuations=fields, top_logprobs=2)["data"]
    for score, tokens, prompt in zip(scores, [[8, 9], [40]], [[5, 6, 7], PROMPT], strict=True):
        [expected] = offline.score([[*offline.prefill(prompt).token_ids.tolist(), *tokens]], 2)
        told = [token["logprob"] for token in score["tokens"]["content"]]
        assert np.array_equal(np.array(told, np.float32), expected.logprobs[-len(tokens) :])
        assert not score["is_greedy"]


def test_the_most_probable_tokens_are_greedy(client: httpx2.Client) -> None:
    [branch] = create(client)
    [[best]] = post(
        client, "/extend", extensions=[{"branch": branch, "sampling": {"temperature": 0, "max_tokens": 3}}]
    )["data"]
    [score] = post(client, "/score", continuations=[{"branch": branch, "tokens": best["token_ids"]}])["data"]
    assert score["is_greedy"]


def test_a_released_branch_is_gone(client: httpx2.Client) -> None:
    [branch] = create(client)
    assert client.delete(f"/v1/branches/{branch}").json() == {"released": 1}
    assert client.delete(f"/v1/branches/{branch}").status_code == 404
    extensions = [{"branch": branch}]
    assert client.post("/v1/branches/extend", json={"extensions": extensions}).status_code == 404


def test_a_branch_nobody_uses_expires(server: LiveServer, client: httpx2.Client) -> None:
    used, unused = create(client, PROMPT, [5, 6])
    server.clock.now += 200
    assert client.get(f"/v1/branches/{used}").json()["expires_in"] == 300
    server.clock.now += 200
    assert client.get(f"/v1/branches/{used}").status_code == 200
    assert client.get(f"/v1/branches/{unused}").status_code == 404


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("", {"prompts": []}),
        ("", {"prompts": ["word " * 3000]}),
        ("", {"prompts": [[331]]}),
        ("/extend", {"extensions": [{"branch": "../../etc/passwd"}]}),
        ("/extend", {"extensions": []}),
        ("/release", {"branches": ["all"]}),
    ],
)
def test_invalid_values_are_refused(client: httpx2.Client, path: str, fields: dict[str, Any]) -> None:
    assert client.post(f"/v1/branches{path}", json=fields).status_code == 400


def test_samples_and_streams_are_asked_for_elsewhere(client: httpx2.Client) -> None:
    [branch] = create(client)
    for sampling in ({"n": 2}, {"stream": True}):
        extensions = [{"branch": branch, "sampling": sampling}]
        assert client.post("/v1/branches/extend", json={"extensions": extensions}).status_code == 400


def test_no_more_branches_than_there_is_room_for(start: Any) -> None:
    server = start(max_leases=3)
    with httpx2.Client(base_url=server.url) as client:
        [branch, _] = create(client, [5], [6])
        extensions = [{"branch": branch, "n": 2, "sampling": {"max_tokens": 1}}]
        full = client.post("/v1/branches/extend", json={"extensions": extensions})
        assert (full.status_code, full.headers["retry-after"]) == (429, "1")
        post(client, "/release", branches=[branch])
        create(client, [7], [8])


def test_more_operations_than_the_queue_ever_holds(start: Any) -> None:
    server = start(max_requests=2)
    with httpx2.Client(base_url=server.url) as client:
        [branch, _] = create(client, [5], [6])
        for path, fields in (
            ("", {"prompts": [[5]] * 3}),
            ("/score", {"continuations": [{"branch": branch, "tokens": [7]}] * 3}),
        ):
            answer = client.post(f"/v1/branches{path}", json=fields)
            assert (answer.status_code, "at most 2" in answer.text) == (400, True)
        forks = post(client, "/fork", forks=[{"branch": branch, "length": 1}] * 3)["data"]
        assert len({fork["id"] for fork in forks}) == 3


def test_a_branch_in_use_does_not_expire(offline: Engine) -> None:
    clock = Clock()
    leases = Leases(10, 2, clock)
    lease, unused = leases.add(offline.prefill([5]), None), leases.add(offline.prefill([6]), None)
    with leases.using([lease.id]):
        clock.now = 11
        assert leases.expire() == 1
    with pytest.raises(RequestError):
        leases.get(unused.id)
    clock.now = 20  # its time began again at the end of the use
    assert leases.expire() == 0
    clock.now = 21
    assert leases.expire() == 1
    with pytest.raises(RequestError):
        leases.get(lease.id)


def test_a_branch_released_while_it_is_used_stays_released(offline: Engine) -> None:
    leases = Leases(10, 2, Clock())
    lease = leases.add(offline.prefill([5]), None)
    with leases.using([lease.id]):
        assert leases.release([lease.id]) == 1
    assert len(leases) == 0


def test_room_is_kept_for_branches_that_are_still_computed(offline: Engine) -> None:
    leases = Leases(10, 3, Clock())
    with leases.room(2):
        with pytest.raises(RequestError, match="at most 3"), leases.room(2):
            pass
        leases.add(offline.prefill([5]), None)
    with leases.room(2):
        pass
    leases.release_all()
