"""Every command, started without stdin, stdout or stderr."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from support.programs import closed_streams
from support.searches.finished_searches import Told, result_line, write_lines


def test_every_command_runs_with_any_of_its_streams_closed(talker: Path, tmp_path: Path) -> None:
    write_lines(tmp_path / "searches.jsonl", [result_line("How many?", [Told(("There are 7 apples, no more.",), "7")])])
    words = [sys.executable, closed_streams.__file__, str(talker), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(runs) == len(closed_streams.ALL) + 6
    for each in runs:
        folder = Path(each["folder"])
        printed = [(folder / name).read_text() for name in ("stdout", "stderr") if (folder / name).exists()]
        assert (each["code"], "Traceback" in "".join(printed)) == (0, False), (each, printed)
        assert "Natalia" not in "".join(printed)
        for path in (folder / "out.jsonl", folder / "tree.json", folder / "report.json", folder / "runs/report.json"):
            if path.exists():
                json.loads(path.read_text(encoding="utf-8"))
        made = {
            "search": "out.jsonl",
            "eval": "runs/report.json",
            "compare": "report.json",
            "dataset": "data/README.md",
        }
        assert each["command"] not in made or (folder / made[each["command"]]).stat().st_size
