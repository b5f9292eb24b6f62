"""Results record the checkpoint, date and code that they were made with, and can be resumed only with the same ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from marcot.engine import Engine
from safetensors.torch import load_file, save_file
from support.checkpoints.small_talker import write_talking_folder

QUICK = ("--rollouts", 1, "--max-rollout-tokens", 8, "--temperature", 0)
DATED = "{{ strftime_now('%d %b %Y') }} {{ messages[-1].content }}"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_talking_folder(tmp_path_factory.mktemp("models") / "talker")
    (folder / "chat_template.jinja").write_text(DATED, encoding="utf-8")
    return folder


@pytest.fixture
def model(written: Path, tmp_path: Path) -> Path:
    """A checkpoint that tests may change, with a template that shows the date."""
    return Path(shutil.copytree(written, tmp_path / "talker"))


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    file = tmp_path / "q.tsv"
    file.write_text("What is 2 + 3?\t5\nWhat is 2 + 4?\t6\n", encoding="utf-8")
    return file


@pytest.fixture
def command(
    request: pytest.FixtureRequest, marcot: Callable, model: Path, questions: Path, tmp_path: Path
) -> Callable[..., tuple[int, str, list[dict]]]:
    """`command(...)`: the exit code, stderr and results lines of a search, or of the command of the parameter."""
    name = getattr(request, "param", "search")
    out = tmp_path / "out"
    one = {"search": ("--vote-margin", 0, *QUICK), "eval": ("--strategy", "greedy", "--set", "max_rollout_tokens=8")}

    def run(*more: object) -> tuple[int, str, list[dict]]:
        ended = marcot(name, "--model", model, "--input", questions, "--out", out, *one[name], *more)
        [file] = [out] if out.is_file() else out.glob("*.jsonl")
        return ended.code, ended.err, [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]

    return run


def retrain(model: Path) -> None:
    weights = load_file(model / "model.safetensors")
    weights["lm_head.weight"] += 0.5
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})


both = pytest.mark.parametrize("command", ["search", "eval"], indirect=True)


@both
@pytest.mark.parametrize("first", ["1", "1-2"], ids=["in the middle", "at the end"])
def test_a_checkpoint_that_has_changed_is_noticed(command: Callable, model: Path, first: str) -> None:
    code, _, before = command("--questions", first)
    assert code == 0
    retrain(model)
    code, err, after = command()
    assert code == 2
    assert "the checkpoint has changed since these results were made" in err
    assert after == before


def test_a_checkpoint_that_was_only_moved_goes_on(command: Callable, model: Path) -> None:
    command("--questions", "1")
    shutil.copytree(model, model.with_name("copy"))
    shutil.rmtree(model)
    model.with_name("copy").rename(model)
    assert command()[0] == 0


def test_results_that_are_whole_need_no_model(command: Callable, model: Path) -> None:
    command()
    shutil.rmtree(model)
    code, err, _ = command()
    assert code == 0
    assert "2 of 2" in err


@both
def test_a_run_goes_on_with_the_date_that_it_began_with(command: Callable, model: Path) -> None:
    (model / "chat_template.jinja").write_text(
        "{% if strftime_now('%Y') != '2020' %}{{ raise_exception('another day') }}{% endif %}{{ messages[0].content }}"
    )
    command("--questions", "1", "--date", "2020-02-29")
    code, _, lines = command()
    assert code == 0
    assert [line["settings"]["date"] for line in lines] == ["2020-02-29"] * 2


def test_another_date_is_refused(command: Callable) -> None:
    command("--questions", "1", "--date", "2020-02-29")
    code, err, lines = command("--date", "2021-01-01")
    assert code == 2
    assert "(date was '2020-02-29', is '2021-01-01')" in err
    assert len(lines) == 1


def test_results_of_earlier_versions_are_resumed_and_checked_from_then_on(
    command: Callable, model: Path, tmp_path: Path
) -> None:
    _, _, [line] = command("--questions", "1")
    [file] = [tmp_path / "out"] if (tmp_path / "out").is_file() else (tmp_path / "out").glob("*.jsonl")
    del line["settings"]["checkpoint"], line["settings"]["date"]
    file.write_text(json.dumps(line) + "\n", encoding="utf-8")
    code, _, [old, new] = command()
    assert code == 0
    assert "checkpoint" not in old["settings"]
    assert new["settings"]["date"] == date.today().isoformat()
    retrain(model)
    assert command()[0] == 2


@both
def test_a_question_whose_reference_has_changed_is_asked_again(command: Callable, questions: Path) -> None:
    command()
    questions.write_text("What is 2 + 3?\t5\nWhat is 2 + 4?\t7\n", encoding="utf-8")
    code, _, lines = command()
    assert code == 0
    assert [line["index"] for line in lines] in ([0, 1, 1], [1, 0, 1])


def test_changes_in_the_user_s_own_code_are_noticed(
    marcot: Callable, model: Path, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_scores.py").write_text("def short(trace): return -len(trace.text)\n")
    monkeypatch.syspath_prepend(tmp_path)
    search = ("search", "--model", model, "--input", questions, "--out", tmp_path / "out", *QUICK)
    assert marcot(*search, "--value", "own_scores:short", "--questions", "1").code == 0
    (tmp_path / "own_scores.py").write_text("def short(trace): return +len(trace.text)\n")
    ended = marcot(*search, "--value", "own_scores:short")
    assert ended.code == 2
    assert "own_scores has changed since these results were made" in ended.err


def test_all_questions_of_a_stream_are_asked_on_the_same_day(model: Path) -> None:
    engine = Engine.load(model)
    text = engine.tokenizer.decode(engine.chat_ids("How many?", date=date(2020, 2, 29)))
    assert text == "29 Feb 2020 How many?"
