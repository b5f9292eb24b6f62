"""The contestants of `make bench-search`, and the factor by which marcot must beat each."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from ..cpu.lineup import PYTHON_VARIABLE

MODEL: Final = "qwen2.5-coder-0.5b"

MARCOT: Final = "marcot"


class Contestant(NamedTuple):
    """A way to run the search.

    Attributes:
        name: Name in the tables.
        how: What it does, in a few words.
        weights: In which format it has the weights; empty if it chooses that itself.
        searcher: Its class, as "module:Class" in `contestants`.
        packages: Its Python distributions, whose versions are reported.
        bar: Target: the minimum of its time relative to that of marcot; None for marcot.
        options: Arguments of its class besides the model and the number of threads.
        conversion: The format that it reads instead of GGUF, by its name in `bench.cpu.conversion`.
        questions: It searches only the first ones; its time is scaled to all. None for all questions.
        branches: It draws only so many branches of a question; its time is scaled.
        whole_sequences: Whether it computes the whole sequence again for each token, which is what its time is then
            scaled by; otherwise by tokens drawn.
        variable: An environment variable that it needs.
        leaves_out: What it does not deliver, in its favour.
    """

    name: str
    how: str
    weights: str
    searcher: str
    packages: tuple[str, ...]
    bar: float | None = None
    options: Mapping[str, Any] = MappingProxyType({})
    conversion: str | None = None
    questions: int | None = None
    branches: int | None = None
    whole_sequences: bool = False
    variable: str | None = None
    leaves_out: str = ""

    @property
    def python(self) -> str:
        """The interpreter that it runs in."""
        return sys.executable if self.name == MARCOT else os.environ.get(PYTHON_VARIABLE) or sys.executable

    @property
    def key(self) -> str:
        """`name` with hyphens instead of spaces and without signs, for `CONTESTANTS=`."""
        return self.name.replace(" ", "-").replace("()", "")

    @property
    def scaled(self) -> bool:
        """Whether it does only a part of the work."""
        return self.questions is not None


_GGUF = "4-bit file"

LINEUP: Final = (
    Contestant(
        MARCOT, "engine.search", _GGUF, "marcot_search:MarcotSearch", ("marcot", "torch"), options={"compute": "auto"}
    ),
    Contestant(
        "Marco-o1's loop",
        "transformers, the whole sequence again for every token",
        "",
        "transformers_search:PublishedLoop",
        ("transformers", "torch"),
        100.0,
        questions=1,
        branches=1,
        whole_sequences=True,
    ),
    Contestant(
        "generate()",
        "transformers, a call per expansion",
        "",
        "transformers_search:Generate",
        ("transformers", "torch"),
        10.0,
        questions=1,
    ),
    Contestant(
        "hand-kept cache",
        "transformers, a KV cache per branch",
        "",
        "transformers_search:HandKeptCache",
        ("transformers", "torch"),
        3.0,
        questions=1,
    ),
    Contestant(
        "llama.cpp",
        "seq_cp, one batch of all branches",
        _GGUF,
        "llama_cpp_search:LlamaCppSearch",
        ("llama-cpp-python",),
        2.5,
    ),
    Contestant(
        "llama-server",
        "HTTP, a slot per branch, prompt caching",
        _GGUF,
        "llama_server_search:LlamaServerSearch",
        (),
        3.0,
        variable="LLAMA_SERVER",
    ),
    Contestant(
        "OpenVINO GenAI",
        "continuous batching, prefix caching",
        "int8",
        "openvino_search:OpenVinoSearch",
        ("openvino-genai",),
        1.8,
        conversion="openvino",
        leaves_out="the five best log-probabilities",
    ),
)
"""All contestants. Those that are scaled are timed once; the others in every round, one directly after the other."""
