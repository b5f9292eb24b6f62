"""The options that say which models and strategies are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import common as options

if TYPE_CHECKING:
    from ...search.strategy_spec import StrategySpec


@dataclass(frozen=True, slots=True)
class ContestOptions:
    """Options of every command that compares models or strategies."""

    models: options.ModelsOption = ""
    strategies: options.StrategiesOption = "greedy,mcts"
    budget_tokens: options.BudgetTokensOption = None
    parameters: options.ParametersOption = ""

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
            InputError: A strategy or a parameter does not exist, or makes no sense.
        """
        from ...search.strategy_spec import parse_parameters, parse_strategies

        budget = {} if self.budget_tokens is None else {"max_tokens": str(self.budget_tokens)}
        return parse_strategies(self.strategies, parse_parameters(self.parameters) | budget)
