"""Untrusted text on its way to a terminal: every command, with terminal control sequences in every input."""

from __future__ import annotations

import ast
import json
import os
import pty
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import marcot.engine
import pytest
from marcot.engine import Engine, Outcome
from marcot.engine.cli.app import main
from support.checkpoints import tiny_gguf
from support.searches.hostile_text import everywhere

HOSTILE = "\x1b[35;5mA\x1b]0;own\x07\x9b8m\u202eB\u2066\u2028\U000e0041[bold]C[/bold][link=x]D[/link]:smile:\b\x7fE"
"""Control sequences, text that reverses direction, invisible characters, and what rich would take for markup."""

SHOWN = "␛[35;5mA␛]0;own␇\ufffd8m\ufffdB\ufffd\ufffd\ufffd[bold]C[/bold][link=x]D[/link]:smile:␈␡E"

ROOT = Path(marcot.engine.__file__).parents[1]
OF_RICH = re.compile(r"\x1b\[(?:\?25[lh]|[12]?[KA]|(?:[0-9]|9[0-7]|3[0-7])(?:;[0-9]{1,3})*m)|\r\n?")
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f]"
)


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[int, str]]]:
    """Run a command in this process with all streams on a terminal; return its exit code and what the terminal got."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "500")

    def run(*arguments: object) -> tuple[int, str]:
        near, far = pty.openpty()
        sent: list[bytes] = []
        reader = threading.Thread(target=lambda: sent.extend(iter(lambda: _read(near), b"")))
        reader.start()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["marcot", *map(str, arguments)])
            for name in ("stdout", "stderr"):
                patch.setattr(sys, name, open(os.dup(far), "w", encoding="utf-8"))  # noqa: SIM115
            try:
                main()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0
            finally:
                for stream in (sys.stdout, sys.stderr):
                    stream.close()
                os.close(far)
                reader.join()
                os.close(near)
        text = b"".join(sent).decode()
        assert "\x1b[35;5" not in text
        assert not re.search(r"␛\[[?12][25K]", text), "a bar's own commands"
        left = UNSEEN.search(OF_RICH.sub("", text))
        assert left is None, text
        return code, OF_RICH.sub("", text.replace("\r\n", "\n"))

    return run


def _read(number: int) -> bytes:
    try:
        return os.read(number, 65536)
    except OSError:  # Linux reports the end of a terminal's other side this way
        return b""


@pytest.fixture(scope="module")
def stranger(talker: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in a folder with a hostile name."""
    return Path(shutil.copytree(talker, tmp_path_factory.mktemp("of") / HOSTILE.replace("/", "|")))


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / f"{HOSTILE.replace('/', '|')}.jsonl"
    rows = [{"question": f"{HOSTILE} {number}?", "answer": HOSTILE, "situation": HOSTILE} for number in range(2)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


QUICK = ("--rollouts", 2, "--max-rollout-tokens", 8, "--threads", 1)


def test_a_question_is_seen_as_it_is(on_terminal: Callable, stranger: Path) -> None:
    code, text = on_terminal("search", "-m", stranger, *QUICK, "--instruction", HOSTILE, "--system", HOSTILE, HOSTILE)
    assert code == 0
    assert text.count("[/link]:smile:␈␡E") == 2, "the instruction, and the question as the root of the tree"
    assert SHOWN.replace("[/", "[|") in text, "the model's name"


def test_json_on_a_terminal_means_the_same(on_terminal: Callable, talker: Path) -> None:
    code, text = on_terminal("search", "-m", talker, *QUICK, "--json", HOSTILE)
    [line] = [line for line in text.splitlines() if line.startswith("{")]
    assert (code, json.loads(line)["question"]) == (0, HOSTILE)


def test_an_answer_is_seen_as_it_is(on_terminal: Callable, talker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = Outcome(0, HOSTILE, everywhere(HOSTILE), None)
    monkeypatch.setattr(Engine, "stream", lambda *_, **__: (each for each in [outcome]))
    code, text = on_terminal("search", "-m", talker, *QUICK, "--solutions", 2, "How many?")
    assert (code, SHOWN in text) == (0, True)


@pytest.mark.parametrize("options", [(), ("-n", 2), ("--chat", "--system", HOSTILE)], ids=["live", "samples", "chat"])
def test_samples_are_seen_as_they_are(on_terminal: Callable, stranger: Path, options: tuple[object, ...]) -> None:
    code, _ = on_terminal("generate", "-m", stranger, "--max-tokens", 8, "--temperature", 2, *options, HOSTILE)
    assert code == 0


def test_tokens_are_seen_as_they_are(on_terminal: Callable, stranger: Path) -> None:
    code, text = on_terminal("score", "-m", stranger, HOSTILE)
    assert (code, "'\\x1b'" in text) == (0, True)


def test_an_evaluation_shows_names_as_they_are(on_terminal: Callable, stranger: Path, questions: Path) -> None:
    strategies = ("--strategy", f"greedy:label={HOSTILE}", "--set", "max_rollout_tokens=8")
    out = questions.parent / "out"
    code, text = on_terminal("eval", "-m", stranger, "--input", questions, *strategies, "--out", out)
    assert (code, SHOWN in text) == (0, True)
    assert UNSEEN.search((out / "report.md").read_text(encoding="utf-8")) is None
    assert UNSEEN.search((out / "report.json").read_text(encoding="utf-8")) is None


def test_a_comparison_shows_names_as_they_are(on_terminal: Callable, stranger: Path, questions: Path) -> None:
    page = questions.parent / "report.md"
    strategies = ("--strategy", f"greedy:label={HOSTILE}", "--set", "max_rollout_tokens=8")
    for out in ((), ("--out", page)):
        code, text = on_terminal("compare", "-m", stranger, "--input", questions, *strategies, *out)
        assert (code, SHOWN in text) == (0, True)
    assert UNSEEN.search(page.read_text(encoding="utf-8")) is None


def test_a_data_set_is_reported_as_it_is(on_terminal: Callable, talker: Path, questions: Path) -> None:
    results = questions.with_name(f"results {questions.name}")
    assert on_terminal("search", "-m", talker, *QUICK, "--input", questions, "--out", results)[0] == 0
    out = results.with_suffix("")
    code, text = on_terminal("dataset", results, "--out", out, "--tokenizer", "none", "--license", HOSTILE)
    assert (code, "2 questions" in text) == (0, True)
    for file in ("README.md", "dataset_info.json"):
        assert UNSEEN.search((out / file).read_text(encoding="utf-8")) is None


@pytest.mark.parametrize(
    "arguments",
    [
        (f"--{HOSTILE}",),
        (HOSTILE,),
        ("search", f"--{HOSTILE}"),
        ("search", "-m", "x", "y", HOSTILE),
        ("search", "-m", HOSTILE, "y"),
        ("search", "-m", "x", "--strategy", HOSTILE, "y"),
        ("search", "-m", "x", "--input", f"{HOSTILE}.jsonl"),
        ("search", "-m", "x", "--value", f"{HOSTILE}:value", "y"),
        ("generate", "-m", "x", "--messages", HOSTILE),
        ("score", "-m", "x", "--token-ids", HOSTILE.rsplit("\u2028", maxsplit=1)[-1]),
        ("models", "--fetch", HOSTILE),
        ("eval", "-m", "x", "--input", HOSTILE),
        ("compare", "-m", "x", "--out", f"{HOSTILE}.html"),
        ("dataset", HOSTILE, "--out", "x"),
    ],
    ids=range(14),
)
def test_what_is_refused_is_quoted_as_it_is(on_terminal: Callable, arguments: tuple[str, ...]) -> None:
    code, text = on_terminal(*arguments)
    assert code not in (0, 1)
    assert "[bold]C[/bold]" in text
    assert sum(line.startswith("error: ") for line in text.splitlines()) == 1


@pytest.mark.parametrize("variable", ["MARCOT_KERNELS", "MARCOT_CACHE", "COLUMNS", "XDG_CACHE_HOME"])
def test_the_environment_is_quoted_as_it_is(
    on_terminal: Callable, talker: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, HOSTILE)
    on_terminal("models")
    on_terminal("generate", "-m", talker, "--max-tokens", 1, "x")


def test_a_template_that_refuses_is_quoted_as_it_is(on_terminal: Callable, talker: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(talker, tmp_path / "model"))
    template = f"{{{{ raise_exception({HOSTILE!r}) }}}}"
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    code, text = on_terminal("search", "-m", folder, *QUICK, "How many?")
    assert (code, "[bold]C[/bold][link=x]D[/link]" in text) == (4, True)


def test_a_module_that_fails_is_quoted_as_it_is(
    on_terminal: Callable, talker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "hostile_value.py").write_text(
        f"import sys\nprint({HOSTILE!r})\nprint({HOSTILE!r}, file=sys.stderr)\n"
        f"def value(*_):\n    raise ValueError({HOSTILE!r})\n",
        encoding="utf-8",
    )
    code, text = on_terminal("search", "-m", talker, *QUICK, "--value", "hostile_value:value", "How many?")
    assert (code, text.count("[bold]C[/bold]")) == (2, 3)


def test_a_tensor_of_a_file_is_quoted_as_it_is(on_terminal: Callable, talker: Path, tmp_path: Path) -> None:
    def edit(writer: tiny_gguf.GGUFWriter) -> None:
        [tensors] = writer.tensors
        tensors[HOSTILE] = tensors.pop("blk.0.attn_q.weight")

    path = tiny_gguf.convert(talker, tmp_path / "model.gguf", edit=edit)
    code, _ = on_terminal("generate", "-m", path, "--token-ids", "1")
    assert code == 4


def test_an_interruption_is_reported(
    on_terminal: Callable, talker: Path, questions: Path, ctrl_c_after_an_answer: None
) -> None:
    results = questions.with_name(f"results {questions.name}")
    code, text = on_terminal("search", "-m", talker, *QUICK, "--input", questions, "--out", results)
    assert code == 130
    assert "interrupted: finished 1 of 2 questions; run the same command again to resume from" in text


def test_a_traceback_is_shown_as_it_is(on_terminal: Callable, talker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Engine:
        raise RuntimeError(HOSTILE)

    monkeypatch.setattr(Engine, "load", fail)
    with pytest.raises(RuntimeError):
        on_terminal("generate", "-m", talker, "x")


# Modules that print by themselves, and why nothing but `streams` and `Terminal` has to filter their text.
_CONSOLES = {
    "engine/text/terminal.py": "the console that all others are",
    "model/fetch/download_progress.py": "shows titles of the catalogue alone",
}
_STREAMS = {"engine/cli/streams.py": "wraps them"}


def test_no_output_bypasses_the_filters_of_text() -> None:
    """Rich consoles of their own, raw file descriptors, buffers and Python's `__stdout__` would bypass the filters."""
    found = set()
    for path in sorted(ROOT.glob("[ekm]*/**/*.py")):
        where = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="Live" | "Progress" | "Bars"), keywords=keywords):
                    words = {word.arg for word in keywords}
                    if "console" in words and not words >= {"redirect_stdout", "redirect_stderr"}:
                        found.add(where)
                case ast.ImportFrom(module="rich.console", names=names) if any(n.name == "Console" for n in names):
                    found.add(where) if where not in _CONSOLES else None
                case (
                    ast.ImportFrom(module="rich" | "rich.markup" | "click" | "typer.rich_utils")
                    | ast.Import(names=[ast.alias(name="click")])
                ):
                    found.add(where)
                case ast.Call(func=ast.Attribute(attr="status")):
                    found.add(where)
                case ast.Attribute(value=ast.Name(id="request"), attr="echo"):
                    pass  # a field of the server's requests
                case ast.Attribute(attr="from_markup" | "echo" | "secho" | "__stdout__" | "__stderr__"):
                    found.add(where)
                case ast.Attribute(value=ast.Attribute(attr="stdout" | "stderr"), attr="buffer" | "fileno"):
                    found.add(where) if where not in _STREAMS else None
                case _:
                    pass
    assert found == set()
