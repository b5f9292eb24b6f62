"""`marcot search`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..options import common as options
from ..options.groups import grouped
from ..options.model import ModelOptions
from ..options.questions import QuestionOptions
from ..options.replicas import ReplicaOptions
from ..options.sampling import SamplingOptions
from ..options.strategy import StrategyOptions
from ..options.template import TemplateOptions

if TYPE_CHECKING:
    from ...results.question_file import InputQuestion
    from ...view import TreeFile


@grouped
def search(
    *,
    model: options.ModelOption,
    question: Annotated[str | None, typer.Argument(help="The question; - reads it from stdin.")] = None,
    file: QuestionOptions,
    tree: options.TreeOption = None,
    json: options.JsonOption = False,
    instruction: options.InstructionOption = "auto",
    template: TemplateOptions,
    concurrency: Annotated[int, typer.Option(help="Questions searched at a time, in each process.")] = 8,
    replicas: ReplicaOptions,
    strategy: options.StrategyOption = "mcts",
    parameters: StrategyOptions,
    solutions: options.SolutionsOption = 0,
    sampling: SamplingOptions,
    loading: ModelOptions,
) -> None:
    """Search for the answer to a question, or to every question in a file, with MCTS or another strategy.

    Prints the answer, the best chain of reasoning and the tree; --json prints all of it as one object per question.
    Progress goes to stderr.

    For example:

      marcot search -m qwen2.5-coder-0.5b "Natalia has 48 clips and sells half. How many are left?"

      marcot search -m qwen2.5-coder-0.5b --rollouts 16 --action mini-step-32 --json "..." > result.json

      marcot search -m qwen2.5-coder-0.5b --tree search.html "..."

      marcot search -m qwen2.5-coder-0.5b --strategy beam:beams=4,samples=4 --value deepconf-tail "..."

      marcot search -m qwen2.5-coder-0.5b --answer-from text --solutions 3 "Translate into English: ..."

      marcot search -m ./my-checkpoint --input gsm8k.jsonl --out results.jsonl --concurrency 32

      marcot search -m ./my-checkpoint --input gsm8k.csv --id-field id --shard 3/16 --out part-3.jsonl
    """
    from ...errors import InputError
    from ...results.question_file import InputQuestion
    from ..strategy import chosen_strategy
    from .search_command import SearchCommand

    if (question is None) == (file.input is None):
        raise InputError("give either a question or --input FILE")
    given = parameters.given
    if solutions and given["vote_margin"] is None:
        given["vote_margin"] = 0
    chosen = chosen_strategy(strategy, given, sampling.sampling())
    _check_files(file, tree)
    asked = file.read()
    if question is not None:
        asked = [InputQuestion(0, options.read_text(question, "question"))]
    command = SearchCommand(
        questions=asked,
        strategy=chosen,
        model=model,
        numbers=loading.numbers,
        system=template.system,
        instruction=options.parse_instruction(instruction),
        concurrency=concurrency,
        out=file.out,
        json=json,
        tree=None if tree is None else _tree_file(tree, file.input is not None, asked),
        solutions=solutions,
        stats_out=file.stats_out,
        date=template.day,
    )
    raise typer.Exit(command.run(partial(replicas.open, loading=loading)))


def _tree_file(path: Path, numbered: bool, asked: Sequence[InputQuestion]) -> TreeFile:
    """The file or files for the trees, after a check that no file of another kind would be overwritten.

    Raises:
        InputError: One would be, or the file name is not valid for a tree.
    """
    from ...view import TreeFile

    file = TreeFile(path, numbered=numbered)
    file.check(each.index for each in asked)
    return file


def _check_files(file: QuestionOptions, tree: Path | None) -> None:
    """Check that no output file is the file of another option.

    Raises:
        InputError: One is; the message says which option to change.
    """
    from ...errors import InputError
    from ...results.output_file import is_same_file

    if file.out is not None and is_same_file(file.out, file.input):
        raise InputError(f"--out {file.out}: is the file of the questions; give --out another file")
    others = [file.input, file.out]
    for name, path in (("--stats-out", file.stats_out), ("--tree", tree)):
        if path is not None and any(is_same_file(path, other) for other in others):
            raise InputError(f"{name} {path}: is also the file of another option; give {name} another one")
        others.append(path)
