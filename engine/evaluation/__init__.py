"""Evaluation: how often which strategy is right, at what cost, and how sure that is."""

from .curve_plot import draw_curve
from .interval import Interval, wilson
from .mgsm import INSTRUCTIONS, Problem, problems
from .pairs import Pairs
from .report import Report
from .series import Series, read_series
from .strategy_spec import StrategySpec, parse_parameters, parse_strategies
from .trial import Trial

__all__ = [
    "INSTRUCTIONS",
    "Interval",
    "Pairs",
    "Problem",
    "Report",
    "Series",
    "StrategySpec",
    "Trial",
    "draw_curve",
    "parse_parameters",
    "parse_strategies",
    "problems",
    "read_series",
    "wilson",
]
