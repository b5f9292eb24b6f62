"""Which checkpoint a name stands for."""

import sys

import pytest
from marcot.model import CheckpointError, DownloadError, ModelNotFoundError, find_here, load_checkpoint, locate


def test_existing_paths_come_first(tiny_checkpoint, tmp_path, monkeypatch):
    folder = tiny_checkpoint("qwen2")
    assert locate(folder) == locate(str(folder)) == folder
    (tmp_path / "smollm2-135m").mkdir()
    monkeypatch.chdir(tmp_path)
    assert locate("smollm2-135m").is_dir()


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model.gguf").touch()
    assert locate("~/model.gguf") == tmp_path / "model.gguf"


def test_a_user_without_a_home_is_part_of_a_name(tmp_path, monkeypatch):
    name = "~no-such-user/model.gguf"
    assert find_here(name) is None
    with pytest.raises(ModelNotFoundError, match=name):
        locate(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~no-such-user").mkdir()
    (tmp_path / name).touch()
    assert find_here(name).samefile(tmp_path / name)
    assert locate(name).samefile(tmp_path / name)


def test_load_checkpoint(tiny_checkpoint):
    with load_checkpoint(str(tiny_checkpoint("qwen2"))) as checkpoint:
        assert checkpoint.config.num_heads == 14


@pytest.mark.parametrize(
    "name", ["", "gpt-5", "./missing", "/missing/folder", "missing.gguf", "org/missing.gguf", "a/b/c"]
)
def test_unknown_name_lists_what_is_accepted(name):
    with pytest.raises(ModelNotFoundError) as caught:
        locate(name)
    assert repr(name) in str(caught.value)
    assert all(
        word in str(caught.value) for word in ("folder", ".gguf", "hub id", "qwen2.5-coder-0.5b", "smollm2-135m")
    )


def test_hub_out_of_reach(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match=r"nobody/nothing: the hub cannot be reached .*give a folder"):
        locate("nobody/nothing")


def test_hub_model_that_is_already_here(monkeypatch, tmp_path):
    """A folder as `hf download` leaves it: a snapshot, and a reference to it from its branch."""
    from huggingface_hub import constants

    commit = "0" * 40
    repository = tmp_path / "models--nobody--nothing"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert locate("nobody/nothing") == repository / "snapshots" / commit


def test_hub_package_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DownloadError, match=r"pip install 'marcot\[hub\]'"):
        locate("nobody/nothing")


def test_gguf_package_missing(monkeypatch, tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + bytes(64))
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(CheckpointError, match=r"model\.gguf: .*pip install gguf"):
        load_checkpoint(tmp_path / "model.gguf")
