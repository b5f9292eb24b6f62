"""Prints a search result in readable form."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import IO

from rich.rule import Rule
from rich.text import Text
from rich.tree import Tree

from ..search import SearchResult, Solution, TreeNode
from ..text.printable import printable
from ..text.terminal import Terminal

PIPED_WIDTH = 120
"""Width in columns if stdout is not a terminal."""

_INDENT = 4
"""Columns by which rich indents a level."""

_LINE = 24
"""Minimum columns for the deepest lines: the numbers of a node, and the beginning of its text."""


def print_report(result: SearchResult, out: IO[str], found: Sequence[Solution] = ()) -> None:
    """Print the answer, the best chain, other solutions, and the tree, with stars on the best path."""
    console = Terminal(out, width=None if out.isatty() else PIPED_WIDTH)
    console.print(Text.assemble("answer      ", (printable(result.answer) or "(none)", "bold")), soft_wrap=True)
    agreeing, answered = result.votes
    console.print(f"confidence  {result.confidence:.2f}, {agreeing} of {answered} chains")
    console.print(f"value       {result.value:.3f}")
    if result.instruction:
        console.print(Text(f"instruction {printable(result.instruction)}", style="dim"), soft_wrap=True)
    console.print(Rule(Text("best chain"), align="left", style="dim"))
    console.print(Text(printable(result.text.strip())), soft_wrap=True)
    for number, solution in enumerate(found[1:], 2):
        title = f"solution {number}: confidence {solution.confidence:.2f}, value {solution.value:.3f}"
        console.print(Rule(Text(title), align="left", style="dim"))
        console.print(Text(printable(solution.text.strip())), soft_wrap=True)
    console.print(Rule(Text("tree: visits, mean value, [answer], text"), align="left", style="dim"))
    console.print(_Drawing(result).tree((console.width - _LINE) // _INDENT))
    console.print(Rule(style="dim"))
    console.print(Text(_cost(result), style="dim"), soft_wrap=True)


def _cost(result: SearchResult) -> str:
    rollouts = f"{len(result.rollouts)} rollouts, {len(result.tree)} nodes"
    if result.stats is None:
        return rollouts
    stats = result.stats
    return (
        f"{rollouts}, {stats.generated_tokens} tokens generated and {stats.reused_tokens} reused "
        f"in {stats.wall_s:.1f} s ({stats.tokens_per_s:.1f} tokens/s)"
    )


class _Drawing:
    """Draws a tree with one line per node; a run of nodes that only one rollout went through is a single line."""

    def __init__(self, result: SearchResult) -> None:
        self._result = result
        self._best = set(result.best_path)
        self._answers = {rollout.leaf: rollout.answer for rollout in result.rollouts}
        self._children: dict[int, list[TreeNode]] = defaultdict(list)
        for node in result.tree:
            if node.parent is not None:
                self._children[node.parent].append(node)
        self._below = [0] * len(result.tree)
        for node in reversed(result.tree):
            if node.parent is not None:
                self._below[node.parent] += 1 + self._below[node.id]

    def tree(self, levels: int) -> Tree:
        """The drawing, with the question as its root; below `levels`, only the number of nodes."""
        root = self._result.tree[0]
        tree = Tree(self._line(root, root, self._result.question), guide_style="dim")
        waiting = [(tree, root, 1)]
        while waiting:
            drawn, node, level = waiting.pop()
            for child in self._children[node.id]:
                last, texts = child, [child.text]
                while child.visits == 1 and len(self._children[last.id]) == 1:
                    [last] = self._children[last.id]
                    texts.append(last.text)
                added = drawn.add(self._line(child, last, "".join(texts)))
                if level < levels:
                    waiting.append((added, last, level + 1))
                elif self._below[last.id]:
                    added.add(Text(f"+ {self._below[last.id]} nodes", style="dim"))
        return tree

    def _line(self, first: TreeNode, last: TreeNode, text: str) -> Text:
        star = "*" if first.id in self._best else " "
        value = "-" if first.value is None else f"{first.value:.3f}"
        answer = f"[{printable(self._answers[last.id])}]  " if last.id in self._answers else ""
        line = Text(f"{star} {first.visits:>2}  {value:>5}  {answer}", no_wrap=True, overflow="ellipsis")
        line.append(printable(" ".join(text.split())))
        line.stylize("bold" if star == "*" else "")
        return line
