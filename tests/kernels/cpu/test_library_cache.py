"""Which files of the library cache are loaded, and which are not."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest
from marcot.kernels.cpu.library_cache import cache_folder, find, keep, make_private

NAME = "marcot-0123456789"
CONTENTS = bytes(range(256)) * 700


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "cache" / "kernels"
    make_private(folder)
    return folder


@pytest.fixture
def kept(folder: Path) -> Path:
    """A library in the cache."""
    fresh = folder / "fresh"
    fresh.write_bytes(CONTENTS)
    return keep(fresh, folder, NAME)


@pytest.fixture
def give_away(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Make a file somebody else's: root gives it away; other users pretend to be somebody else."""

    def give(path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, 12345, -1)
        else:
            monkeypatch.setattr("os.geteuid", lambda: 12345)

    return give


def test_what_was_kept_is_found(folder: Path, kept: Path) -> None:
    assert find(folder, NAME) == kept
    assert kept.read_bytes() == CONTENTS
    assert list(folder.iterdir()) == [kept], "nothing else is left"
    assert find(folder, "marcot-9876543210") is None
    assert find(folder / "missing", NAME) is None


@pytest.mark.parametrize(
    "contents",
    [b"", CONTENTS[:1], CONTENTS[:100_000], CONTENTS[:-1], CONTENTS + b"\0", b"\x01" + CONTENTS[1:], CONTENTS[::-1]],
    ids=["empty", "one-byte", "half", "one-byte-less", "one-byte-more", "one-bit", "another"],
)
def test_other_contents_are_not_loaded_and_replaced(folder: Path, kept: Path, contents: bytes) -> None:
    kept.write_bytes(contents)
    assert find(folder, NAME) is None
    fresh = folder / "fresh"
    fresh.write_bytes(CONTENTS)
    assert keep(fresh, folder, NAME) == find(folder, NAME) == kept


def test_a_damaged_library_does_not_hide_a_whole_one(folder: Path, kept: Path) -> None:
    for digits in ("0" * 20, "f" * 20):
        (folder / f"{NAME}-{digits}.so").write_bytes(CONTENTS)
    assert find(folder, NAME) == kept


def test_what_is_no_file_is_not_loaded(folder: Path, kept: Path) -> None:
    elsewhere = kept.rename(folder / "elsewhere")
    kept.symlink_to(elsewhere)
    assert find(folder, NAME) is None, "a link leads to where others may write"
    kept.unlink()
    kept.mkdir()
    assert find(folder, NAME) is None


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777], ids=oct)
def test_what_others_can_write_is_not_loaded(folder: Path, kept: Path, mode: int) -> None:
    kept.chmod(mode)
    assert find(folder, NAME) is None
    kept.chmod(0o755)
    folder.chmod(mode)
    assert find(folder, NAME) is None
    make_private(folder)
    assert folder.stat().st_mode & 0o777 == 0o755
    assert find(folder, NAME) == kept


def test_what_is_somebody_elses_is_not_loaded(folder: Path, kept: Path, give_away: Callable[[Path], None]) -> None:
    give_away(kept)
    assert find(folder, NAME) is None


def test_a_folder_of_somebody_else_is_not_used(folder: Path, kept: Path, give_away: Callable[[Path], None]) -> None:
    give_away(folder)
    assert find(folder, NAME) is None
    with pytest.raises(PermissionError, match="it belongs to another user"):
        make_private(folder)


@pytest.mark.parametrize("levels", [0, 1], ids=["the-folder-above", "further-up"])
@pytest.mark.parametrize(("mode", "safe"), [(0o755, True), (0o777, False), (0o1777, True), (0o757, False)])
def test_others_must_not_be_able_to_exchange_a_folder(tmp_path: Path, levels: int, mode: int, safe: bool) -> None:
    folder = tmp_path / "a" / "b" / "kernels"
    make_private(folder)
    fresh = folder / "fresh"
    fresh.write_bytes(CONTENTS)
    kept = keep(fresh, folder, NAME)
    above = folder.parents[levels]
    above.chmod(mode)
    assert find(folder, NAME) == (kept if safe else None)
    if safe:
        make_private(folder)
    else:
        with pytest.raises(PermissionError, match=f"others may write to {above}"):
            make_private(folder)
    above.chmod(0o755)


@pytest.mark.parametrize("private", [True, False], ids=["private-group", "shared-group"])
def test_a_group_may_write_above_if_it_is_the_users_own(
    folder: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, private: bool
) -> None:
    """Many systems give each user a group, which may write to all of the user's files."""
    user = pwd.struct_passwd(("me", "x", os.geteuid(), 0, "", "/", "/bin/sh"))
    members = [] if private else ["somebody"]
    monkeypatch.setattr(pwd, "getpwuid", lambda _: user)
    monkeypatch.setattr(grp, "getgrgid", lambda number: grp.struct_group(("me", "x", number, members)))
    folder.parent.chmod(0o775)
    assert find(folder, NAME) == (kept if private else None)


def test_a_link_to_a_cache_is_followed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "link"))
    assert cache_folder() == tmp_path / "real" / "marcot" / "kernels"


def test_a_user_without_a_home_has_a_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cache_folder() == tmp_path / f"marcot-{os.geteuid()}" / "kernels"
