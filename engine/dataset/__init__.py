"""Training data from finished searches: filtered, without duplicates, split by question, in the forms trainers read."""

from .options import FORMS, KINDS, DatasetOptions
from .production import Encode, Produced, Production
from .trace import ReasoningTrace, TraceStep

__all__ = ["FORMS", "KINDS", "DatasetOptions", "Encode", "Produced", "Production", "ReasoningTrace", "TraceStep"]
