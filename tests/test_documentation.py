"""README and docs: every command and example runs as printed, with tiny models under the names of real ones."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from marcot.engine.cli.app import app
from support.checkpoints.small_talker import write_built_in_models, write_talking_folder
from support.programs.code_blocks import code_blocks, inline_code

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "bench" / "results" / "dataset_card.md",
]
MOST_WORDS = 1300
"""Of README: everything else is in docs/."""

PROGRAM = typer.main.get_group(app)
COMMANDS = PROGRAM.commands

RECORDED_REPORTS = [
    path.with_name(name).relative_to(ROOT)
    for path in sorted((ROOT / "bench" / "results").glob("*/curve.csv"))
    for name in ("report.md", "report.json", "curve.csv")
]

PLACEHOLDERS = {
    "MODEL": "smollm2-135m",
    "A,B": "smollm2-135m,qwen2.5-coder-0.5b",
    "FILE": "questions.tsv",
    "RESULTS": "results.jsonl",
    "T": "'some text'",
}
"""Placeholders in README's table of commands, and real values for them."""

OTHER_OPTIONS = {
    *("--help", "--install-completion", "--show-completion"),
    *("--index-url", "--no-deps", "--only-binary", "--rounds"),
}
"""Options that typer adds, and options of other programs that the pages mention."""


def pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if any(b.language == language and not b.excuse for b in code_blocks(page))]


def page_id(page: Path) -> str:
    return page.stem


@pytest.fixture(scope="module")
def inputs(
    tmp_path_factory: pytest.TempPathFactory, real_model: Callable[[str], Path], tiny_checkpoint: Callable[..., Path]
) -> Path:
    """A folder with every file that the pages and the examples of `--help` use."""
    place = tmp_path_factory.mktemp("documented")
    write_built_in_models(real_model("smollm2-135m"), place / "models")
    shutil.copy(ROOT / "tests" / "engine" / "dataset" / "data" / "marco_cot_demo.json", place / "cot_demo.json")
    for name in ("my-checkpoint", "marco-o1", "llama-3.2"):
        write_talking_folder(place / name)
    shutil.copytree(tiny_checkpoint("qwen2"), place / "no-tokenizer")
    (place / "questions.tsv").write_text("What is 2 + 2?\t4\nWhat is 3 + 4?\t7\n")
    (place / "gsm8k.jsonl").write_text('{"question": "What is 2 + 2?", "answer": "2 + 2 = 4\\n#### 4"}\n' * 3)
    rows = "".join(f"train-{number},What is {number} + 2?,{number + 2}\n" for number in range(18))
    (place / "gsm8k.csv").write_text(f"id,question,answer\n{rows}")
    (place / "conversation.json").write_text('[{"role": "user", "content": "What is 2 + 2?"}]')
    (place / "more.jsonl").write_text('{"instruction": "What is 2 + 2?", "output": "<Output>4</Output>"}\n')
    return place


@pytest.fixture
def folder(inputs: Path, tmp_path: Path) -> Path:
    """A folder for one test, with `inputs` and a copy of bench/results."""
    for each in inputs.iterdir():
        (tmp_path / each.name).symlink_to(each)
    shutil.copytree(ROOT / "bench" / "results", tmp_path / "bench" / "results")
    return tmp_path


@pytest.fixture
def bash(folder: Path) -> Callable[[str], str]:
    """Run a script in the folder, with this `marcot` on the path; return its standard output."""
    programs = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "MARCOT_CACHE": str(folder / "models"),
        "OMP_NUM_THREADS": "1",
    }

    def run(script: str) -> str:
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert ended.returncode == 0, f"{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"
        return ended.stdout

    return run


def test_readme_is_read_in_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= MOST_WORDS


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_block_says_what_it_is(page: Path) -> None:
    assert {block.language for block in code_blocks(page)} <= {"sh", "python", "json", "text"}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for file, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text(encoding="utf-8")):
        target = page.parent / file if file else page
        assert target.exists(), file
        if heading:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings], file


@pytest.mark.real
@pytest.mark.parametrize("page", pages_with("sh"), ids=page_id)
def test_the_commands_of_a_page_run_one_after_the_other(page: Path, folder: Path, bash: Callable[[str], str]) -> None:
    blocks = [block for block in code_blocks(page) if block.language == "sh" and not block.excuse]
    bash("".join(f"echo '--- {block.page}, line {block.line}' >&2\n{block.text}" for block in blocks))
    # Commands that repeat a recorded measurement find all of it done, and make the same reports as recorded.
    for recorded in RECORDED_REPORTS:
        assert (folder / recorded).read_text() == (ROOT / recorded).read_text(), recorded


@pytest.mark.real
@pytest.mark.parametrize("page", pages_with("python"), ids=page_id)
def test_the_python_of_a_page_runs_from_top_to_bottom(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARCOT_CACHE", str(folder / "models"))
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    for block in code_blocks(page):
        if block.language == "python" and not block.excuse:
            exec(compile("\n" * (block.line - 1) + block.text, page, "exec"), names)


@pytest.mark.real
def test_the_table_of_commands_runs(bash: Callable[[str], str]) -> None:
    rows = re.findall(r"^\| `(marcot [^`]+)`", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) >= len(COMMANDS)
    ending = [row for row in rows if not row.startswith("marcot serve")]
    bash("\n".join(filled(row, folder=f"folder-{number}") for number, row in enumerate(ending)))


@pytest.mark.real
@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"serve"}))
def test_the_examples_of_help_run(name: str, bash: Callable[[str], str]) -> None:
    bash("\n".join(examples(name)))


@pytest.mark.real
def test_the_examples_of_serve_start(bash: Callable[[str], str], folder: Path) -> None:
    (folder / "keys.txt").write_text("k-3141592653589793\n")
    for line in examples("serve"):
        bash(
            f"""
            : > told; {line} 2> told & program=$!
            grep -m 1 '^serving .* at http://' < <(tail --pid=$program -n +1 -f told) || {{ cat told >&2; exit 1; }}
            kill $program; wait $program
            """
        )


def examples(name: str) -> list[str]:
    """The example commands in the help of a command."""
    text = re.sub(r"\\\n\s*", "", COMMANDS[name].help or "")
    lines = re.findall(r"^\s*(marcot .+)$", text, re.MULTILINE)
    assert lines
    return lines


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_what_the_text_calls_a_command_is_one(page: Path) -> None:
    for code in inline_code(page):
        words = shlex.split(code) if code.startswith(("marcot ", "make ")) else []
        if words[:1] == ["marcot"]:
            assert words[1].startswith("-") or words[1] in COMMANDS, code
        elif words:
            ended = subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, capture_output=True, check=False)
            assert ended.returncode == 0, code


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_what_the_text_calls_an_option_is_one(page: Path) -> None:
    known = {option for command in (PROGRAM, *COMMANDS.values()) for each in command.params for option in each.opts}
    for code in inline_code(page):
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", code))
        assert named <= known | OTHER_OPTIONS, code


def filled(command: str, folder: str) -> str:
    """A command of README's table with real values for the placeholders, and `folder` as the name of a new folder."""
    for placeholder, value in (PLACEHOLDERS | {"DIR": folder}).items():
        command = re.sub(rf"(?<=\s){placeholder}(?=\s|$)", value, command)
    return command
