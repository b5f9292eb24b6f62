"""Drafts of data sets: runs that are stopped, killed or disturbed, and foreign files in the place of a draft."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.engine import InputError
from marcot.engine.dataset import DatasetBuilder, DatasetOptions
from marcot.engine.dataset.draft_folder import DraftFolder
from marcot.engine.errors import OutputError
from support.searches.dataset_runs import contents, encode, make, searches
from support.searches.finished_searches import write_lines


class Stopped(BaseException):
    """Like an interrupt: nothing catches it."""


def run_until(stop: Callable[[int], None], run: Callable[[], object]) -> None:
    """Call `run`, and before every write to the draft call `stop` with the number of writes so far."""
    written = 0
    append = DraftFolder.append

    def counted(self: DraftFolder, name: str, data: bytes) -> None:
        nonlocal written
        written += 1
        stop(written)
        append(self, name, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DraftFolder, "append", counted)
        run()


@settings(max_examples=8, deadline=None)
@given(
    stops=st.lists(st.integers(1, 120), min_size=1, max_size=4),
    torn=st.lists(st.integers(0, 400), min_size=1, max_size=4),
    every=st.sampled_from([0.0, 0.002, 9.0]),
)
def test_stopped_and_resumed_it_is_the_same(
    stops: list[int], torn: list[int], every: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("resumed")
    path = write_lines(folder / "r.jsonl", searches(25))
    whole = make([path], folder / "whole" / "data")

    def stop_at(point: int) -> Callable[[int], None]:
        def stop(written: int) -> None:
            if written == point:
                raise Stopped

        return stop

    out = folder / "data"
    for point, extra in zip(stops, torn, strict=False):
        builder = DatasetBuilder([path], out, DatasetOptions(), encode)
        try:
            run_until(stop_at(point), lambda builder=builder: builder.run(every))  # type: ignore[misc]
        except Stopped:
            # What a killed process leaves: a torn line, and bytes that were not flushed.
            for file in (folder / "data.partial").rglob("*.jsonl"):
                with file.open("ab") as tail:
                    tail.write(b'{"messages"'[:extra] + b"\0" * extra)
    assert make([path], out, checkpoint_seconds=every) == whole


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("point", [1, 30, 77, 150])
def test_killed_and_resumed_it_is_the_same(point: int, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "r.jsonl", searches(25))
    whole = make([path], tmp_path / "whole" / "data")

    def kill(written: int) -> None:
        if written == point:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        run_until(kill, lambda: DatasetBuilder([path], tmp_path / "data", DatasetOptions(), encode).run(0))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "killed before its end"
    assert not (tmp_path / "data").exists(), "a folder appears when it is finished"
    resumed = DatasetBuilder([path], tmp_path / "data", DatasetOptions(), encode).run()
    assert contents(tmp_path / "data") == whole
    assert (resumed.resumed_at > 0) == (point > 20)


def test_a_draft_with_other_options_is_refused(results: Path, tmp_path: Path) -> None:
    def stop(written: int) -> None:
        if written == 50:
            raise Stopped

    with pytest.raises(Stopped):
        run_until(stop, lambda: DatasetBuilder([results], tmp_path / "data", DatasetOptions(), encode).run(0))
    with pytest.raises(InputError, match="started with other options, sources or tokenizer"):
        DatasetBuilder([results], tmp_path / "data", DatasetOptions(seed=1), encode).run()
    with results.open("a") as file:
        file.write("\n")
    with pytest.raises(InputError, match="started with other options, sources or tokenizer"):
        DatasetBuilder([results], tmp_path / "data", DatasetOptions(), encode).run()


def test_another_tokenizer_is_noticed(results: Path, tmp_path: Path) -> None:
    def builder(tokenizer: str | None) -> DatasetBuilder:
        return DatasetBuilder([results], tmp_path / "data", DatasetOptions(tokenizer="m"), encode, tokenizer=tokenizer)

    def stop(written: int) -> None:
        if written == 50:
            raise Stopped

    with pytest.raises(Stopped):
        run_until(stop, lambda: builder("one").run(0))
    with pytest.raises(InputError, match="started with other options, sources or tokenizer"):
        builder("two").run()
    builder("one").run()
    with pytest.raises(InputError, match="made with other options, sources or tokenizer"):
        builder("two").run()


def test_two_runs_do_not_write_to_the_same_folder(tmp_path: Path) -> None:
    with DraftFolder(tmp_path / "data", "a"), pytest.raises(InputError, match="another run is writing there"):
        DraftFolder(tmp_path / "data", "a")


def stopped_draft(path: Path, out: Path) -> Path:
    """The draft of a run that was stopped after its first checkpoint."""

    def stop(written: int) -> None:
        if written == 50:
            raise Stopped

    with pytest.raises(Stopped):
        run_until(stop, lambda: DatasetBuilder([path], out, DatasetOptions(), encode).run(0))
    return out.with_name(out.name + ".partial")


THESES = (
    "thesis.txt",
    "files/keep.txt",
    "files/sft/keep.txt",
    "files/sft/train.jsonl",
    "notes",
    "lock",
    "checkpoint.json",
)


@pytest.mark.parametrize("thesis", THESES)
def test_a_folder_of_somebody_else_is_not_taken_for_a_draft(results: Path, tmp_path: Path, thesis: str) -> None:
    mine = tmp_path / "data.partial" / thesis
    mine.parent.mkdir(parents=True)
    mine.write_text('{"mine": 1}\n')
    with pytest.raises(InputError, match=r"data\.partial: already exists and is not a draft of marcot; move it"):
        make([results], tmp_path / "data")
    assert contents(tmp_path / "data.partial") == {thesis: b'{"mine": 1}\n'}
    finished = make([results], tmp_path / "other")
    (tmp_path / "data.partial").rename(tmp_path / "other.partial")
    assert make([results], tmp_path / "other") == finished
    assert contents(tmp_path / "other.partial") == {thesis: b'{"mine": 1}\n'}


@pytest.mark.parametrize("kind", ["an empty folder", "a file", "a link to a draft", "a link to nothing"])
def test_foreign_files_in_place_of_a_draft_stay(results: Path, tmp_path: Path, kind: str) -> None:
    draft = stopped_draft(results, tmp_path / "away" / "data")
    before = contents(draft)
    partial = tmp_path / "data.partial"
    if kind == "an empty folder":
        partial.mkdir()
    elif kind == "a file":
        partial.write_text("mine")
    else:
        partial.symlink_to(draft if kind == "a link to a draft" else tmp_path / "nowhere")
    with pytest.raises(InputError, match="is not a draft of marcot"):
        make([results], tmp_path / "data")
    assert os.path.lexists(partial)
    assert contents(draft) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({"away", "data.partial", results.name})


@pytest.mark.parametrize("thesis", ["thesis.txt", "files/keep.txt", "files/sft/keep.txt", "files/mine/train.jsonl"])
def test_what_somebody_put_into_a_draft_stays(results: Path, tmp_path: Path, thesis: str) -> None:
    draft = stopped_draft(results, tmp_path / "data")
    (draft / thesis).parent.mkdir(exist_ok=True)
    (draft / thesis).write_text("mine")
    before = contents(draft)
    with pytest.raises(InputError, match="is not part of a draft of marcot; move it"):
        make([results], tmp_path / "data")
    assert contents(draft) == before


@pytest.mark.parametrize("link", ["files/sft/train.jsonl", "files/sft", "notes"])
def test_a_draft_does_not_write_through_links(results: Path, tmp_path: Path, link: str) -> None:
    draft = stopped_draft(results, tmp_path / "data")
    (draft / link).rename(tmp_path / "mine")
    (draft / link).symlink_to(tmp_path / "mine")
    before = contents(tmp_path)
    with pytest.raises(InputError, match="is not part of a draft of marcot; move it"):
        make([results], tmp_path / "data")
    assert contents(tmp_path) == before


def test_a_draft_without_a_mark_is_resumed(results: Path, tmp_path: Path) -> None:
    whole = make([results], tmp_path / "whole" / "data")
    (stopped_draft(results, tmp_path / "data") / "lock").write_bytes(b"")
    assert make([results], tmp_path / "data") == whole
    assert not (tmp_path / "data.partial").exists()


def forged(checkpoint: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a checkpoint and make its checksum match."""
    saved = json.loads(checkpoint.read_text())
    del saved["sha256"]
    change(saved)
    whole = json.dumps(saved, sort_keys=True).encode()
    checkpoint.write_text(json.dumps(saved | {"sha256": hashlib.sha256(whole).hexdigest()}))


def test_a_checkpoint_that_does_not_fit_its_files_is_refused(results: Path, tmp_path: Path) -> None:
    draft = stopped_draft(results, tmp_path / "data")
    checkpoint = draft / "checkpoint.json"
    good = checkpoint.read_text()
    mark = {"size": 10**9, "sha256": hashlib.sha256(b"").hexdigest()}
    for name in ("../../results.jsonl", "/etc/passwd", "sft/train.jsonl", "sft/more.jsonl", "lock"):
        checkpoint.write_text(good)
        forged(checkpoint, lambda saved, name=name: saved["files"].update({name: mark}))  # type: ignore[misc]
        before = contents(tmp_path)
        with pytest.raises(InputError, match=f"{name} does not match the checkpoint; remove the folder"):
            make([results], tmp_path / "data")
        assert contents(tmp_path) == before
    for damaged in (
        "",
        "[]",
        good[:-5],
        "[" * 100_000,
        good.replace('"next": ', '"next": 1'),
        good.replace("sft", "pft"),
    ):
        checkpoint.write_text(damaged)
        with pytest.raises(
            InputError, match=r"checkpoint\.json: is damaged, .*; remove .*data\.partial, or give another"
        ):
            make([results], tmp_path / "data")


FORGERIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no identity": lambda saved: saved.pop("identity"),
    "size below none": lambda saved: saved["files"]["../notes"].update(size=-1),
    "size of half a byte": lambda saved: saved["files"]["../notes"].update(size=0.5),
    "files in a list": lambda saved: saved.update(files=[1]),
    "question beyond the last": lambda saved: saved["state"].update(next=10**6),
    "no next question": lambda saved: saved["state"].pop("next"),
    "count of counts": lambda saved: saved["state"]["tally"].update(passed={"traces": {}}),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_checkpoint_with_impossible_values_is_refused(results: Path, tmp_path: Path, forgery: str) -> None:
    draft = stopped_draft(results, tmp_path / "data")
    forged(draft / "checkpoint.json", FORGERIES[forgery])
    with pytest.raises(InputError, match=r"must be|required"):
        make([results], tmp_path / "data")


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "shorter": lambda content: content[:-1],
    "longer": lambda content: content + b"\0",
    "another byte": lambda content: content[: len(content) // 2] + b"~" + content[len(content) // 2 + 1 :],
    "another size": lambda content: content.replace(b'"size": ', b'"size": 1'),
}


def test_a_changed_draft_gives_the_same_bytes_or_is_refused(tmp_path: Path) -> None:
    results = write_lines(tmp_path / "results.jsonl", searches(9))
    whole = make([results], tmp_path / "whole" / "data")
    draft = stopped_draft(results, tmp_path / "data")
    good = contents(draft)
    for name in (*good, "checkpoint.new"):
        for change in (*CHANGES, "missing", "a pipe"):
            shutil.rmtree(tmp_path / "data", ignore_errors=True)
            shutil.rmtree(draft, ignore_errors=True)
            for each, content in good.items():
                (draft / each).parent.mkdir(parents=True, exist_ok=True)
                (draft / each).write_bytes(content)
            (draft / name).unlink(missing_ok=True)
            if change == "a pipe":
                os.mkfifo(draft / name)
            elif change != "missing":
                (draft / name).write_bytes(CHANGES[change](good.get(name, b"?")))
            try:
                made = make([results], tmp_path / "data")
            except InputError:
                assert not (tmp_path / "data").exists()
            else:
                assert made == whole, (name, change)


def test_leftovers_of_a_run_killed_after_its_last_step_are_removed(results: Path, tmp_path: Path) -> None:
    draft = stopped_draft(results, tmp_path / "data")
    files = draft / "files"
    files.rename(tmp_path / "away")
    made = make([results], tmp_path / "other")
    (tmp_path / "other").rename(tmp_path / "data")
    (draft / "thesis.txt").write_text("mine")
    assert make([results], tmp_path / "data") == made
    assert contents(draft) == {"thesis.txt": b"mine"}


def test_a_full_disk_is_an_error_and_the_run_goes_on_when_there_is_room(results: Path, tmp_path: Path) -> None:
    whole = make([results], tmp_path / "whole" / "data")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (100, 3000, 9000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(
                OutputError, match=r"data\.partial: File too large; fix this and run the same command again to resume"
            ):
                make([results], tmp_path / "data", checkpoint_seconds=0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert make([results], tmp_path / "data") == whole
    assert not (tmp_path / "data.partial").exists()


def test_a_draft_that_cannot_be_begun_leaves_nothing_behind(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, hard))
    try:
        with pytest.raises(OutputError, match=r"data\.partial: cannot be written: File too large"):
            DraftFolder(tmp_path / "data", "a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())
