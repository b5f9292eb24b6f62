"""GPU kernel launches that are recorded instead of made, and looked up among the variants that an op lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from marcot.kernels.triton.linear.block_codes import SUPER, Codes
from marcot.kernels.triton.linear.code_variants import code_formats
from marcot.kernels.triton.linear.packed_linear import DenseSection, QuantizedSection, TritonLinear, pack_codes
from marcot.kernels.triton.variant import Variant, pointer_to
from torch import Tensor

_DEFAULT_STAGES = 3

Launch = dict[str, Any]
"""Arguments and options by name, and the `kernel`."""


def noted(monkeypatch: pytest.MonkeyPatch, places: Iterable[tuple[ModuleType, str]]) -> list[Launch]:
    """A list to which launches of these kernels, `(module, name)`, are appended instead of being made."""
    launches: list[Launch] = []
    for module, name in places:
        monkeypatch.setattr(module, name, _Notes(getattr(module, name), launches))
    return launches


class _Notes:
    def __init__(self, kernel: Any, launches: list[Launch]) -> None:
        self._kernel = kernel
        self._launches = launches

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*arguments: Any, **options: Any) -> None:
            named = dict(zip(self._kernel.arg_names, arguments, strict=False))
            self._launches.append({"kernel": self._kernel, "num_stages": _DEFAULT_STAGES, **options, **named})

        return launch


def binary_of(launch: Launch, variants: Iterable[Variant]) -> str | None:
    """The name of the variant that is launched."""
    return next((variant.name for variant in variants if _is_of(launch, variant)), None)


def _is_of(launch: Launch, variant: Variant) -> bool:
    return (
        variant.kernel is launch["kernel"]
        and (variant.num_warps, variant.num_stages) == (launch["num_warps"], launch["num_stages"])
        and variant.registers == launch.get("maxnreg")
        and all(launch[name] == value for name, value in variant.constants.items() if value is not None)
        and all(launch[name] is None for name, value in variant.constants.items() if value is None)
        and all(
            pointer_to(launch[name].dtype) == kind if isinstance(launch[name], Tensor) else kind == "i32"
            for name, kind in variant.signature.items()
        )
    )


def weights(dtype: torch.dtype, rows: int = 80, columns: int = 256) -> Iterator[TritonLinear]:
    """A weight of zeros for each of the formats that have different kernels."""
    sections: list[DenseSection | QuantizedSection] = [
        DenseSection(torch.zeros(rows, columns, dtype=dtype), fast=False)
    ]
    for format in code_formats():
        scales = torch.zeros(rows, columns // format.group, dtype=torch.int8 if format.nested else torch.float16)
        supers = torch.zeros(rows, columns // SUPER, dtype=torch.float16) if format.nested else None
        minimums = scales if format.has_minimums else None
        super_minimums = supers if format.has_minimums else None
        codes = torch.zeros(rows, columns, dtype=torch.uint8)
        sections.append(pack_codes(Codes(codes, scales, minimums, supers, super_minimums), format))
    for section in sections:
        yield TritonLinear((section,), columns, dtype)
