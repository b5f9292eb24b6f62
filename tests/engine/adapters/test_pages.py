"""The Python examples of docs/integrations run as printed, with tiny models under the names of real ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.checkpoints.small_talker import write_built_in_models, write_talking_folder
from support.programs.code_blocks import code_blocks

PAGES = Path(__file__).parents[3] / "docs" / "integrations"
HUB_MODEL = "Qwen/Qwen2.5-0.5B-Instruct"

WITHOUT_GPU = ("max_steps=10", "max_steps=3, use_cpu=True, bf16=False")
"""Arguments that TRL needs without a GPU, and fewer steps."""

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, real_model: Callable[[str], Path]) -> Path:
    """A model cache, and a checkpoint folder next to it."""
    place = tmp_path_factory.mktemp("pages")
    write_built_in_models(real_model("smollm2-135m"), place / "models")
    write_talking_folder(place / "folder")
    return place


@pytest.mark.parametrize(
    ("page", "package"),
    [("vllm", "transformers"), ("treequest", "treequest"), ("llm-reasoners", "reasoners"), ("trl", "trl")],
)
def test_the_examples_of_a_page_run(page: str, package: str, models: Path, tmp_path: Path) -> None:
    if find_spec(package) is None:
        pytest.skip(f"needs {package}: make test-adapters")
    blocks = [block.text for block in code_blocks(PAGES / f"{page}.md") if block.language == "python"]
    assert blocks
    source = "\n".join(blocks).replace(HUB_MODEL, str(models / "folder")).replace(*WITHOUT_GPU)
    ended = subprocess.run(
        [sys.executable, "-c", source],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "MARCOT_CACHE": str(models / "models"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ended.returncode == 0, f"{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"
