"""The results of `make bench-search`, and their JSON form."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any, NamedTuple

from marcot.model.files.atomic_file import write_atomically

from ..common.machine import Machine
from .lineup import LINEUP, MARCOT, Contestant
from .workload import Workload

_BY_NAME = {contestant.name: contestant for contestant in LINEUP}


class Entry(NamedTuple):
    """The measurements of a contestant.

    Attributes:
        contestant: Its name.
        weights: The format of its weights.
        seconds: Seconds of each round, scaled to the whole work if it did a part.
        measured_s: Seconds of each round, as measured.
        processor_s: Seconds of processor time of each round, scaled; they depend less on other programs, but count
            threads that spin while they wait.
        scale: By how much they are multiplied to cover the whole work; 1 if it did all of it.
        tables: Fraction of the tokens that came with their five best log-probabilities.
        confidence: Mean token confidence, which shows that it computes the same thing.
        disturbed: Mean number of processors that other programs used during its rounds.
    """

    contestant: str
    weights: str
    seconds: list[float]
    measured_s: list[float]
    processor_s: list[float]
    scale: float
    tables: float
    confidence: float
    disturbed: float

    @property
    def median(self) -> float:
        """Median of `seconds`."""
        return statistics.median(self.seconds)

    @property
    def lineup(self) -> Contestant:
        """The contestant."""
        return _BY_NAME[self.contestant]


class InFlight(NamedTuple):
    """The throughput of marcot's search with a number of questions in flight.

    Attributes:
        questions: Their number.
        rows: Mean number of branches in a forward pass.
        tokens_per_s: Tokens that the search draws per second.
        prompt_tokens_per_s: Tokens of new prompts that it computes per second, besides.
        decode_tokens_per_s: Tokens per second of the decode benchmark with as many branches.
    """

    questions: int
    rows: float
    tokens_per_s: float
    prompt_tokens_per_s: float
    decode_tokens_per_s: float

    @property
    def share(self) -> float:
        """The search's speed as a fraction of the decode benchmark's."""
        return self.tokens_per_s / self.decode_tokens_per_s


class Counts(NamedTuple):
    """The size of the recorded search.

    Attributes:
        branches: Chains drawn.
        waves: Waves that they were drawn in.
        drawn: Tokens drawn.
        prompt: Tokens of all prompts.
        reused: Tokens above the forks, which a contestant without a cache computes again.
    """

    branches: int
    waves: int
    drawn: int
    prompt: int
    reused: int


class SearchResults(NamedTuple):
    """Everything that a run measured.

    Attributes:
        machine: Hardware, versions and limits.
        versions: Versions of the contestants' packages.
        model: The model's name.
        workload: What was searched.
        counts: How much that was.
        entries: One per contestant that could be measured.
        in_flight: Throughput by questions in flight.
        time_shares: Seconds of a search by part.
        notes: Why something was not measured, or not in this run.
    """

    machine: Machine
    versions: dict[str, str]
    model: str
    workload: Workload
    counts: Counts
    entries: list[Entry]
    in_flight: list[InFlight]
    time_shares: dict[str, float]
    notes: list[str]

    @property
    def marcot(self) -> Entry:
        """The measurements of marcot."""
        return next(entry for entry in self.entries if entry.contestant == MARCOT)

    def ratio(self, entry: Entry) -> float:
        """How many times as long as marcot a contestant takes: ratio of medians."""
        return entry.median / self.marcot.median

    @property
    def missed(self) -> list[str]:
        """One line for each bar that was missed."""
        missed = []
        for entry in self.entries:
            bar, ratio = entry.lineup.bar, self.ratio(entry)
            if bar is not None and ratio < bar:
                missed.append(f"{entry.contestant} takes {ratio:.2f} times as long as marcot, less than {bar:g}")
        if self.in_flight and (share := self.in_flight[-1].share) < LEAST_SHARE:
            at = self.in_flight[-1].questions
            missed.append(f"{at} questions in flight reach {share:.0%} of decoding, less than {LEAST_SHARE:.0%}")
        return missed

    def write(self, path: Path) -> None:
        """Write everything to `path`."""
        ratios = {entry.contestant: self.ratio(entry) for entry in self.entries}
        content = self._asdict() | {
            "machine": self.machine._asdict(),
            "workload": self.workload._asdict(),
            "counts": self.counts._asdict(),
            "entries": [entry._asdict() for entry in self.entries],
            "in_flight": [each._asdict() for each in self.in_flight],
            "ratios": ratios,
            "missed": self.missed,
        }
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())

    @classmethod
    def read(cls, path: Path) -> SearchResults:
        """Read what `write` has written."""
        content: dict[str, Any] = json.loads(path.read_text())
        content["workload"]["in_flight"] = tuple(content["workload"]["in_flight"])
        return cls(
            Machine(**content["machine"]),
            content["versions"],
            content["model"],
            Workload(**content["workload"]),
            Counts(**content["counts"]),
            [Entry(**entry) for entry in content["entries"]],
            [InFlight(**each) for each in content["in_flight"]],
            content["time_shares"],
            content["notes"],
        )


LEAST_SHARE = 0.9
"""Bar: with the most questions in flight, a search must reach this fraction of the decode benchmark's speed."""
