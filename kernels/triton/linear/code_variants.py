"""What the variants of all kernels that read quantised weights have in common."""

from __future__ import annotations

import torch

from ..variant import pointer_to
from .block_codes import FORMATS, CodeFormat

GROUPS_OF_FOUR_BITS = (
    CodeFormat(4, 64, 0, has_minimums=True, nested=False),
    CodeFormat(4, 128, 0, has_minimums=True, nested=False),
)
"""Formats that the kernels support in addition to those of GGUF: 4 bits with longer groups."""


def code_formats() -> tuple[CodeFormat, ...]:
    """Every format that the kernels are launched for."""
    return tuple(dict.fromkeys((*FORMATS.values(), *GROUPS_OF_FOUR_BITS)))


def word_arguments(format: CodeFormat) -> tuple[dict[str, str], dict[str, object]]:
    """The kernel arguments for the words of a `QuantizedSection`: the types of tensors, and the constants."""
    signature = {"codes": pointer_to(torch.int16), "factors": pointer_to(format.word)}
    constants: dict[str, object] = {"BITS": format.bits, "GROUP": format.group, "CENTRE": format.centre}
    if format.nested:
        signature["supers"] = pointer_to(format.super_word)
    else:
        constants["supers"] = None
    return signature, constants


def code_name(format: CodeFormat) -> str:
    """Short name of a format, such as `"4-bit g32 nested minimums"`."""
    nested, minimums = " nested" * format.nested, " minimums" * format.has_minimums
    centred = f" centre {format.centre}" if format.centre else ""
    return f"{format.bits}-bit g{format.group}{nested}{minimums}{centred}"
