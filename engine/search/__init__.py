"""Search: strategies, actions, values and answer rules, which are chosen independently of each other."""

from .actions import Action, ActionPrompt, MiniStep, Opening, Step
from .answers import ANSWER_RULES, AnswerRule, answers_agree, extract_answer, normalise_answer, reference_answer
from .protocol import Call, Growing, Progress, Search, Searcher, Task, Wave
from .question import Question
from .result import Rollout, SearchResult, SearchStats, TreeNode
from .rollout.token_ends import with_token_ends
from .search_run import SearchRun
from .search_tree import SearchNode
from .solutions import Solution, solutions
from .strategies import DVTS, MCTS, REBASE, STRATEGIES, Beam, BestOfN, Greedy, SelfConsistency
from .strategy import SearchOptions, Strategy
from .trace import Trace
from .values import VALUES, GroundTruth, GroupConfidence, Judge, MarcoConfidence, MeanLogprob, Mixture, Value

__all__ = [
    "ANSWER_RULES",
    "DVTS",
    "MCTS",
    "REBASE",
    "STRATEGIES",
    "VALUES",
    "Action",
    "ActionPrompt",
    "AnswerRule",
    "Beam",
    "BestOfN",
    "Call",
    "Greedy",
    "GroundTruth",
    "GroupConfidence",
    "Growing",
    "Judge",
    "MarcoConfidence",
    "MeanLogprob",
    "MiniStep",
    "Mixture",
    "Opening",
    "Progress",
    "Question",
    "Rollout",
    "Search",
    "SearchNode",
    "SearchOptions",
    "SearchResult",
    "SearchRun",
    "SearchStats",
    "Searcher",
    "SelfConsistency",
    "Solution",
    "Step",
    "Strategy",
    "Task",
    "Trace",
    "TreeNode",
    "Value",
    "Wave",
    "answers_agree",
    "extract_answer",
    "normalise_answer",
    "reference_answer",
    "solutions",
    "with_token_ends",
]
