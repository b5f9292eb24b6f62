"""The options that select models and strategies to compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from . import common as options

if TYPE_CHECKING:
    from ...search.strategy_spec import StrategySpec

_MODEL = "Model"
_SEARCH = "Search"


@dataclass(frozen=True, slots=True)
class ContestOptions:
    """Options of every command that compares models or strategies."""

    models: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="A,B",
            help="Checkpoint folders, .gguf files, hub ids or names from marcot models, separated by commas. They are "
            "loaded one after the other.",
            rich_help_panel=_MODEL,
        ),
    ] = ""
    strategies: Annotated[
        str,
        typer.Option(
            "--strategy",
            metavar="A,B",
            help="Strategies, separated by commas, each with parameters if wanted: "
            "greedy,mcts:action=token,rollouts=4. label=NAME names one in tables; module:Class is your own class.",
            rich_help_panel=_SEARCH,
        ),
    ] = "greedy,mcts"
    budget_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-tokens", help="Maximum tokens drawn for a question; no limit by default.", rich_help_panel=_SEARCH
        ),
    ] = None
    parameters: Annotated[
        str,
        typer.Option(
            "--set",
            metavar="P=V,...",
            help="Parameters of every strategy that has them, such as max_rollout_tokens=320,seed=1.",
            rich_help_panel=_SEARCH,
        ),
    ] = ""

    @property
    def names(self) -> list[str]:
        """Names of the models.

        Raises:
            InputError: There is none, or one twice.
        """
        return options.split_names(self.models, "--model")

    @property
    def specs(self) -> list[StrategySpec]:
        """The strategies with their parameters.

        Raises:
            InputError: A strategy or a parameter does not exist, or is invalid.
        """
        from ...search.strategy_spec import parse_parameters, parse_strategies

        budget = {} if self.budget_tokens is None else {"max_tokens": str(self.budget_tokens)}
        return parse_strategies(self.strategies, parse_parameters(self.parameters) | budget)
