"""`marcot compare`."""

from __future__ import annotations

import json
import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from marcot.engine import Engine
from support.programs.limits import limited

QUICK = ["--strategy", "greedy,mcts:rollouts=2", "--set", "max_rollout_tokens=4"]


@pytest.fixture
def models(talker: Path, tiny_checkpoint: Callable[..., Path]) -> str:
    return f"{talker},{tiny_checkpoint('smollm2', tokenizer=True, num_hidden_layers=1)}"


def test_own_prompts_to_two_models(marcot: Callable, models: str, tmp_path: Path) -> None:
    pages = [tmp_path / name for name in ("r.html", "r.md", "r.json")]
    wanted = [part for page in pages for part in ("--out", page)]
    ended = marcot("compare", "--model", models, *QUICK, *wanted)
    assert ended.code == 0, ended.err
    assert [line.rsplit(":", 1)[0] for line in ended.out.splitlines()] == [
        *("qwen2, greedy", "qwen2, mcts:rollouts=2", "smollm2, greedy", "smollm2, mcts:rollouts=2")
    ]
    entry = json.loads(pages[2].read_text(encoding="utf-8"))
    assert len(entry["prompts"]) == 16
    for prompt in entry["prompts"]:
        assert [(each["model"], each["rollouts"]) for each in prompt["replies"]] == [
            *(("qwen2", 1), ("qwen2", 2), ("smollm2", 1), ("smollm2", 2))
        ]
        assert all(each["tokens"] > 0 and each["error"] is None for each in prompt["replies"])
    assert "boxed" in entry["contestants"][0]["settings"]["instruction"]
    page = pages[0].read_text(encoding="utf-8")
    assert page.count("<article") == 16
    assert page.count('class="reply') == 64
    links = re.findall(r'href="([^"]*)"', page)
    assert len(set(links)) == 64
    assert all((tmp_path / unquote(link)).is_file() for link in links)
    assert "## letter counting" in pages[1].read_text(encoding="utf-8")


def test_prompts_of_ones_own(marcot: Callable, talker: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "p.jsonl"
    prompts.write_text(
        '{"question": "Six plus two?", "answer": 8}\n{"question": "Translate: hello.", "situation": "s"}\n'
    )
    ended = marcot("compare", "--model", talker, *QUICK, "--input", prompts, "--questions", "2")
    assert ended.code == 0, ended.err
    assert "> Translate: hello." in ended.out
    assert "Six plus two?" not in ended.out
    assert re.search(r"^qwen2 +greedy +- +- ", ended.out, re.MULTILINE)


def test_one_model_is_gone_before_the_next_is_loaded(
    marcot: Callable, models: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import weakref

    alive: list[Any] = []
    load = Engine.load

    def watched(*arguments: Any, **options: Any) -> Engine:
        assert [engine for engine in alive if engine() is not None] == []
        engine = load(*arguments, **options)
        alive.append(weakref.ref(engine))
        return engine

    monkeypatch.setattr(Engine, "load", watched)
    chosen = ["--model", models, *QUICK]
    assert marcot("compare", *chosen, "--questions", "1-2").code == 0
    assert marcot("eval", *chosen, "--input", "mgsm:en:1-2").code == 0
    assert len(alive) == 4


def test_ctrl_c_ends_it(marcot: Callable, talker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "stream", interrupted)
    ended = marcot("compare", "--model", talker, *QUICK, "--out", tmp_path / "r.html")
    assert (ended.code, ended.out, ended.err) == (130, "", "interrupted: nothing was written\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("ctrl_c_after_an_answer")
def test_ctrl_c_keeps_what_was_answered(marcot: Callable, talker: Path, tmp_path: Path) -> None:
    page = tmp_path / "r.json"
    ended = marcot("compare", "--model", talker, *QUICK, "--questions", "1-3", "--out", page)
    assert (ended.code, ended.err.splitlines()[-1]) == (
        130,
        "interrupted: the report has the answers so far",
    )
    errors = [reply["error"] for prompt in json.loads(page.read_text())["prompts"] for reply in prompt["replies"]]
    assert errors.count(None) == 1
    assert errors.count("interrupted before it answered") == len(errors) - 1 == 2


FOREIGN = {
    "report.html": "<!doctype html>\n<title>Side by side</title>\n",
    "report.md": "# Models side by side\n\nWhat I think of them.\n",
    "report.json": '{"models": []}\n',
}


@pytest.mark.parametrize(("name", "content"), FOREIGN.items(), ids=FOREIGN)
def test_a_page_of_somebody_else_is_refused_before_anything_is_loaded(
    marcot: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str
) -> None:
    page = tmp_path / name
    page.write_text(content)
    monkeypatch.setattr(Engine, "load", None)
    ended = marcot("compare", "--model", "m", "--out", tmp_path / "new.html", "--out", page)
    assert (ended.code, ended.out, page.read_text()) == (2, "", content)
    assert f"{name}: exists and is not a comparison of marcot; give --out another name" in ended.err
    assert list(tmp_path.iterdir()) == [page]


def test_a_comparison_replaces_a_comparison(marcot: Callable, talker: Path, tmp_path: Path) -> None:
    pages = [tmp_path / name for name in FOREIGN]
    wanted = [part for page in pages for part in ("--out", page)]
    for questions in ("1", "2"):
        ended = marcot("compare", "--model", talker, *QUICK, "--questions", questions, *wanted)
        assert ended.code == 0, ended.err
    assert len(json.loads(pages[2].read_text(encoding="utf-8"))["prompts"]) == 1


def test_a_comparison_that_cannot_be_written_is_printed(
    marcot: Callable, talker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    load = Engine.load

    def meanwhile(*arguments: Any, **options: Any) -> Engine:
        folder.rmdir()
        return load(*arguments, **options)

    monkeypatch.setattr(Engine, "load", meanwhile)
    ended = marcot("compare", "--model", talker, *QUICK, "--questions", "1", "--out", folder / "report.html")
    assert (ended.code, ended.err.count("\n")) == (74, 1)
    assert "report-trees: cannot be made: No such file or directory" in ended.err
    assert ended.out.startswith("Models side by side\n")


ERRORS = {
    "no model": ([], "--model needs a name"),
    "a page of another kind": (["--model", "m", "--out", "report.pdf"], "must end in .html, .md, .json"),
    "a page in no folder": (["--model", "m", "--out", "nowhere/report.md"], "there is no folder nowhere"),
    "no such prompts": (["--model", "m", "--input", "p.jsonl"], "p.jsonl: there is no such file"),
    "too many prompts": (["--model", "m", "--questions", "17"], "questions 17: must be from 1 to 16"),
    "unknown strategy": (["--model", "m", "--strategy", "luck"], "no strategy is called 'luck'"),
}


@pytest.mark.parametrize(("arguments", "message"), ERRORS.values(), ids=ERRORS)
def test_what_a_user_can_get_wrong(
    marcot: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = marcot("compare", *arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert message in ended.err


def test_one_page_that_cannot_be_written_costs_no_other_and_leaves_nothing(
    marcot: Callable, models: str, tmp_path: Path
) -> None:
    pages = [tmp_path / name for name in ("r.html", "r.json", "r.md")]
    wanted = [part for page in pages for part in ("--out", page)]
    command = ("compare", "--model", models, *QUICK, "--questions", "1-2", *wanted)
    assert marcot(*command).code == 0
    old = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    limit = pages[0].stat().st_size - 1
    assert limit > pages[1].stat().st_size
    with limited(resource.RLIMIT_FSIZE, limit):
        ended = marcot(*command)
    assert (ended.code, ended.err) == (74, f"error: {pages[0]}: cannot be written: File too large\n")
    assert "Models side by side" in ended.out
    new = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    assert new.keys() == old.keys()
    assert {path.name for path in old if new[path] == old[path]} >= {
        path.name for path in old if path.suffix == ".html"
    }
    assert new[pages[1]] != old[pages[1]], "its times are others"
