"""Evaluation of strategies: accuracy with confidence intervals, and cost."""

from ..search.strategy_spec import StrategySpec, parse_parameters, parse_strategies
from .comparison.comparison import COMPARE_PROMPTS, Comparison, Contestant, Prompt, Reply
from .comparison.file import ComparisonFile
from .comparison.page import comparison_page
from .comparison.text import comparison_sections
from .data_set import DataSet
from .eval_run import EvalRun, Failure
from .eval_view import EvalStage, EvalView
from .evaluate import evaluate
from .evaluation import Evaluation
from .interval import Interval, wilson
from .mgsm import INSTRUCTIONS, Problem, problems
from .pairs import Pairs
from .question_range import QuestionRange
from .report.curve_plot import draw_curve
from .report.folder import check_report_folder, write_report
from .report.report import Report, check_baseline
from .report.sections import Heading, Section, Table, print_sections, to_markdown, to_text
from .series import Series, read_series
from .trial import Trial

__all__ = [
    "COMPARE_PROMPTS",
    "INSTRUCTIONS",
    "Comparison",
    "ComparisonFile",
    "Contestant",
    "DataSet",
    "EvalRun",
    "EvalStage",
    "EvalView",
    "Evaluation",
    "Failure",
    "Heading",
    "Interval",
    "Pairs",
    "Problem",
    "Prompt",
    "QuestionRange",
    "Reply",
    "Report",
    "Section",
    "Series",
    "StrategySpec",
    "Table",
    "Trial",
    "check_baseline",
    "check_report_folder",
    "comparison_page",
    "comparison_sections",
    "draw_curve",
    "evaluate",
    "parse_parameters",
    "parse_strategies",
    "print_sections",
    "problems",
    "read_series",
    "to_markdown",
    "to_text",
    "wilson",
    "write_report",
]
