"""Mutate the files that marcot writes or is given: results, trees, questions, conversations, drafts.

A mutated file must be read, with the same outcome the second time, or refused by a `MarcotError` that names it. A draft
of a data set must give the bytes of an undisturbed run, or be refused.
"""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from attack.campaign import Campaign
from marcot.engine.cli.commands.dataset_view import report
from marcot.engine.cli.messages import read_messages
from marcot.engine.cli.report import print_report
from marcot.engine.cli.token_counting import chosen_tokenizer
from marcot.engine.dataset import DatasetBuilder, DatasetOptions
from marcot.engine.errors import InputError
from marcot.engine.evaluation import DataSet, Report, read_series
from marcot.engine.results.json_form import failure_object, search_object, to_line
from marcot.engine.results.question_file import InputQuestion, read_questions
from marcot.engine.results.results_file import ResultsFile
from marcot.engine.search.actions.action_file import read_actions
from marcot.engine.view import read_tree, to_dot, to_json, to_page
from marcot.kernels import MarcotError
from support.searches.finished_searches import Told, result_line, write_lines
from support.searches.grown_tree import grown_tree

SECONDS = 20
MEMORY = 6 * 2**30
SETTINGS = {"model": "m", "system": None, "data": "toy", "answer_rule": "confidence-vote", "temperature": 0.5}

ODD: tuple[str, ...] = (
    *("null", "true", "-1", "0", "1.9", "1e999", "-1e999999999", "NaN", "Infinity", "1" + "0" * 400, "9" * 5000),
    *('""', '"\\u0000"', '"\\ud800"', '"1e999999999"', '"1/0"', '"1e999%"', '"os:abort"', f'"{"x" * 70_000}"'),
    *("[]", "{}", "[[]]", '{"a": 1, "a": 2}', "[" * 100_000, "[" * 150 + "]" * 150, '{"a":' * 300 + "1" + "}" * 300),
    *('"' + "=" + " " * 10_000 + '"', '"\\u001b[2J\\u202e"', "4294967296", "9007199254740993", '["\\ud800"]', "1e300"),
)
"""Values that JSON may contain where another one is expected, and some that it may not."""


_NAMELESS = (
    "of the conversation",
    "the conversation is empty",
    "in the sources",
    "no results to report",
    "--tokenizer auto",
)
"""Parts of refusals that are about more than one file, and so need not name it."""


class Target(NamedTuple):
    """A kind of file to mutate.

    Attributes:
        make: Writes valid files into a folder.
        read: Reads and uses them, and returns the outcome.
        strict: Whether the only right outcome is that of the valid files.
    """

    make: Callable[[Path], None]
    read: Callable[[Path], object]
    strict: bool = False


def mutated(content: bytes, random: Random) -> bytes:
    """`content` with some of its bytes changed."""
    kind = random.choice(("value", "value", "value", "bytes", "cut", "repeat", "swap", "insert", "digit"))
    if kind == "value" and (changed := _other_value(content, random)) is not None:
        return changed
    at, to = sorted(random.randrange(len(content) + 1) for _ in range(2))
    if kind == "cut":
        return random.choice((content[:at], content[at:], content[:at] + content[to:]))
    if kind == "repeat":
        return content[:to] + content[at:]
    if kind == "swap":
        return content[to:] + content[at:to] + content[:at]
    if kind == "insert":
        return content[:at] + random.choice(ODD).encode() + content[at:]
    if kind == "digit" and (places := [place for place, byte in enumerate(content) if byte in b"0123456789"]):
        place = random.choice(places)
        return content[:place] + random.choice((b"9", b"-1", b"1.5", b"00", b"e9", b"")) + content[place + 1 :]
    for _ in range(random.choice((1, 1, 4))):
        place = random.randrange(len(content) or 1)
        content = content[:place] + bytes([random.randrange(256)]) + content[place + 1 :]
    return content


def _other_value(content: bytes, random: Random) -> bytes | None:
    """A line of JSON, or the whole file, with one value replaced; None if it holds no JSON."""
    lines = [content] if random.random() < 0.5 else content.split(b"\n")
    number = random.randrange(len(lines))
    try:
        entry = json.loads(lines[number])
    except ValueError:
        return None
    mark = "a place that nothing else is like"
    inner, way = entry, []
    while isinstance(inner, dict | list) and inner and (not way or random.random() < 0.8):
        key: Any = random.choice(list(inner)) if isinstance(inner, dict) else random.randrange(len(inner))
        way.append((inner, key))
        inner = inner[key]
    if not way:
        return None
    last, key = way[-1]
    other = random.choice(ODD)
    fate = random.choice(("replace", "replace", "replace", "delete", "copy", "more"))
    if fate == "delete":
        del last[key]
    elif fate == "copy":
        last[key] = json.loads(json.dumps(random.choice(way)[0]))
    elif fate == "more" and isinstance(inner, list):
        inner.extend(inner[: random.randrange(1, 3)] or [mark])
    else:
        last[key] = mark
    lines[number] = (
        json.dumps(entry, ensure_ascii=random.random() < 0.5)
        .encode(errors="surrogatepass")
        .replace(json.dumps(mark).encode(), other.encode())
    )
    return b"\n".join(lines)


# --- the files -------------------------------------------------------------------------------------------------------


def _searches(count: int) -> list[dict[str, Any]]:
    told = [
        Told(("Half of it is gone, so that ", "it is 4."), "4", 0.8),
        Told(("Half of it is gone, so that ", "it is only 3."), "3", 0.6),
        Told(("Well, I do not know.",), "", 0.2, "length"),
    ]
    return [result_line(f"How many are {n} halves?", told, reference="4" if n % 2 else None) for n in range(count)]


def _tree(folder: Path) -> None:
    (folder / "tree.json").write_bytes(to_json(grown_tree(7, 4), {"model": "toy"}).encode())


def _read_tree(folder: Path) -> object:
    result = read_tree(folder / "tree.json")
    out = io.StringIO()
    print_report(result, out)
    return out.getvalue(), to_dot(result), to_json(result, {}), to_page(result, {})


def _results(folder: Path) -> None:
    lines = [
        to_line(search_object(InputQuestion(0, "Zero?"), grown_tree(3, 2), SETTINGS)),
        to_line(failure_object(InputQuestion(1, "One?"), InputError("too long"), SETTINGS)),
        to_line(search_object(InputQuestion(2, "Two?", {"answer": "4"}), grown_tree(4, 2), SETTINGS)),
    ]
    (folder / "out.jsonl").write_bytes("".join(line + "\n" for line in lines).encode(errors="backslashreplace"))


def _read_results(folder: Path) -> object:
    with ResultsFile(folder / "out.jsonl", SETTINGS) as file:
        return [file.has(InputQuestion(index, text)) for index, text in enumerate(("Zero?", "One?", "Two?"))]


def _evaluation(folder: Path) -> None:
    from support.searches.trials import trial

    head = {"label": "a", "settings": SETTINGS}
    entries: list[dict[str, Any]] = [
        head | trial(index, ["1", "2", "1/2"][: index + 1]).to_object() for index in range(3)
    ]
    write_lines(folder / "eval.jsonl", [*entries, {**head, "index": 3, "question": "toy:4:00", "error": "no"}])


def _read_evaluation(folder: Path) -> object:
    made = Report.of(read_series([folder / "eval.jsonl"]))
    return made.markdown(), to_line(made.to_object()), made.curve_csv()


def _questions(folder: Path) -> None:
    write_lines(folder / "q.jsonl", [{"question": f"Q{n}?", "answer": [n, "x"], "more": {"a": [n]}} for n in range(3)])
    (folder / "q.tsv").write_text("Q0?\t1\nQ1?\t1/2\n")
    (folder / "q.txt").write_text("Q0?\n\nQ1?\n")


def _read_questions(folder: Path) -> object:
    read = [question for name in ("q.jsonl", "q.tsv", "q.txt") for question in read_questions(folder / name)]
    lines = [to_line(search_object(each, grown_tree(3, 1), SETTINGS)) for each in read]
    return lines, DataSet.named(str(folder / "q.tsv")).questions


def _messages(folder: Path) -> None:
    turns = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "?"},
    ]
    (folder / "messages.json").write_text(json.dumps(turns))


def _read_messages(folder: Path) -> object:
    from marcot.engine.text.chat import _checked

    return _checked(read_messages(folder / "messages.json"))


def _actions(folder: Path) -> None:
    (folder / "actions.toml").write_text(
        'start = { thinking = 2 }\nlongest = 8\nback_off = 2\nretry = "thinking"\n'
        '[kinds.thinking]\nopenings = ["", "So "]\n'
        'tags = ["<a>", "</a>"]\nclose = ["\\n\\n"]\nfollowers = { thinking = 1, answer = 1 }\nmax_tokens = 256\n'
        '[kinds.answer]\nopenings = ["The answer is "]\n'
    )


def _read_actions(folder: Path) -> object:
    actions = read_actions(folder / "actions.toml")
    return actions.name, [actions.prompt(kinds, sample) for kinds in ([], ["thinking"]) for sample in range(4)]


def _sources(folder: Path) -> None:
    write_lines(folder / "results.jsonl", _searches(3))
    text = "<Thought>\nHalf.\n</Thought>\n<Output>\n4\n</Output>"
    turns = [{"role": "user", "content": "What is half of 6?"}, {"role": "assistant", "content": "It is 3."}]
    samples = [{"instruction": "What is half of 8?", "response": text}, {"messages": turns}]
    (folder / "samples.json").write_text(json.dumps(samples))


def _make(folder: Path, *names: str) -> Mapping[str, bytes]:
    out = folder / "data"
    shutil.rmtree(out, ignore_errors=True)
    paths = [folder / name for name in names]
    chosen_tokenizer("auto", paths)
    report(DatasetBuilder(paths, out, DatasetOptions(min_characters=1)).run(), out)
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def _draft(folder: Path) -> None:
    class Stop(Exception):  # noqa: N818  (no error: it stops a run)
        pass

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "writing" and done == 6:
            raise Stop

    write_lines(folder / "results.jsonl", _searches(9))
    try:
        DatasetBuilder([folder / "results.jsonl"], folder / "data", DatasetOptions(min_characters=1), None, stop).run(0)
    except Stop:
        return


def _read_sources(folder: Path) -> object:
    return _make(folder, "results.jsonl", "samples.json")


def _summary(folder: Path) -> None:
    write_lines(folder / "results.jsonl", _searches(3))
    made = DatasetBuilder([folder / "results.jsonl"], folder / "data", DatasetOptions(min_characters=1)).run()
    shutil.rmtree(folder / "data")
    (folder / "data").mkdir()
    (folder / "data" / "dataset.json").write_text(json.dumps(made.summary))


def _read_summary(folder: Path) -> object:
    made = DatasetBuilder([folder / "results.jsonl"], folder / "data", DatasetOptions(min_characters=1)).run()
    return report(made, folder / "data"), to_line(made.summary)


TARGETS: Mapping[str, Target] = {
    "tree": Target(_tree, _read_tree),
    "results": Target(_results, _read_results),
    "evaluation": Target(_evaluation, _read_evaluation),
    "questions": Target(_questions, _read_questions),
    "messages": Target(_messages, _read_messages),
    "actions": Target(_actions, _read_actions),
    "sources": Target(_sources, _read_sources),
    "draft": Target(_draft, lambda folder: _make(folder, "results.jsonl"), strict=True),
    "summary": Target(_summary, _read_summary),
}


# --- the attack ------------------------------------------------------------------------------------------------------


class Herd:
    """Valid files of each kind, written once."""

    def __init__(self) -> None:
        self._good: dict[str, dict[str, bytes]] = {}
        self._outcomes: dict[str, object] = {}
        for name, target in TARGETS.items():
            with TemporaryDirectory() as made:
                folder = Path(made)
                target.make(folder)
                paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
                self._good[name] = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
                self._outcomes[name] = target.read(folder)

    def attack(self, random: Random, kind: str) -> tuple[str, str]:
        """Mutate a file of this kind and use it. Returns an outcome to count, and the finding or ""."""
        target, good = TARGETS[kind], self._good[kind]
        # The sources of a draft stay as they are: with other sources, it would be another run.
        own = [name for name in good if not target.strict or name.startswith("data")]
        name = random.choice(own)
        with TemporaryDirectory() as made:
            content = mutated(good[name], random)
            first, again = (self._outcome(Path(made) / "a", good | {name: content}, target) for _ in range(2))
        where = f"{kind}: {name}: "
        if isinstance(first, _Failure):
            return "failed", where + first.text
        if isinstance(first, MarcotError):
            told = str(first)
            if not any(place in told for place in (Path(name).name, "data", *_NAMELESS)):
                return "refused", f"{where}the refusal does not name the file: {told[:200]}"
            return "refused", ""
        if target.strict and first != self._outcomes[kind]:
            return "read", where + "other data without a word"
        return "read", "" if repr(first) == repr(again) else where + "another outcome the second time"

    def _outcome(self, folder: Path, files: Mapping[str, bytes], target: Target) -> object:
        shutil.rmtree(folder, ignore_errors=True)
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        try:
            with _limited():
                return target.read(folder)
        except MarcotError as error:
            return error
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            last = traceback.extract_tb(error.__traceback__)[-1]
            return _Failure(f"{type(error).__name__}: {str(error)[:200]} ({Path(last.filename).name}:{last.lineno})")


class _Failure(NamedTuple):
    text: str


@contextmanager
def _limited() -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise TimeoutError(f"not ready after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    campaign = Campaign("mutated files", Campaign.parser(__doc__, count=600).parse_args())
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    os.environ.setdefault("COLUMNS", "120")
    herd = Herd()
    for attempt in campaign:
        outcome, found = herd.attack(attempt.random, attempt.random.choice(list(TARGETS)))
        campaign.count(outcome)
        if found:
            campaign.finding(found)
    campaign.end()
