"""Build a data set: finished searches in, a folder of training data out."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...model.files import strict_json
from ...model.files.fields import MAX_COUNT, Fields
from ..errors import InputError
from ..text.printable import escaped
from .card import SourceFacts, card, dataset_info
from .draft_folder import DraftFolder, discard_draft
from .filters.duplicates import ROW_BYTES, DuplicateIndex, exact_key, signature_row
from .filters.filters import HEURISTIC_FILTERS, QUALITY_FILTERS, Filter, first_failed
from .filters.script import main_script
from .filters.shared_prefix import shared_length
from .options import KINDS, DatasetOptions
from .preference import preferences
from .records import Record, pair_record, sft_record, shown_text, step_record
from .sources.question_index import QuestionIndex
from .sources.source import Source
from .split import SPLITS, assign_split, question_id
from .tally import DatasetTally
from .trace import ReasoningTrace

FORMAT = 1
"""Version of the output: raised when the same sources and options would give different bytes."""

CHECKPOINT_SECONDS = 2.0
"""Seconds between checkpoints: the most work that a killed run loses."""

SUMMARY = "dataset.json"
"""File with sources, options and counts, for programs; a folder that has it is recognised as finished."""

_CARD, _INFO = "README.md", "dataset_info.json"
_FILES = (SUMMARY, _CARD, _INFO, *(f"{kind}/{split}.jsonl" for kind in KINDS for split in SPLITS))

Encode = Callable[[str], list[int]]


@dataclass(frozen=True, slots=True)
class BuildResult:
    """The result of a run.

    Attributes:
        summary: The contents of `dataset.json`.
        resumed_at: Number of questions that earlier runs had finished.
        questions: Number of questions in total.
        was_there: Whether the folder was already finished.
    """

    summary: dict[str, Any]
    resumed_at: int
    questions: int
    was_there: bool = False


class DatasetBuilder:
    """Turns finished searches and chain-of-thought samples into a folder of training data."""

    def __init__(
        self,
        paths: Sequence[Path],
        out: Path,
        options: DatasetOptions,
        encode: Encode | None = None,
        progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
        tokenizer: str | None = None,
    ) -> None:
        """Plan a data set.

        Args:
            paths: Result files of `marcot search` and files of chain-of-thought samples, in any mixture.
            out: Folder to create.
            options: What goes into the data set.
            encode: Returns the token ids of a text, using the tokenizer that `options` names.
            progress: Called with the name of the stage, the work done and the total work.
            tokenizer: Fingerprint of that tokenizer; a draft is resumed only with the same tokenizer.
        """
        self._paths = paths
        self._out = out
        self._options = options
        self._encode = encode
        self._progress = progress
        self._tokenizer = tokenizer

    def run(self, checkpoint_seconds: float = CHECKPOINT_SECONDS) -> BuildResult:
        """Build the data set, resuming where the last run with the same sources and options stopped.

        Raises:
            InputError: A source or an entry is invalid, or the folder holds something else.
        """
        sources = [Source(path) for path in self._paths]
        try:
            facts = {
                "format": FORMAT,
                "sources": [{"name": source.path.name, "sha256": source.sha256()} for source in sources],
                "options": self._options.to_object(),
            }
            if self._tokenizer is not None:
                facts["tokenizer"] = self._tokenizer
            identity = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
            finished = self._finished(facts)
            if finished is not None:
                return finished
            index = self._index(sources)
            with DraftFolder(self._out, identity, _FILES) as draft:
                return self._make(index, draft, facts, checkpoint_seconds)
        finally:
            for source in sources:
                source.close()

    def _finished(self, facts: dict[str, Any]) -> BuildResult | None:
        """The result of an earlier run with the same `facts`; None if the folder does not exist.

        Raises:
            InputError: The folder holds something else.
        """
        if not self._out.exists():
            return None
        path = self._out / SUMMARY
        try:
            summary = strict_json.read(path)
        except (OSError, ValueError):
            summary = None
        if not isinstance(summary, dict) or not {*facts, "questions", "tally"} - {"tokenizer"} <= summary.keys():
            raise InputError(f"{self._out}: already exists and is not a data set of marcot; give another --out")
        # Earlier versions did not record the tokenizer.
        if any(summary.get(key, value) != value for key, value in facts.items()):
            raise InputError(
                f"{self._out}: was made with other options, sources or tokenizer; remove it, or give another --out"
            )
        fields = Fields(summary, str(path), error=InputError)
        questions = fields.integer("questions", low=0, high=MAX_COUNT)
        summary["tally"] = DatasetTally.read(fields.section("tally")).to_object()
        # A run that was killed after it moved the files into place leaves its draft folder behind.
        discard_draft(self._out)
        return BuildResult(summary, questions, questions, was_there=True)

    def _index(self, sources: Sequence[Source]) -> QuestionIndex:
        total = sum(source.size for source in sources)
        done = 0

        def read(length: int) -> None:
            nonlocal done
            done += length
            self._progress("reading", done, total)

        index = QuestionIndex(sources, skip_bad=self._options.skip_bad, read=read)
        if not len(index):
            raise InputError("the sources hold no finished search and no sample")
        return index

    def _make(self, index: QuestionIndex, draft: DraftFolder, facts: dict[str, Any], every: float) -> BuildResult:
        state = Fields(draft.state or {"next": 0, "tally": {}}, str(self._out), error=InputError)
        start = state.integer("next", low=0, high=len(index))
        tally, seen = DatasetTally.read(state.section("tally")), DuplicateIndex(self._options.max_similarity)
        for row in np.frombuffer(draft.notes(), np.uint32).reshape(-1, ROW_BYTES // 4):
            seen.add(row)
        saved = time.monotonic()
        for question in range(start, len(index)):
            traces = [trace for entry in index.entries(question) for trace in entry.traces]
            if traces:
                self._add(traces, draft, tally, seen)
            if time.monotonic() - saved >= every:
                draft.save({"next": question + 1, "tally": tally.to_object()})
                saved = time.monotonic()
            self._progress("writing", question + 1, len(index))
        summary = {**facts, "questions": len(index), "tally": tally.to_object()}
        sources = [
            SourceFacts(source["name"], source["sha256"], counts)
            for source, counts in zip(facts["sources"], index.counts, strict=True)
        ]
        draft.finish(
            {
                _CARD: card(self._out.name, self._options, sources, index.models, len(index), tally),
                _INFO: dataset_info(self._options, tally),
                SUMMARY: escaped(json.dumps(summary, indent=2, ensure_ascii=False)) + "\n",
            }
        )
        return BuildResult(summary, start, len(index))

    def _add(
        self, traces: Sequence[ReasoningTrace], draft: DraftFolder, tally: DatasetTally, seen: DuplicateIndex
    ) -> None:
        """Filter the traces of one question, and write its records."""
        options = self._options
        id = question_id(traces[0].question)
        split = assign_split(id, validation=options.validation, test=options.test, seed=options.seed)
        tally.questions[f"script {main_script(traces[0].question) or 'none'}"] += 1
        tally.passed["traces"] += len(traces)
        sound = [trace for trace in _distinct(traces, tally) if self._passes(trace, HEURISTIC_FILTERS, tally)]
        # Best first, so that a limit per question keeps the best. The sort is stable.
        sound.sort(key=lambda trace: -(trace.value or 0.0))
        good = [trace for trace in sound if self._passes(trace, QUALITY_FILTERS, tally)]
        tally.passed["sound"] += len(sound)
        tally.passed["good"] += len(good)
        made: dict[str, Iterator[Record]] = {
            "sft": self._sft(id, good, draft, tally, seen),
            "steps": self._steps(id, sound),
            "pairs": self._pairs(id, good, sound),
        }
        for kind in options.kinds:
            key = f"{kind}/{split}"
            records = list(made[kind])
            for record in records:
                line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
                draft.append(f"{key}.jsonl", line.encode(errors="backslashreplace"))
                tally.tokens[key] += self._tokens(record)
            tally.records[key] += len(records)
            tally.questions[key] += bool(records)

    def _passes(self, trace: ReasoningTrace, filters: Mapping[str, Filter], tally: DatasetTally) -> bool:
        failed = first_failed(trace, self._options, filters)
        if failed is not None:
            tally.dropped[failed] += 1
        return failed is None

    def _sft(
        self, id: str, good: Sequence[ReasoningTrace], draft: DraftFolder, tally: DatasetTally, seen: DuplicateIndex
    ) -> Iterator[Record]:
        kept = 0
        for trace in good:
            if kept == self._options.per_question:
                tally.dropped["per question"] += 1
                continue
            row = signature_row(trace.text)
            duplicate = seen.find(row)
            if duplicate is not None:
                tally.dropped[duplicate.value] += 1
                continue
            seen.add(row)
            draft.note(row.tobytes())
            kept += 1
            yield sft_record(id, trace, self._options.form)

    def _steps(self, id: str, sound: Sequence[ReasoningTrace]) -> Iterator[Record]:
        records = (step_record(id, trace) for trace in sound)
        for record, _ in zip(filter(None, records), range(self._options.per_question), strict=False):
            yield record

    def _pairs(self, id: str, good: Sequence[ReasoningTrace], sound: Sequence[ReasoningTrace]) -> Iterator[Record]:
        form = self._options.form
        for pair in preferences(good, sound, self._options):
            shared = None
            if self._encode is not None:
                ids = [self._encode(shown_text(trace, form)) for trace in (pair.chosen, pair.rejected)]
                shared = shared_length(*ids)
            yield pair_record(id, pair, form, shared)

    def _tokens(self, record: Record) -> int:
        """Number of tokens in the assistant's texts of `record`."""
        if self._encode is None:
            return 0
        messages = [*record.get("messages", ()), *record.get("chosen", ()), *record.get("rejected", ())]
        texts = [message["content"] for message in messages if message["role"] == "assistant"]
        return sum(len(self._encode(text)) for text in [*texts, *record.get("completions", ())])


def _distinct(traces: Sequence[ReasoningTrace], tally: DatasetTally) -> Iterator[ReasoningTrace]:
    """The traces without exact repeats: the first of each text."""
    texts: set[bytes] = set()
    for trace in traces:
        key = exact_key(trace.text)
        if key in texts:
            tally.dropped["same text"] += 1
        else:
            texts.add(key)
            yield trace
