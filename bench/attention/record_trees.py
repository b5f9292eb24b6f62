"""Records the shapes of real search trees into `data/search_trees.json`.

    python -m bench.attention.record_trees QUESTIONS.tsv      # question TAB answer, such as MGSM's

Each question is searched once, with different branching and effort. Only the parents and the numbers of tokens of the
nodes are kept. It takes a few minutes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from marcot.engine import MCTS, Engine, Sampling
from marcot.model.files.atomic_file import write_atomically

from ..common.recorded_trees import RECORD

MODEL = "qwen2.5-coder-0.5b"
DEPTH = 8
ACTION = "mini-step-32"
SAMPLING = Sampling(temperature=1.0, top_k=50, top_p=1.0)
SEARCHES = ((1, 2, 12, 0), (2, 3, 24, 0), (5, 4, 48, 0), (7, 3, 24, 8))
"""Line of the question in the file, counted from 1; children sampled per node; rollouts; number of solved examples in
the prompt, taken from the end of the file."""


def main(questions: Path) -> None:
    """Search all questions and write the shapes of their trees."""
    lines = questions.read_text().splitlines()
    engine = Engine.load(MODEL)
    trees = []
    for line, width, rollouts, examples in SEARCHES:
        strategy = MCTS(rollouts=rollouts, action=ACTION, width=width, max_depth=DEPTH, parallel=8, sampling=SAMPLING)
        question = lines[line - 1].split("\t")[0]
        shown = "\n\n".join(lines[len(lines) - examples :]).replace("\t", "\nAnswer: ")
        system = f"Solve the problem step by step. Solved problems:\n\n{shown}" if examples else None
        [result] = engine.search(question, strategy, system=system, instruction=None)
        parents = [node.parent for node in result.tree]
        tokens = [len(engine.chat_ids(question, system)), *(node.tokens for node in result.tree[1:])]
        trees.append({"question": line, "width": width, "examples": examples, "parents": parents, "tokens": tokens})
        print(f"question {line}, width {width}: {len(parents)} nodes, {sum(tokens)} tokens", file=sys.stderr)
    made = {
        "by": "bench/attention/record_trees.py",
        "questions": questions.name,
        "model": MODEL,
        "search": f"MCTS, action {ACTION}, at most {DEPTH} levels",
        "sampling": f"temperature {SAMPLING.temperature}, top_k {SAMPLING.top_k}, top_p {SAMPLING.top_p}",
    }
    RECORD.parent.mkdir(exist_ok=True)
    rows = ",\n".join("    " + json.dumps(tree) for tree in trees)
    write_atomically(RECORD, f'{{\n  "made": {json.dumps(made)},\n  "trees": [\n{rows}\n  ]\n}}\n'.encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
