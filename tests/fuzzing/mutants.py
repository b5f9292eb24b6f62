"""Mutants: valid checkpoints in which some bytes, fields or files have been changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

from . import byte_mutation, gguf_mutation, json_mutation, safetensors_mutation, tokenizer_mutation

_TEMPLATES = (
    "", "{{ messages }}", "{{ messages[0].content }}", "{{ 1 / 0 }}", "{{ x.y.z }}", "{% for m in messages %}", "{{",
    "{{ raise_exception('no\x1b[2J') }}", "{{ '\ud83c' }}", "\xff\xfe", "{{ bos_token }}{{ pad_token + 1 }}",
    "{% set a = [] %}{{ a.append(a) }}{{ a }}", "{{ messages | map(attribute='nope') | list }}", "\0", "a" * 100_000,
)  # fmt: skip

_WEIGHTS = {"tokenizer.json": 3, "config.json": 2}

Change = Callable[[Path, Random], str]
"""Changes a file in place; returns a description."""


class Mutant(NamedTuple):
    """A checkpoint to load.

    Attributes:
        path: Its folder.
        told: What was changed in which file.
    """

    path: Path
    told: str


def mutant(bases: Path, path: Path, random: Random, only: str = "*") -> Mutant:
    """Copy one of the folders in `bases` to `path`, and change one or two of its files that match `only`."""
    matching = sorted(base for base in bases.iterdir() if any(base.glob(only)))
    ggufs = [base for base in matching if base.name.startswith("gguf-")]
    base = random.choice(random.choice((ggufs, matching)) or matching)
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(base, path)
    told = []
    for _ in range(random.choice((1, 1, 1, 1, 2))):
        files = sorted(path.glob(only))
        if not files:
            break
        file = random.choices(files, [_WEIGHTS.get(file.name, 1) for file in files])[0]
        change = _as_a_file if random.random() < 0.03 or not _is_small(file) else random.choice(_changes(file.name))
        try:
            told.append(f"{file.name}: {change(file, random)}")
        except Exception:  # the previous change left nothing that this one can change
            told.append(f"{file.name}: {_damaged(file, random) if _is_small(file) else 'nothing'}")
    return Mutant(path, f"{base.name}: {'; '.join(told)}")


def _is_small(file: Path) -> bool:
    """Whether it is a regular file that can be changed in memory."""
    return file.is_file() and file.stat().st_size < 2**26


def _changes(name: str) -> tuple[Change, ...]:
    if name.endswith(".gguf"):
        return (_gguf, _gguf, _gguf, partial(_damaged, head=9000))
    if name.endswith(".safetensors"):
        return (_safetensors, _safetensors, _safetensors, partial(_damaged, head=2000))
    if name == "tokenizer.json":
        return (_tokenizer, _tokenizer, _json, _damaged)
    if name.endswith(".json"):
        return (_json, _json, _json, _json, _damaged)
    if name.endswith(".jinja"):
        return (_template, _damaged)
    return (_damaged,)


def _gguf(file: Path, random: Random) -> str:
    changed, told = gguf_mutation.mutate(file.read_bytes(), random)
    file.write_bytes(changed)
    return told


def _safetensors(file: Path, random: Random) -> str:
    changed, told = safetensors_mutation.mutate(file.read_bytes(), random)
    file.write_bytes(changed)
    return told


def _json(file: Path, random: Random) -> str:
    value, told = json_mutation.parsed(file.read_bytes()), []
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        value, how = json_mutation.mutate(value, random)
        told.append(how)
    file.write_bytes(json_mutation.written(value))
    return ", ".join(told)


def _tokenizer(file: Path, random: Random) -> str:
    value, told = json_mutation.parsed(file.read_bytes()), []
    for _ in range(random.choice((1, 1, 1, 2))):
        value, how = tokenizer_mutation.mutate(value, random)
        told.append(how)
    file.write_bytes(json_mutation.written(value))
    return ", ".join(told)


def _template(file: Path, random: Random) -> str:
    text = random.choice(_TEMPLATES)
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    return f"template {text!r:.60}"


def _damaged(file: Path, random: Random, head: int | None = None) -> str:
    changed, told = byte_mutation.mutate(file.read_bytes(), random, head)
    file.write_bytes(changed)
    return told


def _as_a_file(file: Path, random: Random) -> str:
    """Replace it by something other than a regular file of normal size."""
    kind = random.choice(
        ("pipe", "endless", "folder", "loop", "dangling", "empty", "sparse", "gone", "null", "elsewhere")
    )
    kept = file.with_name("kept")
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    elif kind == "elsewhere" and file.exists():
        file.rename(kept)
    else:
        file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "empty":
        file.touch()
    elif kind == "sparse":
        file.touch()
        os.truncate(file, random.choice((2**26 + 1, 2**33, 2**42)))
    elif kind != "gone":
        targets = {"endless": "/dev/zero", "null": "/dev/null", "loop": file.name, "elsewhere": kept.name}
        file.symlink_to(targets.get(kind, "nowhere"))
    return f"{kind} in its place"
