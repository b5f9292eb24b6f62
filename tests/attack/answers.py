"""Feed every parser of a model's text with repetitions of the vocabulary of answers.

A text of twice the length must take about twice the time, and a short text no noticeable time.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from random import Random

from attack.campaign import Campaign
from marcot.engine.dataset.filters.repetition import ends_in_loop, repeated_share
from marcot.engine.dataset.filters.script import main_script
from marcot.engine.dataset.thought_output import parse_thought_output
from marcot.engine.search.actions.step import Step
from marcot.engine.search.answers import answers_agree, extract_answer, normalise_answer, reference_answer
from marcot.engine.view.formulas import find_formulas

READERS: Mapping[str, Callable[[str], object]] = {
    "extract_answer": extract_answer,
    "reference_answer": reference_answer,
    "normalise_answer": normalise_answer,
    "answers_agree": lambda text: answers_agree(text, text[:-1] + "7"),
    "find_formulas": find_formulas,
    "parse_thought_output": parse_thought_output,
    "main_script": main_script,
    "ends_in_loop": ends_in_loop,
    "repeated_share": repeated_share,
    "Step.cut": lambda text: Step().cut(text.split(" "), " ".join, None),  # type: ignore[arg-type]
}

UNITS = (
    *" \t\n.,=0179-+*/^_(){}[]$\\%#:;'\"<>|aZ√½²和、。−≈±∪∈°×\u00a0\u200b\x01!&~`?\r\u2028",
    *(
        "\\boxed{",
        "\\boxed",
        "\\fbox 1",
        "####",
        "#### ",
        "#### 1\n",
        "<Output>",
        "</Output>",
        "</think>",
        "</Thought>",
    ),
    *(
        "answer",
        "the answer is ",
        "answer to ",
        "answer:",
        "**",
        "final ",
        "答案是",
        " and ",
        "or ",
        "1,000",
        "1 ",
        "12:",
    ),
    *(
        "1,000",
        "1 ",
        "12:",
        "1/2 ",
        "$$",
        "\\[",
        "\\(",
        "\\frac{",
        "\\text{",
        "\\text{and}",
        "\\begin{pmatrix}",
        "\\\\",
        "=1",
        "= ",
        "x=",
    ),
    *("(1", "1)", "a(", " (a", "ab ", "million ", "a.m", "\\quad", "therefore ", ", so ", "\\overline{", "sin", "{,}"),
    *("^{", "<=", "x_", "f(", "\\sqrt[", "Aa ", "\n\n", "\n#", "step", "Step 1", "}{", "1 (ab", "- ", "\\!"),
    *("Wait! Maybe I made some mistakes! I need to rethink from scratch.", "<Thought>", "<Output>1</Output>x"),
)

SHORT, SHORT_SECONDS = (950, 1900), 0.25
LONG, LONG_SECONDS = (60_000, 120_000), 1.5
"""Lengths in characters, and the seconds allowed on a busy machine. The limit of a long text only counts if half of the
text takes less than a third of its time.
"""

HANGS = 20


def text_of(random: Random) -> Callable[[int], str]:
    """A kind of text that can be made in any length."""
    parts = []
    for _ in range(random.choice((1, 1, 2, 2, 3))):
        unit = "".join(random.choice(UNITS) for _ in range(random.choice((1, 1, 1, 2, 3))))
        parts.append((random.choice(("", random.choice(UNITS))), unit, random.choice(("", "\n", random.choice(UNITS)))))
    start = random.choice(("", "", "Answer: ", "\\boxed{", "1 ", "(", "So 1 = "))
    end = random.choice(("", "", "}", "\n", "1", ")"))

    def text(length: int) -> str:
        share = length // len(parts)
        runs = (before + unit * (share // len(unit)) + after for before, unit, after in parts)
        return start + "".join(runs) + end

    return text


def seconds(read: Callable[[str], object], text: str) -> float:
    """Processor seconds of the faster of two tries, or `HANGS`."""

    def stop(number: int, frame: object) -> None:
        raise TimeoutError

    taken = []
    for _ in range(2):
        began = time.process_time()
        before = signal.signal(signal.SIGALRM, stop)
        signal.alarm(HANGS)
        try:
            read(text)
        except TimeoutError:
            return HANGS
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
        taken.append(time.process_time() - began)
        if taken[-1] < SHORT_SECONDS:
            break
    return min(taken)


if __name__ == "__main__":
    campaign = Campaign("texts", Campaign.parser(__doc__, count=100).parse_args())
    for trial in campaign:
        text = text_of(trial.random)
        name, read = trial.random.choice(list(READERS.items()))
        long = trial.random.random() < 0.2
        half, whole = (seconds(read, text(length)) for length in (LONG if long else SHORT))
        slow = whole > LONG_SECONDS and whole > 3 * half if long else whole > SHORT_SECONDS
        campaign.count("long" if long else "short")
        if slow:
            campaign.finding(f"{name}: {half:.2f} s, {whole:.2f} s for twice of {text(60)!r}")
    campaign.end()
