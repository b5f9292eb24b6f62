"""`evaluate` in Python against `marcot eval`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from marcot.engine import MCTS, BestOfN, Engine, Greedy, InputError, Question, Sampling, evaluate
from marcot.engine.cli import main
from marcot.engine.evaluation import Evaluation, wilson

QUESTIONS = [Question("How many clips?", "72"), Question("小明有几个苹果？", "8"), Question("And in May?", "24")]
QUICK: dict[str, Any] = {"max_rollout_tokens": 6, "action": "mini-step-2"}
STRATEGIES = {"greedy": Greedy(**QUICK), "tree": MCTS(rollouts=3, width=2, **QUICK)}
AS_TYPED = "greedy,mcts:rollouts=3,width=2,label=tree"


@pytest.fixture(scope="module")
def talker(tiny_checkpoint: Callable[..., Path]) -> Path:
    return tiny_checkpoint("qwen2", tokenizer=True, num_hidden_layers=1)


@pytest.fixture(scope="module")
def engine(talker: Path) -> Engine:
    return Engine.load(str(talker), kv_tokens=8192)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "q.jsonl"
    lines = (json.dumps({"question": text, "answer": answer}) for text, answer in QUESTIONS)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def command_line(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["marcot", "eval", *map(str, arguments)])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def numbers(path: Path) -> Any:
    """A report without the parts that depend on time."""
    report = json.loads(path.read_text(encoding="utf-8"))
    for group in report["groups"]:
        for strategy in group["strategies"]:
            del strategy["seconds"]
    return report


def answers(path: Path) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted(({**entry, "seconds": 0} for entry in entries), key=lambda entry: entry["index"])


def test_the_numbers_are_those_of_the_command_line(
    engine: Engine, talker: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed, called = tmp_path / "typed", tmp_path / "called"
    options = ["--strategy", AS_TYPED, "--set", "max_rollout_tokens=6,action=mini-step-2", "--instruction", "Think."]
    assert command_line(monkeypatch, "--model", talker, "--input", file, *options, "--out", typed) == 0
    evaluate(engine, file, STRATEGIES, instruction="Think.", out=called)
    names = sorted(path.name for path in typed.iterdir())
    assert sorted(path.name for path in called.iterdir()) == names
    assert numbers(typed / "report.json") == numbers(called / "report.json")
    for name in names:
        if name.endswith(".jsonl"):
            assert answers(typed / name) == answers(called / name)
    unkept = evaluate(engine, str(file), STRATEGIES, instruction="Think.")
    for group in numbers(typed / "report.json")["groups"]:
        for strategy in group["strategies"]:
            series = unkept[strategy["strategy"]]
            assert (series.right, series.accuracy, list(series.interval), series.pass_at_1, series.pass_at_k) == tuple(
                strategy[name] for name in ("right", "accuracy", "interval", "pass_at_1", "pass_at_k")
            )


def test_either_goes_on_where_the_other_was_stopped(
    engine: Engine, talker: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    evaluate(engine, f"{file}:1-2", Greedy(**QUICK), out=out)
    [path] = out.glob("*.jsonl")
    before = path.read_bytes()
    options = ["--strategy", "greedy", "--set", "max_rollout_tokens=6,action=mini-step-2", "--out", out]
    assert command_line(monkeypatch, "--model", talker, "--input", file, *options) == 0
    after = path.read_bytes()
    assert after.startswith(before)
    assert after.count(b"\n") == 3
    monkeypatch.setattr(Engine, "stream", None)
    assert len(evaluate(engine, file, Greedy(**QUICK), out=out).trials) == 3
    with pytest.raises(InputError, match="made with other settings"):
        evaluate(engine, file, Greedy(max_rollout_tokens=5), out=out)


def test_one_strategy_has_its_numbers_at_hand(engine: Engine) -> None:
    known = engine.search([question.text for question in QUESTIONS], STRATEGIES["tree"], instruction=None)
    asked = [Question(result.question, result.answer or "?") for result in known[:2]] + [Question("And in May?", "no")]
    found = evaluate(engine, asked, STRATEGIES["tree"])
    right = sum(bool(result.answer) for result in known[:2])
    assert [trial.answer for trial in found.trials] == [result.answer for result in known]
    assert found.accuracy == right / 3
    assert found.interval == wilson(right, 3)
    assert found.pass_at_k >= found.accuracy
    assert 0 <= found.pass_at_1 <= found.pass_at_k
    assert repr(found) == f"Evaluation(questions, qwen2: mcts {right} of 3 right)"
    assert found.only is found["mcts"]


def test_several_strategies_are_told_apart(engine: Engine) -> None:
    found = evaluate(engine, QUESTIONS, STRATEGIES, baseline="tree", name="mine")
    assert isinstance(found, Evaluation)
    assert list(found) == ["greedy", "tree"]
    assert found["tree"].pairs(found["greedy"]) == found["tree"].pairs(found["greedy"])
    assert found.report.groups[0].baseline.label == "tree"
    assert repr(found).startswith("Evaluation(mine, qwen2: greedy ")
    lines = found.table().splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["strategy", "greedy", "tree"]
    assert max(map(len, found.table(width=40).splitlines())) <= 40
    assert str(found).startswith("mine, qwen2\n")
    assert found._repr_markdown_() == found.report.markdown()
    with pytest.raises(InputError, match=r"several strategies \(greedy, tree\): take one, such as \['greedy'\]"):
        _ = found.accuracy


FORMS: dict[str, Any] = {
    "questions": QUESTIONS,
    "objects": [{"question": text, "answer": answer, "level": 3} for text, answer in QUESTIONS],
    "numbers as answers": [{"question": text, "answer": int(answer or 0)} for text, answer in QUESTIONS],
    "generator": (question for question in QUESTIONS),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_questions_come_in_several_forms(engine: Engine, form: Any) -> None:
    found = evaluate(engine, form, Greedy(**QUICK))
    assert [trial.reference for trial in found.trials] == ["72", "8", "24"]


def test_one_question_is_one(engine: Engine) -> None:
    assert len(evaluate(engine, QUESTIONS[0], Greedy(**QUICK)).trials) == 1
    assert len(evaluate(engine, {"question": "How many?", "answer": "1"}, Greedy(**QUICK)).trials) == 1


def test_mgsm_by_name(engine: Engine) -> None:
    found = evaluate(engine, "mgsm-en:2-3", Greedy(**QUICK))
    settings = found.only.settings
    assert settings["data"] == "mgsm:en"
    assert "\\boxed{}" in settings["instruction"]
    assert [trial.index for trial in found.trials] == [1, 2]
    assert evaluate(engine, "mgsm:en:2", Greedy(**QUICK), instruction=None).only.settings["instruction"] == ""


def test_strategies_come_in_several_forms(engine: Engine) -> None:
    one = [QUESTIONS[0]]
    assert list(evaluate(engine, one, [Greedy(**QUICK), BestOfN(rollouts=2, **QUICK)])) == ["greedy", "best-of-n"]
    assert list(evaluate(engine, one, "greedy:max_rollout_tokens=4,label=short")) == ["short"]


def test_a_failure_is_reported_and_does_not_stop_the_others(engine: Engine) -> None:
    long = Question("word " * 5000, "1")
    found = evaluate(engine, [QUESTIONS[0], long], Greedy(**QUICK))
    [failure] = found.failures
    assert (failure.label, failure.position, found.only.failed, len(found.trials)) == ("greedy", 1, 1, 1)
    assert str(failure).startswith("greedy, question 2: ")
    with pytest.raises(InputError, match="tokens"):
        evaluate(engine, [long], Greedy(**QUICK))


def test_progress_goes_to_stderr(engine: Engine, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr("marcot.engine.evaluation.eval_view.PLAIN_LINE_EVERY", 0.0)
    evaluate(engine, QUESTIONS, Greedy(**QUICK), progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "in all 3 of 3" in shown.err
    evaluate(engine, QUESTIONS, Greedy(**QUICK))
    assert capsys.readouterr() == ("", "")


MISTAKES: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "no questions": ([], Greedy(), {}, "there are no questions"),
    "no answer": (["How many?"], Greedy(), {}, "question 1 has no answer to compare with"),
    "no text": ([Question("One?", "1"), Question(" ", "2")], Greedy(), {}, "question 2 is empty"),
    "a number": ([3], Greedy(), {}, "question 3: must be a text"),
    "no list": (3, Greedy(), {}, "questions=3: must be a text"),
    "an empty answer": ([Question("One?", " ")], Greedy(), {}, "question 1 has no answer to compare with"),
    "unknown data": ("gsm8k", Greedy(), {}, "data 'gsm8k': must be mgsm:en, mgsm:zh or"),
    "unknown language": ("mgsm:de", Greedy(), {}, "the data sets are mgsm:en, mgsm:zh"),
    "no strategies": (QUESTIONS, [], {}, "give at least one"),
    "a class": (QUESTIONS, MCTS, {}, "give one such as MCTS(rollouts=8)"),
    "no strategy": (QUESTIONS, {"a": "greedy"}, {}, "'greedy' is not a strategy"),
    "the same twice": (QUESTIONS, [Greedy(), Greedy(max_depth=3)], {}, "two have the same name"),
    "unknown baseline": (QUESTIONS, Greedy(), {"baseline": "luck"}, "no strategy is called 'luck'"),
    "labels that make one file": (QUESTIONS, {"a b": Greedy(), "a_b": Greedy()}, {}, "the labels of two strategies"),
}


@pytest.mark.parametrize(("questions", "strategies", "options", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(engine: Engine, questions: Any, strategies: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        evaluate(engine, questions, strategies, **options)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_engine_that_was_not_loaded_by_name_is_called_by_its_kind(engine: Engine) -> None:
    settings, engine.settings = engine.settings, {}
    try:
        found = evaluate(engine, QUESTIONS, Greedy(sampling=Sampling(seed=3), **QUICK))
    finally:
        engine.settings = settings
    assert found.only.model == "qwen2"
