"""Evaluation: how often which strategy is right, at what cost, and how sure that is."""

from .comparison import COMPARE_PROMPTS, Comparison, Contestant, Prompt, Reply
from .comparison_page import comparison_page
from .comparison_text import comparison_markdown
from .curve_plot import draw_curve
from .data_set import DataSet
from .eval_run import EvalRun, Failure
from .eval_view import EvalView, Leg
from .interval import Interval, wilson
from .mgsm import INSTRUCTIONS, Problem, problems
from .pairs import Pairs
from .question_range import QuestionRange
from .report import Report, check_baseline
from .series import Series, read_series
from .strategy_spec import StrategySpec, parse_parameters, parse_strategies
from .trial import Trial

__all__ = [
    "COMPARE_PROMPTS",
    "INSTRUCTIONS",
    "Comparison",
    "Contestant",
    "DataSet",
    "EvalRun",
    "EvalView",
    "Failure",
    "Interval",
    "Leg",
    "Pairs",
    "Problem",
    "Prompt",
    "QuestionRange",
    "Reply",
    "Report",
    "Series",
    "StrategySpec",
    "Trial",
    "check_baseline",
    "comparison_markdown",
    "comparison_page",
    "draw_curve",
    "parse_parameters",
    "parse_strategies",
    "problems",
    "read_series",
    "wilson",
]
