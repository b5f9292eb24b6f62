"""Values that name a second model."""

from __future__ import annotations

import pytest
from marcot.engine.errors import InputError
from marcot.engine.judging.endpoint_judge import EndpointJudge
from marcot.engine.judging.model_judge import ModelJudge
from marcot.engine.search import MCTS, Mixture
from marcot.engine.search.values import resolve_value

SERVER = "judge:http://localhost:8000/v1?model=qwen"


def test_a_judge_is_named_by_its_spec_and_made_once() -> None:
    for spec, kind in (("judge:some/model", ModelJudge), ("judge:a b.gguf?mode=yes&kv_tokens=64", ModelJudge)):
        judge = resolve_value(spec)
        assert isinstance(judge, kind)
        assert judge.name == spec
        assert resolve_value(spec) is judge
    assert isinstance(resolve_value(SERVER), EndpointJudge)


def test_settings_name_the_judge() -> None:
    assert MCTS(value=SERVER).settings()["value"] == SERVER
    assert MCTS(value=resolve_value(SERVER)).settings()["value"] == SERVER


def test_a_judge_can_be_a_part_of_a_mixture() -> None:
    mixture = resolve_value("0.7*judge:some/model + 0.3*marco")
    assert isinstance(mixture, Mixture)
    assert [value.name for _, value in mixture.parts] == ["judge:some/model", "marco"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("judge:", "name a model"),
        ("judge:?mode=yes", "name a model"),
        ("judge:m?mode=no", "mode=no: must be logprob or yes"),
        ("judge:m?mode", "NAME=VALUE"),
        ("judge:m?mode=yes&mode=yes", "given twice"),
        ("judge:m?threads=3", "no option 'threads'.*mode, device, dtype"),
        ("judge:m?kv_tokens=many", "must be an integer"),
        ("judge:http://h/v1", "add [?]model=NAME"),
        ("judge:http://h/v1?model=m&mode=logprob", "needs a model in this process"),
        ("judge:https://h/v1?model=m&device=cpu", "no option 'device'.*mode, model"),
    ],
)
def test_what_is_wrong_with_a_spec_is_said(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MCTS(value=spec)
