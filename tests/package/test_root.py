"""`import marcot`: the whole API under one name."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import marcot
import marcot.engine
import pytest

ROOT = Path(__file__).resolve().parents[2]

LAZY = """
import sys
import marcot

assert "Engine" in dir(marcot), dir(marcot)
assert marcot.__version__
sys.exit("torch" in sys.modules)
"""


@pytest.mark.parametrize("name", marcot.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(marcot, name) is not None
    assert name in dir(marcot)


def test_the_root_has_what_the_engine_has() -> None:
    assert set(marcot.__all__) == {"__version__", *marcot.engine.__all__}
    assert marcot.Engine is marcot.engine.Engine


def test_a_star_import_brings_all() -> None:
    names: dict[str, object] = {}
    exec("from marcot import *", names)
    assert set(marcot.__all__) <= names.keys()


@pytest.mark.parametrize("part", ["engine", "kernels", "model"])
def test_parts_are_attributes(part: str) -> None:
    assert getattr(marcot, part) is importlib.import_module(f"marcot.{part}")
    assert part in dir(marcot)


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert marcot.__version__ == project["version"]


def test_what_is_not_there_is_said_as_python_says_it() -> None:
    with pytest.raises(AttributeError, match="module 'marcot' has no attribute 'Engin'"):
        _ = marcot.Engin
    with pytest.raises(ImportError, match="cannot import name 'Engin' from 'marcot'"):
        exec("from marcot import Engin")


def test_importing_it_does_not_wait_for_torch() -> None:
    assert subprocess.run([sys.executable, "-c", LAZY], check=False).returncode == 0
