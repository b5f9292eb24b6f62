"""Answers: how they are found in a text, when two are the same, and which of several stands."""

from .answer import answers_agree, extract_answer, normalise_answer
from .answer_rule import ANSWER_RULES, AnswerRule, Vote, agreement, lead, rule_of, votes
from .parser import AnswerParser, parser_of

__all__ = [
    "ANSWER_RULES",
    "AnswerParser",
    "AnswerRule",
    "Vote",
    "agreement",
    "answers_agree",
    "extract_answer",
    "lead",
    "normalise_answer",
    "parser_of",
    "rule_of",
    "votes",
]
