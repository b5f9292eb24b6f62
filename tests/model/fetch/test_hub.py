"""Checkpoint names on the hub, and what a repository provides, with a stand-in server over HTTP."""

import json
import os
import subprocess
import sys

import pytest
from marcot.model.fetch.hub import HubName, hub_name
from support.checkpoints.hub_server import hub_server

FOLDER = {
    "config.json": b'{"is": "main"}',
    "model.safetensors": b"weights",
    "tokenizer_config.json": b"{}",
    "special_tokens_map.json": b"{}",
    "vocab.json": b"{}",
    "merges.txt": b"",
    "added_tokens.json": b"{}",
    "README.md": b"not wanted",
    "pytorch_model.bin": b"never wanted",
}
REPOSITORIES = {
    "org/folder": {"main": FOLDER, "v1.0": FOLDER | {"config.json": b'{"is": "v1.0"}'}},
    "org/some-GGUF": {
        "main": {
            "README.md": b"",
            "some-Q4_K_M.gguf": b"four",
            "some-q8_0.gguf": b"eight",
            "some-q5_k_m-00001-of-00002.gguf": b"",
            "some-q5_k_m-00002-of-00002.gguf": b"",
            "deep/some-IQ2_M.gguf": b"two",
        },
        "old": {"some-Q4_K_M.gguf": b"four of old"},
    },
    "org/pickled": {"main": {"config.json": b"{}", "pytorch_model.bin": b""}},
    "org/adapter": {"main": {"adapter_config.json": b"{}", "adapter_model.bin": b""}},
}
NAMES = {
    "org/folder": "config.json={'is': 'main'}",
    "org/folder@v1.0": "config.json={'is': 'v1.0'}",
    "org/some-GGUF:some-Q4_K_M.gguf": "file=four",
    "org/some-GGUF@old:some-Q4_K_M.gguf": "file=four of old",
    "org/some-GGUF:Q4_K_M": "file=four",
    "org/some-GGUF:q8_0": "file=eight",
    "org/some-GGUF:IQ2_M": "file=two",
    "org/some-GGUF:deep/some-IQ2_M.gguf": "file=two",
    "org/adapter": "folder",
    "org/none": "org/none: the hub has no such model",
    "org/folder@v9": "org/folder@v9: the model has no branch, tag or commit of that name",
    "org/some-GGUF": "has no safetensors; its GGUF files: org/some-GGUF:deep/some-IQ2_M.gguf, "
    "org/some-GGUF:some-Q4_K_M.gguf",
    "org/some-GGUF:missing.gguf": "has no file missing.gguf; its GGUF files: org/some-GGUF:deep",
    "org/some-GGUF:../../other.gguf": "no GGUF file is called ../../other.gguf",
    "org/some-GGUF:/etc/other.gguf": "no GGUF file is called /etc/other.gguf",
    "org/some-GGUF:Q6_K": "no GGUF file is called Q6_K; its GGUF files: org/some-GGUF:deep",
    "org/some-GGUF:Q5_K_M": "Q5_K_M fits 2 files; its GGUF files:",
    "org/folder:Q4_K_M": "no GGUF file is called Q4_K_M; it has no GGUF file either, only README.md, added_tokens.json",
    "org/pickled": "has no safetensors; it has no GGUF file either, only config.json, pytorch_model.bin",
}
SCRIPT = """
import json, sys
from marcot.kernels import MarcotError
from marcot.model import locate
answers = {}
for name in json.loads(sys.argv[1]):
    try:
        path = locate(name)
        config = path / "config.json"
        if path.is_file():
            answers[name] = "file=" + path.read_text()
        else:
            answers[name] = f"config.json={json.loads(config.read_text())}" if config.exists() else "folder"
            answers[name] += " " + " ".join(sorted(file.name for file in path.iterdir()))
    except MarcotError as error:
        answers[name] = f"{type(error).__name__} {error}"
print(json.dumps(answers))
"""


def ask(address: str, cache: str, **environment: str) -> dict[str, str]:
    """What a process with this hub makes of all `NAMES`: the client reads the address when it is imported."""
    settings = {"HF_ENDPOINT": address, "HF_HOME": cache, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    settings["NO_PROXY"] = "127.0.0.1"
    command = [sys.executable, "-c", SCRIPT, json.dumps(list(NAMES))]
    done = subprocess.run(
        command, env=os.environ | settings | environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    answers: dict[str, str] = json.loads(done.stdout)
    return answers


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """First with the hub reachable, and then without it."""
    cache = str(tmp_path_factory.mktemp("hub"))
    with hub_server(REPOSITORIES) as address:
        online = ask(address, cache)
    return {"online": online, "offline": ask(address, cache, HF_HUB_OFFLINE="1")}


@pytest.mark.parametrize(("name", "expected"), NAMES.items(), ids=NAMES.keys())
def test_what_the_hub_gives(name, expected, answers):
    assert expected in answers["online"][name]


def test_which_files_are_fetched(answers):
    files = answers["online"]["org/folder"].partition("} ")[2].split()
    assert files == sorted(set(FOLDER) - {"README.md", "pytorch_model.bin"})


@pytest.mark.parametrize(
    "name",
    [name for name, expected in NAMES.items() if expected.startswith(("config.json=", "file="))],
)
def test_what_is_here_needs_no_hub(name, answers):
    assert NAMES[name] in answers["offline"][name]


def test_what_is_not_here_needs_the_hub(answers):
    assert "go online, or give a folder" in answers["offline"]["org/none"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Qwen/Qwen2.5-0.5B", HubName("Qwen/Qwen2.5-0.5B")),
        ("a/b@main", HubName("a/b", "main")),
        ("a/b@refs/pr/1", HubName("a/b", "refs/pr/1")),
        ("a/b:c-Q4_0.gguf", HubName("a/b", None, "c-Q4_0.gguf")),
        ("a/b@v1:sub/c.gguf", HubName("a/b", "v1", "sub/c.gguf")),
        ("a/b:Q4_0", HubName("a/b", None, "Q4_0")),
        ("org/missing.gguf", None),
        ("../b", None),
        ("/a/b", None),
        ("a/b/c", None),
        ("a", None),
        ("a/b:", None),
        ("a/b@", None),
        ("a/b:c:d", None),
    ],
)
def test_names(name, expected):
    assert hub_name(name) == expected
