"""The types of the record fields, as the header of a card declares them to the `datasets` library.

Without a declaration the library infers a column's type from its first values, and a column that starts with nulls
would refuse numbers later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_MESSAGES = ("role", "content")

FEATURES: Mapping[str, Mapping[str, str | Sequence[str]]] = {
    "sft": {
        "messages": _MESSAGES,
        "answer": "string",
        "grade": "string",
        "value": "float64",
        "agreement": "float64",
        "question_id": "string",
    },
    "steps": {
        "prompt": "string",
        "completions": "list of string",
        "labels": "list of bool",
        "values": "list of float64",
        "visits": "list of int64",
        "successes": "list of int64",
        "labelled_by": "string",
        "question_id": "string",
    },
    "pairs": {
        "prompt": _MESSAGES,
        "chosen": _MESSAGES,
        "rejected": _MESSAGES,
        "shared_characters": "int64",
        "shared_tokens": "int64",
        "chosen_by": "string",
        "chosen_value": "float64",
        "rejected_value": "float64",
        "question_id": "string",
    },
}
"""Field types by kind of record: a type, `list of` a type, or a tuple of names for a list of objects of strings."""


def features_header(kind: str) -> list[str]:
    """The lines of the card's header that declare the fields of `kind`."""
    lines = [f"- config_name: {kind}", "  features:"]
    for name, type in FEATURES[kind].items():
        lines.append(f"  - name: {name}")
        if not isinstance(type, str):
            lines.append("    list:")
            for field in type:
                lines += [f"    - name: {field}", "      dtype: string"]
        elif type.startswith("list of "):
            lines.append(f"    list: {type.removeprefix('list of ')}")
        else:
            lines.append(f"    dtype: {type}")
    return lines
