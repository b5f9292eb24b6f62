"""What is published: an sdist, and a wheel that is built from it and installed away from the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PARTS = ("engine", "kernels", "model")
KINDS = (".py", ".h", ".cpp", ".html", ".css", ".js", ".json")

INSTALLED = """
import sys
import marcot
from marcot import Engine, MCTS, Sampling

assert marcot.__file__.startswith(sys.prefix), marcot.__file__
engine = Engine.load(sys.argv[1], kv_tokens=64)
[child] = engine.expand(engine.prefill([5, 7]), 1, Sampling(temperature=0.0, max_tokens=3, ignore_eos=True))
print(len(child.token_ids))
"""


class Distribution(NamedTuple):
    sdist: Path
    wheel: Path
    log: str


def ran(*command: object, **options: object) -> str:
    """Run `command`, which must succeed, and return everything it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    ended = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, check=False, **options
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def sources() -> set[str]:
    """The files that are installed, by their paths in the repository."""
    found = [file for part in PARTS for file in (ROOT / part).rglob("*") if file.suffix in KINDS]
    found += [*(ROOT / "engine/evaluation/data").iterdir(), *ROOT.glob("*/py.typed"), ROOT / "engine/root/py.typed"]
    return {str(file.relative_to(ROOT)) for file in found}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    folder = tmp_path_factory.mktemp("published")
    source = folder / "source"
    for part in (*PARTS, "docs"):
        shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("tests", "bench", "pyproject.toml", "README.md", "LICENSE"):
        (source / part).symlink_to(ROOT / part)
    log = ran(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", source)
    [sdist] = (folder / "dist").glob("*.tar.gz")
    [wheel] = (folder / "dist").glob("*.whl")
    return Distribution(sdist, wheel, log)


@pytest.fixture(scope="module")
def installed(published: Distribution, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a new environment with the wheel; its dependencies are those of the tests."""
    folder = tmp_path_factory.mktemp("installed")
    ran(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    ran(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", published.wheel)
    own = ran(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    # The .pth files inside a folder that a .pth file names are not read, so the checkout stays invisible.
    (Path(own) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_building_warns_of_nothing(published: Distribution) -> None:
    warnings = [line for line in published.log.splitlines() if re.search(r"warning|deprecat|ignored", line, re.I)]
    assert warnings == []


def test_the_wheel_holds_the_package_and_nothing_else(published: Distribution) -> None:
    files = {name for name in zipfile.ZipFile(published.wheel).namelist() if ".dist-info/" not in name}
    expected = {"marcot/" + name.removeprefix("engine/root/") for name in sources()}
    assert {"marcot/__init__.py", "marcot/py.typed", "marcot/kernels/cpu/src/marcot.cpp"} <= expected
    assert files == expected


def test_the_sdist_holds_every_source(published: Distribution) -> None:
    with tarfile.open(published.sdist) as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
    assert sources() | {"pyproject.toml", "README.md", "LICENSE"} <= files


def test_its_metadata_pass_on_an_index(published: Distribution) -> None:
    ran(sys.executable, "-m", "twine", "check", "--strict", published.sdist, published.wheel)


def test_its_description_leads_nowhere_that_only_the_repository_has() -> None:
    text = (ROOT / PROJECT["readme"]).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)]*)\)", text)
    assert targets
    assert [target for target in targets if not target.startswith("https://")] == []


def test_the_wheel_works_where_no_checkout_is(
    installed: Path, tiny_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    version = f"marcot {PROJECT['version']}\n"
    assert ran(installed / "marcot", "--version", cwd=tmp_path) == version
    assert ran(installed / "python", "-m", "marcot", "--version", cwd=tmp_path) == version
    assert "Usage: " in ran(installed / "python", "-m", "marcot", "--help", cwd=tmp_path)
    printed = ran(installed / "python", "-c", INSTALLED, tiny_checkpoint("qwen2"), cwd=tmp_path)
    assert printed.splitlines()[-1] == "3"
