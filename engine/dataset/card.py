"""The data set card: `README.md` as dataset hubs read it, and LLaMA-Factory's `dataset_info.json`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ..text.printable import printable
from .features import features_header
from .filters.filters import HEURISTIC_FILTERS, QUALITY_FILTERS, Filter
from .options import DatasetOptions
from .split import SPLITS
from .tally import DatasetTally

KIND_TITLES = {
    "sft": "Traces for supervised fine-tuning: `messages`",
    "steps": "Step values for reward models: `prompt`, `completions`, `labels`, `values`, `visits`, `successes`",
    "pairs": "Preference pairs: `prompt`, `chosen`, `rejected`, `shared_characters`, `shared_tokens`",
}

COUNTED = ("searches", "samples", "failed searches", "bad entries")

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


class SourceFacts(NamedTuple):
    """What the card says about a source: file name, digest, and how many entries of each kind."""

    name: str
    sha256: str
    counts: Counter[str]


def card(
    name: str,
    options: DatasetOptions,
    sources: Sequence[SourceFacts],
    models: Counter[str],
    questions: int,
    tally: DatasetTally,
) -> str:
    """The text of `README.md`."""
    models_text = ", ".join(f"{model} ({count})" for model, count in sorted(models.items())) or "not said"
    parts = [
        _header(options, tally),
        f"# {name}",
        "Made by `marcot dataset`. Everything below follows from the sources and the options: the same ones give the "
        "same bytes.",
        "## Sources",
        _table(
            ("file", *COUNTED, "sha256"),
            ((facts.name, *(facts.counts[key] for key in COUNTED), f"`{facts.sha256}`") for facts in sources),
        ),
        f"{questions} different questions ({_scripts(tally)}). Models (searches): {models_text}.",
        "## Records",
        _records(options, tally),
        "A question is in one split only, by a hash of its text and the seed. Load with, for example, "
        f'`load_dataset("PATH", "{options.kinds[0]}")`.',
        "## Filters",
        f"Of {tally.passed['traces']} traces; each is counted at the first filter it does not pass.",
        _filters(tally),
        _fate(options, tally),
        "## Options",
        _table(("option", "value"), ((key, f"`{json.dumps(value)}`") for key, value in options.to_object().items())),
    ]
    return printable("\n\n".join(parts) + "\n")


def dataset_info(options: DatasetOptions, tally: DatasetTally) -> str:
    """The text of `dataset_info.json`, so that LLaMA-Factory's `dataset_dir` can point at the folder."""
    tags = {"role_tag": "role", "content_tag": "content"}
    tags |= {"user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}
    entries: dict[str, Any] = {}
    for split in tally.splits("sft"):
        columns = {"messages": "messages"}
        entries[f"sft_{split}"] = {
            "file_name": f"sft/{split}.jsonl", "formatting": "sharegpt", "columns": columns, "tags": tags
        }  # fmt: skip
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


def _header(options: DatasetOptions, tally: DatasetTally) -> str:
    lines = ["---"]
    if options.license:
        lines.append(f"license: {json.dumps(options.license)}")
    total = sum(tally.records.values())
    size = next((name for limit, name in _SIZES if total < limit), "n>1M")
    lines += ["task_categories:", "- text-generation", "tags:", "- reasoning", "- tree-search", "- marcot"]
    lines += ["size_categories:", f"- {size}"]
    configs = [kind for kind in options.kinds if tally.splits(kind)]
    if configs:
        lines.append("configs:")
    for kind in configs:
        lines += [f"- config_name: {kind}", "  data_files:"]
        for split in tally.splits(kind):
            lines += [f"  - split: {split}", f"    path: {kind}/{split}.jsonl"]
    if configs:
        lines.append("dataset_info:")
    for kind in configs:
        lines += features_header(kind)
    return "\n".join([*lines, "---"])


def _records(options: DatasetOptions, tally: DatasetTally) -> str:
    rows = []
    for kind in options.kinds:
        for split in SPLITS:
            key = f"{kind}/{split}"
            if tally.records[key]:
                tokens = tally.tokens[key] if options.tokenizer else "not counted"
                rows.append((f"`{key}.jsonl`", tally.questions[key], tally.records[key], tokens))
    titles = "\n".join(f"- {kind}: {KIND_TITLES[kind]}" for kind in options.kinds)
    told = (
        f"Tokens are {options.tokenizer}'s, of what the assistant says."
        if options.tokenizer
        else "There was no tokenizer at hand: tokens are not counted, and `shared_tokens` is -1."
    )
    table = _table(("file", "questions", "records", "tokens"), rows) if rows else "No trace passed the filters."
    return f"{titles}\n\n{table}\n\n{told}"


def _filters(tally: DatasetTally) -> str:
    def rows(kind: str, filters: Iterable[tuple[str, Filter]]) -> Iterable[tuple[object, ...]]:
        return ((name, kind, (filter.__doc__ or "").rstrip("."), tally.dropped[name]) for name, filter in filters)

    return _table(
        ("filter", "kind", "what stays", "dropped"),
        [
            ("same text", "heuristic", "The first of equal traces of one question", tally.dropped["same text"]),
            *rows("heuristic", HEURISTIC_FILTERS.items()),
            *rows("quality", QUALITY_FILTERS.items()),
        ],
    )


def _fate(options: DatasetOptions, tally: DatasetTally) -> str:
    text = f"{tally.passed['sound']} pass the heuristic filters, {tally.passed['good']} all of them."
    if "sft" in options.kinds:
        text += (
            f" Of these, {tally.dropped['exact duplicate']} exact and {tally.dropped['near duplicate']} near "
            f"duplicates and {tally.dropped['per question']} beyond {options.per_question} of a question are not in "
            "`sft`."
        )
    return text


def _scripts(tally: DatasetTally) -> str:
    scripts = {
        key.removeprefix("script "): count for key, count in tally.questions.items() if key.startswith("script ")
    }
    return ", ".join(f"{name}: {count}" for name, count in sorted(scripts.items()))


def _table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)
