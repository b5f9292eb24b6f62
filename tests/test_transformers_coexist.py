"""marcot and transformers in one environment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

GENERATE = """
import sys
import marcot.engine
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
greedy = GenerationConfig(do_sample=False, max_new_tokens=5, eos_token_id=None, pad_token_id=0)
prompt = torch.tensor([[7, 11, 13]])
theirs = model.generate(prompt, attention_mask=torch.ones_like(prompt), generation_config=greedy)[0, 3:].tolist()

engine = marcot.engine.Engine.load(sys.argv[1], kv_tokens=64)
sampling = marcot.engine.Sampling(temperature=0.0, max_tokens=5, ignore_eos=True)
(child,) = engine.expand(engine.prefill([7, 11, 13]), 1, sampling)
assert child.token_ids.tolist() == theirs, (child.token_ids, theirs)
"""

NO_BARE_NAMES = """
from importlib.util import find_spec

taken = [name for name in ("engine", "kernels", "model") if find_spec(name)]
assert not taken, taken
"""


def run(code: str, *arguments: str, cwd: Path) -> None:
    """Run `code` in a new interpreter that looks for modules in `cwd` first."""
    finished = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("inside", [True, False], ids=["repository root", "elsewhere"])
def test_transformers_loads_and_generates(inside: bool, tiny_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    run(GENERATE, str(tiny_checkpoint("qwen2")), cwd=ROOT if inside else tmp_path)


def test_only_marcot_is_importable(tmp_path: Path) -> None:
    run(NO_BARE_NAMES, cwd=tmp_path)
