"""Answers: how to find one in a text, when two are the same, and which of several wins."""

from .answer_rule import ANSWER_RULES, AnswerRule, Vote, agreement, resolve_answer_rule, votes
from .ballot import Ballot
from .extraction import extract_answer, reference_answer
from .key import normalise_answer
from .parser import AnswerParser, resolve_answer_parser
from .verdict import answers_agree, known_reference

__all__ = [
    "ANSWER_RULES",
    "AnswerParser",
    "AnswerRule",
    "Ballot",
    "Vote",
    "agreement",
    "answers_agree",
    "extract_answer",
    "known_reference",
    "normalise_answer",
    "reference_answer",
    "resolve_answer_parser",
    "resolve_answer_rule",
    "votes",
]
