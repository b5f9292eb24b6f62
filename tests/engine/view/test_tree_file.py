"""Where trees are written, and which files they never replace."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import pytest
from marcot.engine import InputError
from marcot.engine.errors import OutputError
from marcot.engine.view import TreeFile, read_tree
from support.searches.grown_tree import grown_tree


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


def test_a_folder_that_vanishes_is_a_typed_error(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = TreeFile(folder / "out.html", numbered=False)
    folder.rmdir()
    with pytest.raises(OutputError, match="cannot be written"):
        file.write(0, grown_tree(1, 1), {})


def test_many_questions_have_a_file_each(tmp_path: Path) -> None:
    file = TreeFile(tmp_path / "out.json", numbered=True)
    for index in (0, 11):
        file.write(index, grown_tree(index, 2), {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out-0001.json", "out-0012.json"]
    assert repr(asdict(read_tree(tmp_path / "out-0012.json"))) == repr(asdict(grown_tree(11, 2)))


@pytest.mark.parametrize("name", ["out.html", "out.dot", "out.json"])
def test_a_tree_is_replaced_and_keeps_its_permissions(tmp_path: Path, name: str) -> None:
    path = TreeFile(tmp_path / name, numbered=False).write(0, grown_tree(1, 1), {})
    path.chmod(0o640)
    old = path.read_text(encoding="utf-8")
    TreeFile(path, numbered=False).write(0, grown_tree(7, 3), {})
    assert path.read_text(encoding="utf-8") != old
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_link_names_is_replaced_and_not_the_link(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    link = tmp_path / "out.dot"
    link.symlink_to(tmp_path / "far" / "tree.dot")
    TreeFile(link, numbered=False).write(0, grown_tree(1, 1), {})
    assert link.is_symlink()
    assert [path.name for path in (tmp_path / "far").iterdir()] == ["tree.dot"]


FOREIGN = {
    "out.html": "<!doctype html>\n<title>My page about marcot search</title>\n",
    "out.dot": "digraph search {\n  a -> b;\n}\n",
    "out.json": '{"name": "package.json"}\n',
}


@pytest.mark.parametrize(("name", "content"), FOREIGN.items(), ids=FOREIGN)
def test_a_file_of_somebody_else_is_refused_and_left_as_it_is(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError, match=f"{name}: exists and is not a tree of marcot search; give another"):
        TreeFile(path, numbered=False)
    numbered = path.rename(path.with_stem("out-0003"))
    file = TreeFile(path, numbered=True)
    file.check([0, 1])
    with pytest.raises(InputError, match="out-0003"):
        file.check([0, 1, 2])
    with pytest.raises(InputError, match="out-0003"):
        file.write(2, grown_tree(1, 1), {})
    assert numbered.read_text() == content
    assert list(tmp_path.iterdir()) == [numbered]


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out.dot")
    with pytest.raises(InputError, match="is not a regular file"):
        TreeFile(tmp_path / "out.dot", numbered=False)
