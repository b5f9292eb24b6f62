"""The options that commands share, each with its help text in one place."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

_MODEL = "Model"
_SAMPLING = "Sampling"
_SEARCH = "Search"
_BUDGETS = "Budgets, for each question"

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="A checkpoint folder, a .gguf file, a hub id (organisation/model, @revision and :file.gguf after it), "
        "or a name from marcot models.",
        rich_help_panel=_MODEL,
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        help="auto, cpu or cuda; for marcot search also several, such as cuda:0,cuda:1.", rich_help_panel=_MODEL
    ),
]
DtypeOption = Annotated[
    str,
    typer.Option(
        help="auto (float32 on the CPU, bfloat16 on a GPU), float32, bfloat16 or float16.", rich_help_panel=_MODEL
    ),
]
ComputeOption = Annotated[
    str,
    typer.Option(
        help="exact: fp32 throughout, agrees with transformers to 1e-4. fast: where weights are quantised, activations "
        "are rounded to int8. auto: fast where that gains time, else exact.",
        rich_help_panel=_MODEL,
    ),
]
WeightsOption = Annotated[
    str,
    typer.Option(
        help="What weights are kept as in memory: stored (as in the checkpoint), or the unquantised ones rounded to "
        "bf16 (half of fp32), int8 (a quarter) or int4 (a sixth).",
        rich_help_panel=_MODEL,
    ),
]
ThreadsOption = Annotated[int | None, typer.Option(help="CPU threads; all cores by default.", rich_help_panel=_MODEL)]
KVTokensOption = Annotated[
    int | None,
    typer.Option(help="Size of the KV cache in tokens; what fits by default.", rich_help_panel=_MODEL),
]
KVDtypeOption = Annotated[
    str,
    typer.Option(
        "--kv-dtype",
        help="What the KV cache holds. auto: K and V as they are computed. fp8: 8 bits each with a scale per layer and "
        "head, so that twice as many tokens fit as in 16 bits and attention reads half, for a change of every "
        "log-probability: small with E4M3, larger with E5M2, which AMD's GPUs and older ones use. On a GPU only.",
        rich_help_panel=_MODEL,
    ),
]
DeterministicOption = Annotated[
    bool,
    typer.Option(
        "--deterministic",
        help="A branch has the same bits alone and beside any others. On the CPU it always has. A GPU then cuts "
        "attention at fixed places and multiplies with kernels that take every number of rows alike, which are slower "
        "than those that are chosen for a step's size.",
        rich_help_panel=_MODEL,
    ),
]
NoGraphsOption = Annotated[
    bool,
    typer.Option(
        "--no-graphs",
        help="On a GPU, launch every kernel of a decode step by itself instead of all in one CUDA graph: slower, but "
        "errors and profiles name the kernel.",
        rich_help_panel=_MODEL,
    ),
]

TemperatureOption = Annotated[float, typer.Option(help="Divides the logits; 0 is greedy.", rich_help_panel=_SAMPLING)]
TopKOption = Annotated[int, typer.Option(help="Keep the K most probable tokens; 0: all.", rich_help_panel=_SAMPLING)]
TopPOption = Annotated[
    float, typer.Option(help="Keep the most probable tokens up to this sum; 1: all.", rich_help_panel=_SAMPLING)
]
MinPOption = Annotated[
    float,
    typer.Option(
        help="Keep tokens at least this many times as probable as the best; 0: all.", rich_help_panel=_SAMPLING
    ),
]
RepetitionPenaltyOption = Annotated[
    float, typer.Option(help="Penalty on tokens that were there before; 1: none.", rich_help_panel=_SAMPLING)
]
FrequencyPenaltyOption = Annotated[
    float,
    typer.Option(help="Penalty on a token for each time it was drawn, -2 to 2.", rich_help_panel=_SAMPLING),
]
PresencePenaltyOption = Annotated[
    float, typer.Option(help="Penalty on tokens that were drawn, -2 to 2.", rich_help_panel=_SAMPLING)
]
LogitBiasOption = Annotated[
    str,
    typer.Option(
        metavar="ID:BIAS ...",
        help='What is added to the logits of tokens, such as "13:-100 198:2.5".',
        rich_help_panel=_SAMPLING,
    ),
]
AllowedTokenIdsOption = Annotated[
    str,
    typer.Option(help='The only tokens that may be drawn, such as "15 16"; all by default.', rich_help_panel=_SAMPLING),
]
BadWordOption = Annotated[
    list[str] | None,
    typer.Option("--bad-word", help="Text that must not come; may be given again.", rich_help_panel=_SAMPLING),
]
MinTokensOption = Annotated[
    int, typer.Option(help="Tokens before anything may end a sample.", rich_help_panel=_SAMPLING)
]
StopOption = Annotated[
    list[str] | None, typer.Option(help="Text that ends a sample; may be given again.", rich_help_panel=_SAMPLING)
]
StopTokenIdsOption = Annotated[
    str, typer.Option(help='Tokens that end a sample, such as "13 198".', rich_help_panel=_SAMPLING)
]
SeedOption = Annotated[int, typer.Option(help="Same seed, same result.", rich_help_panel=_SAMPLING)]

StrategyOption = Annotated[
    str,
    typer.Option(
        metavar="NAME[:P=V,...]",
        help="mcts, greedy, best-of-n, self-consistency, beam, dvts, rebase or your own class as module:Class, with "
        "parameters of its own if wanted, such as beam:beams=8,samples=4.",
        rich_help_panel=_SEARCH,
    ),
]
RolloutsOption = Annotated[
    int | None,
    typer.Option(help="Chains to finish; by default 8, or what another budget allows.", rich_help_panel=_SEARCH),
]
ActionOption = Annotated[
    str | None,
    typer.Option(
        help="What a node adds: step (the default), mini-step-64, mini-step-32, token, uncertain-8 (forks where the "
        "model hesitated), marco-v2 (kinds of action that it is told), a .toml file with kinds of your own, or "
        "your own class as module:Class.",
        rich_help_panel=_SEARCH,
    ),
]
ValueOption = Annotated[
    str | None,
    typer.Option(
        help="What a chain is worth: marco (the default), marco-kN, deepconf-group, deepconf-lowest, deepconf-tail, "
        "logprob, ground-truth, your own as module:name, or a mixture such as 0.7*marco+0.3*logprob.",
        rich_help_panel=_SEARCH,
    ),
]
AnswerRuleOption = Annotated[
    str | None,
    typer.Option(
        help="Whose answer stands: confidence-vote, majority, best-rollout, best-value, most-visits, or your own "
        "function as module:name.",
        rich_help_panel=_SEARCH,
    ),
]
AnswerFromOption = Annotated[
    str | None,
    typer.Option(
        help="Where a chain's answer is: auto (<Output>, boxed, ####, ...; the default), text (all), a regular "
        "expression whose last match counts, or your own function as module:name.",
        rich_help_panel=_SEARCH,
    ),
]
SolutionsOption = Annotated[
    int,
    typer.Option(
        help="Print up to this many different solutions, best first, for questions that have more than one.",
        rich_help_panel=_SEARCH,
    ),
]
WidthOption = Annotated[int | None, typer.Option(help="mcts: children of a node (3).", rich_help_panel=_SEARCH)]
ExplorationOption = Annotated[float | None, typer.Option(help="mcts: C in UCT (1.414).", rich_help_panel=_SEARCH)]
GreedyFirstOption = Annotated[
    bool | None,
    typer.Option(
        "--greedy-first/--no-greedy-first",
        help="mcts: the first rollout takes the most probable tokens (it does).",
        rich_help_panel=_SEARCH,
    ),
]
MaxDepthOption = Annotated[int | None, typer.Option(help="Levels of the tree (64).", rich_help_panel=_SEARCH)]
MaxRolloutTokensOption = Annotated[int | None, typer.Option(help="Tokens of a chain (1024).", rich_help_panel=_SEARCH)]
ParallelOption = Annotated[int | None, typer.Option(help="Chains in flight at once (4).", rich_help_panel=_SEARCH)]
ReflectionOption = Annotated[
    bool | None,
    typer.Option(
        "--reflection", help="After a finished thought, let the model reflect once and go on.", rich_help_panel=_SEARCH
    ),
]
PruneOption = Annotated[
    float | None,
    typer.Option(
        help="Give up chains that are less sure than this share of the finished ones were at their worst; 0: none.",
        rich_help_panel=_SEARCH,
    ),
]
ConvergenceWindowOption = Annotated[
    int | None,
    typer.Option(help="Stop when the answer has been the same for so many chains.", rich_help_panel=_BUDGETS),
]
VoteMarginOption = Annotated[
    int | None,
    typer.Option(
        help="Stop when an answer is so many chains ahead (2 for mcts); 0: never, all rollouts are made.",
        rich_help_panel=_BUDGETS,
    ),
]
StopDecidedOption = Annotated[
    bool | None,
    typer.Option(
        "--stop-decided", help="Stop when no chain to come could change the answer.", rich_help_panel=_BUDGETS
    ),
]
MaxTokensBudget = Annotated[
    int | None, typer.Option("--max-tokens", help="Tokens; no limit by default.", rich_help_panel=_BUDGETS)
]
MaxSecondsBudget = Annotated[
    float | None, typer.Option("--max-seconds", help="Seconds; no limit by default.", rich_help_panel=_BUDGETS)
]
MaxNodesBudget = Annotated[
    int | None, typer.Option("--max-nodes", help="Nodes of the tree; no limit by default.", rich_help_panel=_BUDGETS)
]

ModelsOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="A,B",
        help="Checkpoint folders, .gguf files, hub ids or names from marcot models, separated by commas; they are "
        "loaded one after the other.",
        rich_help_panel=_MODEL,
    ),
]
StrategiesOption = Annotated[
    str,
    typer.Option(
        "--strategy",
        metavar="A,B",
        help="Strategies, separated by commas, each with parameters if wanted: greedy,mcts:action=token,rollouts=4. "
        "label=NAME is what tables call one; module:Class is one of your own.",
        rich_help_panel=_SEARCH,
    ),
]
ParametersOption = Annotated[
    str,
    typer.Option(
        "--set",
        metavar="P=V,...",
        help="Parameters of every strategy that has them, such as max_rollout_tokens=320,seed=1.",
        rich_help_panel=_SEARCH,
    ),
]
BudgetTokensOption = Annotated[
    int | None,
    typer.Option("--max-tokens", help="Tokens that a question may draw; no limit by default.", rich_help_panel=_SEARCH),
]
InstructionOption = Annotated[
    str,
    typer.Option(
        metavar="TEXT",
        help="What follows the question. auto: 'Reason step by step, and put your final answer within \\boxed{}.', but "
        "nothing where the checkpoint's template or --system speaks of reasoning, where there is no template, with "
        "--answer-from, or where the question itself speaks of a box. none: nothing.",
    ),
]
DataInstructionOption = Annotated[
    str,
    typer.Option(
        metavar="TEXT",
        help="What follows each question. auto: for questions that come with marcot a request to reason and to box the "
        "answer, else nothing. none: nothing.",
    ),
]
SystemOption = Annotated[str | None, typer.Option(help="System message; the chat template's own by default.")]
DateOption = Annotated[
    str | None,
    typer.Option(
        metavar="YYYY-MM-DD",
        help="What a chat template that shows today's date shows; by default that of the results in --out, or today's.",
    ),
]
QuestionsOption = Annotated[
    str | None, typer.Option(metavar="RANGE", help="Only these questions, counted from 1: 1-64,100.")
]

TokenIdsOption = Annotated[
    str | None, typer.Option(help='Token ids instead of text, such as "1 2 3"; needs no tokenizer.')
]
TreeOption = Annotated[
    Path | None,
    typer.Option(
        help="Write the search as a page to look at (.html), for Graphviz (.dot), or with every token (.json); with "
        "--input a file per question, as in out-0001.html.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object per line and nothing else.")]


def parse_instruction(text: str, auto: str = "auto") -> str:
    """Return what follows a question: `none` is nothing, and `auto` is what it stands for."""
    return {"none": "", "auto": auto}.get(text.strip(), text)


def parse_date(text: str | None) -> date | None:
    """Return the day that `--date` names.

    Raises:
        InputError: It names none.
    """
    from ...errors import InputError

    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise InputError(f"--date {text}: must be a day such as 2026-07-31") from None


_ID_DIGITS = 18
"""More than any vocabulary's; the numbers fit into 64 bits."""


def parse_token_ids(text: str, option: str) -> list[int]:
    """Return the integers of `text`, separated by blanks or commas.

    Raises:
        InputError: Something in it is not a token id.
    """
    from ...errors import InputError

    ids = []
    for word in text.replace(",", " ").split():
        if not (word.isascii() and word.isdigit() and len(word) <= _ID_DIGITS):
            raise InputError(f'{option}: {word!r} is not a token id; give integers >= 0, such as "1 2 3"')
        ids.append(int(word))
    return ids


def parse_logit_bias(text: str) -> dict[int, float]:
    """Return what is added to the logits of tokens: `ID:BIAS` pairs, separated by blanks or commas.

    Raises:
        InputError: Something in it is no such pair.
    """
    from ...errors import InputError

    biases = {}
    for pair in text.replace(",", " ").split():
        token, _, bias = pair.partition(":")
        try:
            [token_id] = parse_token_ids(token, "--logit-bias")
            biases[token_id] = float(bias)
        except ValueError:
            raise InputError(f'--logit-bias: {pair!r} is no token id with a bias; write such as "13:-100"') from None
    return biases


def split_names(text: str, option: str) -> list[str]:
    """Return the names in `text`, separated by commas.

    Raises:
        InputError: There is none, or one is there twice.
    """
    from ...errors import InputError

    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InputError(f"{option} needs a name")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{option}: {name} is there twice")
    return names


def read_text(argument: str, name: str) -> str:
    """Return `argument`, or what is on stdin if it is `-`.

    Args:
        argument: As it was typed.
        name: What it is, for messages.

    Raises:
        InputError: It is blank or no text.
    """
    from ...errors import InputError

    try:
        text = sys.stdin.read().rstrip("\n") if argument == "-" else argument
    except UnicodeDecodeError as error:
        raise InputError(f"stdin: is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise InputError(f"stdin: cannot be read: {error.strerror}") from error
    if not text.strip():
        raise InputError(f"the {name} is empty")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        # What Python makes of an argument's bytes that are not UTF-8.
        raise InputError(f"the {name} is not UTF-8 text")
    return text


def prompt_or_ids(prompt: str | None, token_ids: str | None) -> str | list[int]:
    """Return the prompt, or the token ids that were given in its place."""
    return parse_token_ids(token_ids, "--token-ids") if token_ids is not None else read_text(prompt or "", "prompt")
