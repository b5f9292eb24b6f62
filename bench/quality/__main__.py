"""Measures the quality loss of `compute="fast"`: `make bench-quality`, or `python -m bench.quality --help`."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated, Any

import marcot.engine  # noqa: F401  (before torch: it makes OpenMP threads wait, not spin)
import typer
from marcot.engine.cli.signals import INTERRUPTED

from .. import RESULTS
from ..common.progress import progress_bars

_MODELS = "qwen2.5-coder-0.5b smollm2-135m"
_QUESTIONS = 250
_TEXT_TOKENS = 2048


def quality(
    models: Annotated[
        str, typer.Option(help="Built-in names (marcot models) or quantised .gguf files, separated by spaces.")
    ] = _MODELS,
    questions: Annotated[
        int, typer.Option(min=0, max=_QUESTIONS, help="Number of MGSM questions, from the first; 0 skips this part.")
    ] = _QUESTIONS,
    text_tokens: Annotated[
        int, typer.Option(min=0, help="Tokens of each of the four texts; 0 skips this part.")
    ] = _TEXT_TOKENS,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores by default.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if MGSM accuracy changes by more than chance explains.")
    ] = False,
) -> None:
    """Measure how rounding activations to int8 changes the predictions and answers of real models.

    Compares compute="fast" with compute="exact" for the same file, on the CPU. Real text: KL divergence over the whole
    vocabulary for every token, agreement on the most probable token, and perplexity. For scale, the same numbers are
    shown for exact mode with weights rounded to 8 bits. MGSM: greedy answers to English grade-school questions in both
    modes.

    Prints one table and writes bench/results/quality.json (for a partial run, quality_part.json). Finished work is kept
    in .benchmarks/quality/ as long as the sources do not change: after Ctrl-C, run the same command to continue.

    For example:

      python -m bench.quality --models smollm2-135m --questions 50
    """
    try:
        missed = _measure(models.split(), questions, text_tokens, threads)
    except KeyboardInterrupt:
        print("stopped; finished work is kept: run the same command again to continue", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        from marcot.kernels import MarcotError

        if not isinstance(error, MarcotError):
            raise
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    if check and missed:
        raise typer.Exit(1)


def _measure(models: list[str], questions: int, text_tokens: int, threads: int | None) -> list[str]:
    """Measure, print and write everything; return the bars that are missed."""
    import cpuinfo
    import torch
    from marcot.engine.evaluation import problems
    from marcot.kernels import select

    from .ledger import fingerprint
    from .measuring import Measuring
    from .mgsm import INSTRUCTION, MAX_TOKENS
    from .report import EXACT, FAST, ModelQuality, QualityReport

    if threads is not None:
        torch.set_num_threads(threads)
    facts: dict[str, Any] = {
        "cpu": cpuinfo.get_cpu_info().get("brand_raw", "unknown"),
        "threads": torch.get_num_threads(),
        "kernels": select(torch.device("cpu")).name,
        "versions": {name: version(name) for name in ("marcot", "torch", "gguf")},
        "instruction": INSTRUCTION,
        "max_tokens": MAX_TOKENS,
        "text_tokens": text_tokens,
    }
    facts["fingerprint"] = fingerprint([facts["cpu"], facts["kernels"], facts["versions"], INSTRUCTION, MAX_TOKENS])
    results = []
    with progress_bars() as progress:
        for model in models:
            measuring, result = Measuring(model, facts["fingerprint"], progress), ModelQuality(model)
            if text_tokens:
                result.texts = measuring.texts(text_tokens)
            if questions:
                result.attempts = {mode: measuring.answers(mode, problems("en")[:questions]) for mode in (EXACT, FAST)}
            results.append(result)
    report = QualityReport(facts, results)
    print(report.text())
    whole = set(_MODELS.split()) <= set(models) and questions == _QUESTIONS and text_tokens >= _TEXT_TOKENS
    report.write(RESULTS / ("quality.json" if whole else "quality_part.json"))
    return report.missed


if __name__ == "__main__":
    typer.run(quality)
