"""The options of strategies."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

_SEARCH = "Search"
_BUDGETS = "Budgets, for each question"


@dataclass(frozen=True, slots=True)
class StrategyOptions:
    """Parameters of a strategy, each None where it keeps its default. See `SearchParameters` for what they mean."""

    rollouts: Annotated[
        int | None,
        typer.Option(help="Chains to finish; by default 8, or what another budget allows.", rich_help_panel=_SEARCH),
    ] = None
    action: Annotated[
        str | None,
        typer.Option(
            help="What a node adds: step (the default), mini-step-64, mini-step-32, token, uncertain-8 (forks where "
            "the model hesitated), marco-v2 (kinds of action that it is told), a .toml file with kinds of your own, "
            "or your own class as module:Class.",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    value: Annotated[
        str | None,
        typer.Option(
            help="What a chain is worth: marco (the default), marco-kN, deepconf-group, deepconf-lowest, "
            "deepconf-tail, logprob, ground-truth, your own as module:name, or a mixture such as "
            "0.7*marco+0.3*logprob.",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    answer_rule: Annotated[
        str | None,
        typer.Option(
            help="Whose answer stands: confidence-vote, majority, best-rollout, best-value, most-visits, or your own "
            "function as module:name.",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    answer_from: Annotated[
        str | None,
        typer.Option(
            help="Where a chain's answer is: auto (<Output>, boxed, ####, ...; the default), text (all), a regular "
            "expression whose last match counts, or your own function as module:name.",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    width: Annotated[int | None, typer.Option(help="mcts: children of a node (3).", rich_help_panel=_SEARCH)] = None
    exploration: Annotated[float | None, typer.Option(help="mcts: C in UCT (1.414).", rich_help_panel=_SEARCH)] = None
    greedy_first: Annotated[
        bool | None,
        typer.Option(
            "--greedy-first/--no-greedy-first",
            help="mcts: the first rollout takes the most probable tokens (it does).",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    max_depth: Annotated[int | None, typer.Option(help="Levels of the tree (64).", rich_help_panel=_SEARCH)] = None
    max_rollout_tokens: Annotated[
        int | None, typer.Option(help="Tokens of a chain (1024).", rich_help_panel=_SEARCH)
    ] = None
    parallel: Annotated[int | None, typer.Option(help="Chains in flight at once (4).", rich_help_panel=_SEARCH)] = None
    reflection: Annotated[
        bool | None,
        typer.Option(
            "--reflection",
            help="After a finished thought, let the model reflect once and go on.",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    prune: Annotated[
        float | None,
        typer.Option(
            help="Give up chains that are less sure than this share of the finished ones were at their worst; 0: none.",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    convergence_window: Annotated[
        int | None,
        typer.Option(help="Stop when the answer has been the same for so many chains.", rich_help_panel=_BUDGETS),
    ] = None
    vote_margin: Annotated[
        int | None,
        typer.Option(
            help="Stop when an answer is so many chains ahead (2 for mcts); 0: never, all rollouts are made.",
            rich_help_panel=_BUDGETS,
        ),
    ] = None
    stop_decided: Annotated[
        bool | None,
        typer.Option(
            "--stop-decided", help="Stop when no chain to come could change the answer.", rich_help_panel=_BUDGETS
        ),
    ] = None
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", help="Tokens; no limit by default.", rich_help_panel=_BUDGETS)
    ] = None
    max_seconds: Annotated[
        float | None, typer.Option("--max-seconds", help="Seconds; no limit by default.", rich_help_panel=_BUDGETS)
    ] = None
    max_nodes: Annotated[
        int | None,
        typer.Option("--max-nodes", help="Nodes of the tree; no limit by default.", rich_help_panel=_BUDGETS),
    ] = None

    @property
    def given(self) -> dict[str, Any]:
        """All parameters by name."""
        return asdict(self)
