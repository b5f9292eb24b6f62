"""`marcot search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options


def search(
    *,
    model: options.ModelOption,
    question: Annotated[str | None, typer.Argument(help="The question; - reads it from stdin.")] = None,
    input: Annotated[
        Path | None,
        typer.Option(
            help='A file of questions: .txt (one per line), .jsonl (under "question"; an "answer" is compared), '
            "or .tsv (question, then reference answer)."
        ),
    ] = None,
    questions: options.QuestionsOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Append a JSON line for each finished question; what is in the file already is skipped."),
    ] = None,
    tree: options.TreeOption = None,
    json: options.JsonOption = False,
    instruction: options.InstructionOption = "auto",
    system: options.SystemOption = None,
    date: options.DateOption = None,
    concurrency: Annotated[int, typer.Option(help="Questions searched at a time.")] = 8,
    strategy: options.StrategyOption = "mcts",
    rollouts: options.RolloutsOption = None,
    action: options.ActionOption = None,
    value: options.ValueOption = None,
    answer_rule: options.AnswerRuleOption = None,
    answer_from: options.AnswerFromOption = None,
    solutions: options.SolutionsOption = 0,
    width: options.WidthOption = None,
    exploration: options.ExplorationOption = None,
    greedy_first: options.GreedyFirstOption = None,
    max_depth: options.MaxDepthOption = None,
    max_rollout_tokens: options.MaxRolloutTokensOption = None,
    parallel: options.ParallelOption = None,
    reflection: options.ReflectionOption = None,
    prune: options.PruneOption = None,
    patience: options.PatienceOption = None,
    lead: options.LeadOption = None,
    stop_decided: options.StopDecidedOption = None,
    max_tokens: options.MaxTokensBudget = None,
    max_seconds: options.MaxSecondsBudget = None,
    max_nodes: options.MaxNodesBudget = None,
    temperature: options.TemperatureOption = 0.5,
    top_k: options.TopKOption = 20,
    top_p: options.TopPOption = 0.95,
    min_p: options.MinPOption = 0.0,
    repetition_penalty: options.RepetitionPenaltyOption = 1.0,
    stop: options.StopOption = None,
    stop_token_ids: options.StopTokenIdsOption = "",
    seed: options.SeedOption = 0,
    device: options.DeviceOption = "auto",
    dtype: options.DtypeOption = "auto",
    compute: options.ComputeOption = "auto",
    weights: options.WeightsOption = "stored",
    threads: options.ThreadsOption = None,
    kv_tokens: options.KVTokensOption = None,
    kv_dtype: options.KVDtypeOption = "auto",
    deterministic: options.DeterministicOption = False,
    no_graphs: options.NoGraphsOption = False,
) -> None:
    """Search a question, or a file of them: by Marco-o1's Monte Carlo tree search, or by one of its rivals.

    Prints the answer, the best chain of reasoning and the tree; with --json, all of it as one object per question.
    Progress goes to stderr.

    For example:

      marcot search -m qwen2.5-coder-0.5b "Natalia has 48 clips and sells half. How many are left?"

      marcot search -m qwen2.5-coder-0.5b --rollouts 16 --action mini-step-32 --json "..." > result.json

      marcot search -m qwen2.5-coder-0.5b --tree search.html "..."

      marcot search -m qwen2.5-coder-0.5b --strategy beam:beams=4,samples=4 --value deepconf-tail "..."

      marcot search -m qwen2.5-coder-0.5b --answer-from text --solutions 3 "Translate into English: ..."

      marcot search -m ./my-checkpoint --input gsm8k.jsonl --out results.jsonl --concurrency 32
    """
    from ..errors import InputError
    from ..evaluation.question_range import QuestionRange
    from ..question_file import Question, read_questions
    from ..sampling import Sampling
    from ..view import TreeFile
    from ..whole_file import is_same_file
    from .loading import Loading
    from .request import Request
    from .strategy import chosen_strategy

    if (question is None) == (input is None):
        raise InputError("give either a question or --input FILE")
    sampling = Sampling(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        stop=tuple(stop or ()),
        stop_token_ids=tuple(options.parse_token_ids(stop_token_ids, "--stop-token-ids")),
        seed=seed,
    )
    options_given = {
        "rollouts": rollouts,
        "action": action,
        "value": value,
        "answer_rule": answer_rule,
        "answer_from": answer_from,
        "width": width,
        "exploration": exploration,
        "greedy_first": greedy_first,
        "max_depth": max_depth,
        "max_rollout_tokens": max_rollout_tokens,
        "parallel": parallel,
        "reflection": reflection,
        "prune": prune,
        "patience": patience,
        "lead": 0 if solutions and lead is None else lead,
        "stop_decided": stop_decided,
        "max_tokens": max_tokens,
        "max_seconds": max_seconds,
        "max_nodes": max_nodes,
    }
    chosen = chosen_strategy(strategy, options_given, sampling)
    if out is not None and is_same_file(out, input):
        raise InputError(
            f"--out {out}: holds the questions, and is not a result of marcot search; give --out another file"
        )
    if tree is not None and (is_same_file(tree, input) or is_same_file(tree, out)):
        raise InputError(f"--tree {tree}: is the file of another option too; give --tree another one")
    if input is not None:
        wanted, whole = QuestionRange.parse(questions or "1-"), read_questions(input)
        wanted.check(len(whole))
        asked = [each for each in whole if each.index + 1 in wanted]
    elif questions is not None:
        raise InputError(f"--questions {questions}: needs --input FILE")
    else:
        asked = [Question(0, options.read_text(question or "", "question"))]
    tree_file = None if tree is None else TreeFile(tree, numbered=input is not None)
    if tree_file is not None:
        tree_file.check(each.index for each in asked)
    loading = Loading(device, dtype, compute, weights, threads, kv_tokens, kv_dtype, deterministic, not no_graphs)
    request = Request(
        questions=asked,
        strategy=chosen,
        model=model,
        numbers=loading.numbers,
        system=system,
        instruction=options.parse_instruction(instruction),
        concurrency=concurrency,
        out=out,
        json=json,
        tree=tree_file,
        solutions=solutions,
        date=options.parse_date(date),
    )
    raise typer.Exit(request.run(loading.load))
