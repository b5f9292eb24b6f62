"""The engines and models of `make bench-cpu`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

MODELS = ("smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b")
BRANCHES = (1, 2, 4, 8, 16, 32, 64)

SMALL, MIDDLE, LARGE = MODELS

FAST = "marcot fast"
EXACT = "marcot exact"
LLAMA_CPP = "llama.cpp"
BATCHED_BENCH = "batched-bench"
OPENVINO = "openvino int8"
CTRANSLATE2 = "ctranslate2 int8"
TRANSFORMERS = "transformers fp32"

PYTHON_VARIABLE = "BENCH_PYTHON"
"""Environment variable that names a Python interpreter with the peers' packages, if marcot's environment lacks them."""


class Contestant(NamedTuple):
    """An engine with its settings.

    Attributes:
        name: Name in the tables.
        peer: Its class, as "module:Class" in `peers`.
        packages: Its Python distributions, whose versions are reported.
        options: Arguments of its class besides the model and the number of threads.
        conversion: The format that it reads instead of GGUF, by its name in `conversion.py`.
        models: The built-in models to measure it with; the others would take too long.
        most_branches: The largest number of branches to measure, by model; no limit for other models.
        environment: Additional environment variables of its process.
    """

    name: str
    peer: str
    packages: tuple[str, ...]
    options: Mapping[str, Any] = MappingProxyType({})
    conversion: str | None = None
    models: tuple[str, ...] = MODELS
    most_branches: Mapping[str, int] = MappingProxyType({})
    environment: Mapping[str, str] = MappingProxyType({})

    def measures(self, model: str) -> bool:
        """Whether it is measured with `model`: one of `models`, or any other checkpoint than the built-in ones."""
        return model in self.models or model not in MODELS

    @property
    def ours(self) -> bool:
        """Whether this is marcot."""
        return "marcot" in self.packages

    @property
    def python(self) -> str:
        """The interpreter that it runs in."""
        return sys.executable if self.ours else os.environ.get(PYTHON_VARIABLE) or sys.executable

    @property
    def key(self) -> str:
        """`name` with hyphens instead of spaces, for test ids and `CONTESTANTS=`."""
        return self.name.replace(" ", "-")


_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "4000000000"}
"""Keeps freed memory in the process instead of returning it to the system. CTranslate2 reallocates its caches for every
token; without this setting, it spent as much time in the kernel as in its own code with eight branches."""

LINEUP = (
    Contestant(FAST, "marcot_engine:Marcot", ("marcot", "torch"), {"compute": "fast"}),
    Contestant(EXACT, "marcot_engine:Marcot", ("marcot", "torch"), {"compute": "exact"}),
    Contestant(LLAMA_CPP, "llama_cpp_native:LlamaCpp", ("llama-cpp-python",)),
    Contestant(OPENVINO, "openvino_int8:OpenVinoInt8", ("openvino-genai",), conversion="openvino", models=(MIDDLE,)),
    Contestant(
        CTRANSLATE2,
        "ctranslate2_int8:CTranslate2Int8",
        ("ctranslate2",),
        conversion="ctranslate2",
        models=(MIDDLE,),
        environment=_KEEP_MEMORY,
    ),
    Contestant(
        TRANSFORMERS, "transformers_fp32:TransformersFp32", ("transformers", "torch"), most_branches={LARGE: 16}
    ),
)
"""All engines that run in a child process. `BATCHED_BENCH` is a separate program, see `batched_bench.py`."""
