"""The tables of `make bench-search`, as Markdown: for the terminal, and for docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from marcot.model.files.atomic_file import write_atomically

from .results import Entry, SearchResults

_BEGIN, _END = "<!-- bench-search -->\n", "<!-- /bench-search -->\n"


def update_page(path: Path, results: SearchResults) -> None:
    """Replace the text between the markers in the page at `path`.

    Raises:
        ValueError: The page has no markers.
    """
    before, begin, rest = path.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{path.name}: there is no {_BEGIN.strip()} with its end; put them where the table belongs")
    write_atomically(path, (before + _BEGIN + text(results) + _END + after).encode())


def text(results: SearchResults) -> str:
    """Return all tables, with explanations."""
    return "\n".join(_lines(results)) + "\n"


def _lines(results: SearchResults) -> Iterator[str]:
    machine, work, counts = results.machine, results.workload, results.counts
    yield (
        f"MCTS with {work.rollouts} rollouts of at most {work.rollout_tokens} tokens on {work.questions} MGSM "
        f"question{'s' if work.questions > 1 else ''}, {results.model}: {counts.branches} chains in {counts.waves} "
        f"waves, {counts.drawn:,} tokens drawn, {counts.prompt:,} tokens of prompts, {counts.reused:,} tokens above "
        f"forks. {machine.cpu}, {machine.threads} threads each; torch reads {machine.read_bandwidth / 1e9:.1f} GB/s "
        f"and multiplies fp32 at {machine.gemm_flops / 1e9:.0f} GFLOP/s."
    )
    yield ""
    yield from _head(["", "how", "weights", "seconds", "tokens/s", "marcot is faster", "target"], "lllrrrr")
    for entry in results.entries:
        yield _line(_cells(results, entry))
    yield ""
    scaled = [entry for entry in results.entries if entry.scale != 1]
    if scaled:
        parts = ", ".join(f"{entry.contestant} 1/{entry.scale:.1f} of the work" for entry in scaled)
        yield f"(scaled) did a part of the work, once: {parts}."
    for entry in results.entries:
        if entry.lineup.leaves_out:
            yield f"{entry.contestant} leaves out {entry.lineup.leaves_out}."
    if results.in_flight:
        yield ""
        yield (
            f"Questions in flight on marcot, counted for {work.in_flight_s:g} s from when the first has ended, new "
            "prompts included, beside decoding as many branches of one prefix:"
        )
        yield ""
        yield from _head(
            [
                "questions in flight",
                "branches in a pass",
                "search, tokens/s",
                "and of prompts",
                "decoding, tokens/s",
                "search / decoding",
            ],
            "rrrrrr",
        )
        for each in results.in_flight:
            speeds = (each.rows, each.tokens_per_s, each.prompt_tokens_per_s, each.decode_tokens_per_s)
            yield _line([str(each.questions), *(f"{number:.1f}" for number in speeds), f"{each.share:.0%}"])
    if results.time_shares:
        total = sum(results.time_shares.values())
        shares = ", ".join(f"{part} {seconds / total:.1%}" for part, seconds in results.time_shares.items())
        yield ""
        yield f"Time of marcot's search: {shares}."


def _cells(results: SearchResults, entry: Entry) -> list[str]:
    one = entry.lineup
    seconds = f"{entry.median:,.1f}" + (" (scaled)" if entry.scale != 1 else "")
    speed = f"{results.counts.drawn / entry.median:.1f}"
    if one.bar is None:
        return [one.name, one.how, entry.weights, seconds, speed, "", ""]
    return [one.name, one.how, entry.weights, seconds, speed, f"{results.ratio(entry):.1f}x", f"{one.bar:g}x"]


def _head(names: Sequence[str], alignment: str) -> Iterator[str]:
    yield _line(names)
    yield "|" + "|".join("---:" if side == "r" else "---" for side in alignment) + "|"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
