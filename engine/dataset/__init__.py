"""Training data from finished searches: filtered, without duplicates, split by question, in the forms trainers read."""

from .dataset_builder import BuildResult, DatasetBuilder, Encode
from .options import FORMS, KINDS, DatasetOptions
from .trace import ReasoningTrace, TraceStep

__all__ = ["FORMS", "KINDS", "BuildResult", "DatasetBuilder", "DatasetOptions", "Encode", "ReasoningTrace", "TraceStep"]
