"""Training data from finished searches: filtered, deduplicated, split by question, in formats that trainers read."""

from .dataset_builder import BuildResult, DatasetBuilder, Encode
from .options import FORMS, KINDS, DatasetOptions
from .trace import ReasoningTrace, TraceStep

__all__ = ["FORMS", "KINDS", "BuildResult", "DatasetBuilder", "DatasetOptions", "Encode", "ReasoningTrace", "TraceStep"]
