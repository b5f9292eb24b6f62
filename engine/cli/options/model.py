"""The options that say how a model is loaded."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..streams import say

if TYPE_CHECKING:
    from ...engine import Engine

_MODEL = "Model"


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """How a command loads its models. See `Engine.load` for what the options mean."""

    device: Annotated[
        str,
        typer.Option(
            help="auto, cpu or cuda; for marcot search also several, such as cuda:0,cuda:1.", rich_help_panel=_MODEL
        ),
    ] = "auto"
    dtype: Annotated[
        str,
        typer.Option(
            help="Compute dtype: auto (float32 on the CPU, bfloat16 on a GPU), float32, bfloat16 or float16.",
            rich_help_panel=_MODEL,
        ),
    ] = "auto"
    compute: Annotated[
        str,
        typer.Option(
            help="exact: fp32 throughout, agrees with transformers to 1e-4. fast: where weights are quantised, "
            "activations are rounded to int8. auto: fast where that gains time, else exact.",
            rich_help_panel=_MODEL,
        ),
    ] = "auto"
    weights: Annotated[
        str,
        typer.Option(
            help="Format of the weights in memory: stored (as in the checkpoint), or unquantised weights rounded to "
            "bf16 (half the size of fp32), int8 (a quarter) or int4 (a sixth).",
            rich_help_panel=_MODEL,
        ),
    ] = "stored"
    threads: Annotated[int | None, typer.Option(help="CPU threads; all cores by default.", rich_help_panel=_MODEL)] = (
        None
    )
    kv_tokens: Annotated[
        int | None,
        typer.Option(help="Size of the KV cache in tokens; by default, as many as fit.", rich_help_panel=_MODEL),
    ] = None
    kv_dtype: Annotated[
        str,
        typer.Option(
            "--kv-dtype",
            help="Format of the KV cache. auto: as computed. fp8: 8 bits, with a scale per layer and head. Twice as "
            "many tokens fit as with 16 bits and attention reads half as much, but every log-probability changes: "
            "a little with E4M3, more with E5M2, which AMD's and older GPUs use. On a GPU only.",
            rich_help_panel=_MODEL,
        ),
    ] = "auto"
    deterministic: Annotated[
        bool,
        typer.Option(
            "--deterministic",
            help="Give a branch the same bits alone and in any batch, as a CPU always does. A GPU then cuts attention "
            "at fixed places, and multiplies with kernels that treat any number of rows alike, which are slower than "
            "those chosen for the size of a step.",
            rich_help_panel=_MODEL,
        ),
    ] = False
    no_graphs: Annotated[
        bool,
        typer.Option(
            "--no-graphs",
            help="On a GPU, launch the kernels of a decode step one by one instead of as a CUDA graph: slower, "
            "but errors and profiles name the kernel.",
            rich_help_panel=_MODEL,
        ),
    ] = False

    def load(self, model: str) -> Engine:
        """Load `model`; on a terminal, print how long it took."""
        from ...engine import Engine
        from ...startup import tune_garbage_collector

        started = time.monotonic()
        tune_garbage_collector()
        engine = Engine.load(model, device=self.device, **self.engine_options())
        if sys.stderr.isatty():
            say(f"loaded {model} in {time.monotonic() - started:.1f} s")
        return engine

    def engine_options(self) -> dict[str, Any]:
        """The options of `Engine.load`, but for the device."""
        options = asdict(self) | {"graphs": not self.no_graphs}
        del options["device"], options["no_graphs"]
        return options

    @property
    def numbers(self) -> dict[str, str]:
        """The number formats that results depend on, by their names in settings."""
        from ...load_options import number_settings

        return number_settings(self.dtype, self.compute, self.weights, self.kv_dtype)
