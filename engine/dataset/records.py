"""The records of a data set, in the formats that trainers read.

Every record of a kind has all fields, so that each column has one type.
"""

from __future__ import annotations

from typing import Any

from .filters.shared_prefix import shared_length
from .preference import Preference
from .thought_output import to_thought_output
from .trace import ReasoningTrace

Record = dict[str, Any]


def shown_text(trace: ReasoningTrace, form: str) -> str:
    """The text of a trace in the format `form`, one of `FORMS`."""
    return to_thought_output(trace.text, trace.answer) if form == "thought-output" else trace.text.strip()


def sft_record(question_id: str, trace: ReasoningTrace, form: str) -> Record:
    """A conversation in `messages`, the format of TRL's `SFTTrainer` and LLaMA-Factory (`sharegpt`, OpenAI tags)."""
    return {
        "messages": [*_prompt(trace), _said("assistant", shown_text(trace, form))],
        "answer": trace.answer,
        "grade": trace.grade,
        "value": trace.value,
        "agreement": trace.agreement,
        "question_id": question_id,
    }


def step_record(question_id: str, trace: ReasoningTrace) -> Record | None:
    """Stepwise supervision in TRL's format (`prompt`, `completions`, `labels`), with the data behind the labels.

    A step's label is whether any rollout through it reached the reference answer (Wang et al., "Math-Shepherd", 2023,
    hard estimation); `successes / visits` is the soft estimation. Without a reference, the label is whether the mean
    reward of the rollouts through the step is at least that of the whole search. Line feeds around a step are
    stripped, because trainers add their own separators.

    Returns:
        The record; None if the trace has no step with text, or a step without a value.
    """
    steps = [step for step in trace.steps if step.text.strip()]
    if not steps or any(step.value is None for step in steps):
        return None
    if trace.correct is not None:
        labels = [bool(step.successes) for step in steps]
    else:
        assert trace.baseline is not None, "a trace with values has their mean"
        labels = [step.value is not None and step.value >= trace.baseline for step in steps]
    return {
        "prompt": trace.question,
        "completions": [step.text.strip("\n") for step in steps],
        "labels": labels,
        "values": [step.value for step in steps],
        "visits": [step.visits for step in steps],
        "successes": [-1 if step.successes is None else step.successes for step in steps],
        "labelled_by": "value" if trace.correct is None else "reference",
        "question_id": question_id,
    }


def pair_record(question_id: str, pair: Preference, form: str, shared_tokens: int | None) -> Record:
    """A preference pair (`prompt`, `chosen`, `rejected`, each a conversation) in the format of TRL's `DPOTrainer`.

    `shared_characters` and `shared_tokens` are the lengths of the common prefix of the two assistant texts. For tokens,
    the texts are encoded without the prompt; the count is -1 without a tokenizer.
    """
    chosen, rejected = shown_text(pair.chosen, form), shown_text(pair.rejected, form)
    return {
        "prompt": _prompt(pair.chosen),
        "chosen": [_said("assistant", chosen)],
        "rejected": [_said("assistant", rejected)],
        "shared_characters": shared_length(chosen, rejected),
        "shared_tokens": -1 if shared_tokens is None else shared_tokens,
        "chosen_by": pair.chosen_by,
        "chosen_value": pair.chosen.value,
        "rejected_value": pair.rejected.value,
        "question_id": question_id,
    }


def _prompt(trace: ReasoningTrace) -> list[Record]:
    system = [_said("system", trace.system)] if trace.system is not None else []
    return [*system, _said("user", trace.question)]


def _said(role: str, content: str) -> Record:
    return {"role": role, "content": content}
