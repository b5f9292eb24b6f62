from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from grown_tree import grown_tree
from marcot.engine import InputError
from marcot.engine.view import TreeFile, read_tree


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("out.html", "<!doctype html>"),
        ("out.HTML", "<!doctype html>"),
        ("out.dot", "digraph"),
        ("out.json", '{"format"'),
    ],
)
def test_the_ending_says_what_is_written(tmp_path: Path, name: str, start: str) -> None:
    result = grown_tree(1, 3)
    path = TreeFile(tmp_path / name, numbered=False).write(0, result, {"model": "toy"})
    assert path == tmp_path / name
    assert path.read_text(encoding="utf-8").startswith(start)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["out", "out.svg", "out.htm", ".html", "out.json.gz"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"ends in \.html, \.dot, \.json"):
        TreeFile(tmp_path / name, numbered=False)


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "file").touch()
    for path, message in (
        (tmp_path / "none" / "out.html", "cannot be written: .*none: No such file"),
        (tmp_path / "file" / "out.html", "cannot be written: .*file: Not a directory"),
        (tmp_path / "folder.html", "is a folder"),
    ):
        with pytest.raises(InputError, match=message):
            TreeFile(path, numbered=False)


def test_a_place_that_vanishes_meanwhile_is_an_error_of_ours(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = TreeFile(folder / "out.html", numbered=False)
    folder.rmdir()
    with pytest.raises(InputError, match="cannot be written"):
        file.write(0, grown_tree(1, 1), {})


def test_many_questions_have_a_file_each(tmp_path: Path) -> None:
    file = TreeFile(tmp_path / "out.json", numbered=True)
    for index in (0, 11):
        file.write(index, grown_tree(index, 2), {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out-0001.json", "out-0012.json"]
    assert repr(asdict(read_tree(tmp_path / "out-0012.json"))) == repr(asdict(grown_tree(11, 2)))


def test_what_was_there_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "out.dot").write_text("old")
    TreeFile(tmp_path / "out.dot", numbered=False).write(0, grown_tree(1, 1), {})
    assert "old" not in (tmp_path / "out.dot").read_text(encoding="utf-8")
