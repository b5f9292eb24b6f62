"""Values that ask a second model how good a chain is."""

from .judge_spec import parse_judge

__all__ = ["parse_judge"]
