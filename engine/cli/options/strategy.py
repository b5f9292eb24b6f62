"""The options of strategies."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

_SEARCH = "Search"
_BUDGETS = "Budgets, for each question"


@dataclass(frozen=True, slots=True)
class StrategyOptions:
    """Parameters of a strategy; None keeps the strategy's default. See `SearchParameters` for what they mean."""

    rollouts: Annotated[
        int | None,
        typer.Option(
            help="Chains to finish; by default 8, or as many as another budget allows.", rich_help_panel=_SEARCH
        ),
    ] = None
    action: Annotated[
        str | None,
        typer.Option(
            help="What a node adds: step (the default), mini-step-64, mini-step-32, token, uncertain-8 (forks where "
            "the model hesitated), marco-v2 (kinds of action that begin with a prompt), a .toml file with your own "
            "kinds, or your own class as module:Class.",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    value: Annotated[
        str | None,
        typer.Option(
            help="Value of a chain: marco (the default), marco-kN, deepconf-group, deepconf-lowest, "
            "deepconf-tail, logprob, ground-truth, your own as module:name, judge:MODEL (a second model "
            "rates), or a mixture such as 0.7*marco+0.3*logprob.",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    answer_rule: Annotated[
        str | None,
        typer.Option(
            help="Whose answer wins: confidence-vote, majority, best-rollout, best-value, most-visits, or your own "
            "function as module:name.",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    answer_from: Annotated[
        str | None,
        typer.Option(
            help="Where to find a chain's answer: auto (<Output>, boxed, ####, ...; the default), text (the whole "
            "chain), a regular expression whose last match counts, or your own function as module:name.",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    width: Annotated[int | None, typer.Option(help="mcts: children per node (3).", rich_help_panel=_SEARCH)] = None
    exploration: Annotated[float | None, typer.Option(help="mcts: C in UCT (1.414).", rich_help_panel=_SEARCH)] = None
    greedy_first: Annotated[
        bool | None,
        typer.Option(
            "--greedy-first/--no-greedy-first",
            help="mcts: whether the first rollout takes the most probable tokens (on).",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    asynchronous: Annotated[
        bool | None,
        typer.Option(
            "--asynchronous/--no-asynchronous",
            help="mcts: whether a new rollout starts as soon as one ends, not when all in flight have ended (off).",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    max_depth: Annotated[int | None, typer.Option(help="Maximum levels of the tree (64).", rich_help_panel=_SEARCH)] = (
        None
    )
    max_rollout_tokens: Annotated[
        int | None, typer.Option(help="Maximum tokens of a chain (1024).", rich_help_panel=_SEARCH)
    ] = None
    parallel: Annotated[
        int | None, typer.Option(help="Maximum chains in flight at once (4).", rich_help_panel=_SEARCH)
    ] = None
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
            help="Give up chains whose confidence drops below this quantile of the finished chains' worst passages; 0 "
            "gives up none.",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    convergence_window: Annotated[
        int | None,
        typer.Option(help="Stop when the answer has been the same for this many chains.", rich_help_panel=_BUDGETS),
    ] = None
    vote_margin: Annotated[
        int | None,
        typer.Option(
            help="Stop when an answer is this many chains ahead (2 for mcts); 0 never stops early.",
            rich_help_panel=_BUDGETS,
        ),
    ] = None
    stop_decided: Annotated[
        bool | None,
        typer.Option(
            "--stop-decided", help="Stop when no further chain could change the answer.", rich_help_panel=_BUDGETS
        ),
    ] = None
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", help="Maximum tokens to draw; no limit by default.", rich_help_panel=_BUDGETS),
    ] = None
    max_seconds: Annotated[
        float | None,
        typer.Option("--max-seconds", help="Maximum seconds; no limit by default.", rich_help_panel=_BUDGETS),
    ] = None
    max_nodes: Annotated[
        int | None,
        typer.Option("--max-nodes", help="Maximum nodes of the tree; no limit by default.", rich_help_panel=_BUDGETS),
    ] = None

    @property
    def given(self) -> dict[str, Any]:
        """All parameters by name."""
        return asdict(self)
