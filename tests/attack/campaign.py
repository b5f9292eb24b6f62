"""What all attack programs share: options, trials, the progress line and the summary."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import NamedTuple, NoReturn

_PROGRESS_SECONDS = 2.0


class Trial(NamedTuple):
    """One trial.

    Attributes:
        number: Its number; together with the seed, it determines the whole trial.
        random: Its source of random numbers, which gives the same numbers whenever this trial is run again.
    """

    number: int
    random: Random


class Campaign:
    """The numbered trials of one attack; each can be run again alone.

        campaign = Campaign("mutated files", Campaign.parser(__doc__, count=500).parse_args())
        for trial in campaign:
            campaign.count(outcome := attack(trial.random))
            if outcome == "traceback":
                campaign.finding("model.gguf: KeyError, where a typed error belongs")
        campaign.end()

    A program may add its own options to the parser.
    """

    def __init__(self, noun: str, options: Namespace) -> None:
        """Start the campaign.

        Args:
            noun: What the trials are called in the progress line and the summary, in the plural.
            options: The options that `Campaign.parser` has parsed.
        """
        self.options = options
        self._noun = noun
        self._outcomes: Counter[str] = Counter()
        self._findings = 0
        self._trial = options.first
        self._began = self._told = time.monotonic()

    @staticmethod
    def parser(description: str | None, count: int) -> ArgumentParser:
        """Return a parser of the options that every attack has; `count` is the number of trials that take about a
        minute.
        """
        parser = ArgumentParser(description=(description or "").partition("\n")[0])
        parser.add_argument("--seed", type=int, default=0, help="other trials (0)")
        parser.add_argument("--count", type=int, help=f"trials ({count}, or as many as --minutes has time for)")
        parser.add_argument("--minutes", type=float, help="begin no trial after that time")
        parser.add_argument("--first", type=int, default=0, help="the first trial; --count 1 repeats it alone")
        parser.set_defaults(usual_count=count)
        return parser

    def __iter__(self) -> Iterator[Trial]:
        options = self.options
        count = options.count if options.count is not None else None if options.minutes else options.usual_count
        while count is None or self._trial < options.first + count:
            if options.minutes and time.monotonic() - self._began > 60 * options.minutes:
                break
            yield Trial(self._trial, Random(f"{options.seed}:{self._trial}"))
            self._trial += 1
            self._progress()

    def count(self, outcome: str, number: int = 1) -> None:
        """Count an `outcome`, such as "refused". The summary shows how often each occurred."""
        self._outcomes[outcome] += number

    def finding(self, text: str) -> None:
        """Report a failure, and how to repeat it."""
        self._findings += 1
        again = f"--seed {self.options.seed} --first {self._trial} --count 1"
        self._clear()
        print(f"FINDING: {text}\n  again: {again}", flush=True)

    def end(self) -> NoReturn:
        """Print the summary and exit, with code 1 if anything was found."""
        self._clear()
        print(f"{self._summary()}, {time.monotonic() - self._began:.0f} s", flush=True)
        sys.exit(1 if self._findings else 0)

    def _progress(self) -> None:
        if sys.stderr.isatty() and time.monotonic() - self._told > _PROGRESS_SECONDS:
            self._told = time.monotonic()
            self._clear()
            print(self._summary(), end="", file=sys.stderr, flush=True)

    def _summary(self) -> str:
        outcomes = "".join(f", {number} {outcome}" for outcome, number in sorted(self._outcomes.items()))
        return f"{self._trial - self.options.first} {self._noun}{outcomes}, {self._findings} findings"

    @staticmethod
    def _clear() -> None:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
