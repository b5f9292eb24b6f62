"""The launches of `sample` and `advance`. Their results are tested in `tests/kernels/test_sample.py`."""

from __future__ import annotations

import marcot.kernels.triton.sample as module
import pytest
import support.kernels.sampling_cases as cases
from marcot.kernels.triton.arch import INTERPRETED
from marcot.kernels.triton.sample import advance, sample, sample_variants
from support.kernels.kernel_launches import binary_of, noted


def test_every_launch_is_a_listed_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    launches = noted(monkeypatch, [(module, "_sample"), (module, "_advance")])
    params = cases.params(3, 0)
    for drawn in (False, True):
        head = cases.head(3, 20, 0, 1.0, drawn)
        sample(head, params)
        advance(cases.round_state(3, 20, 4), head, params)
    monkeypatch.undo()
    variants = list(sample_variants(INTERPRETED))
    assert {binary_of(launch, variants) for launch in launches} == {variant.name for variant in variants}


def test_no_rows_are_no_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    launches = noted(monkeypatch, [(module, "_sample"), (module, "_advance")])
    head, params = cases.head(0, 5, 0, 1.0), cases.params(0, 0)
    assert len(sample(head, params).ids) == 0
    advance(cases.round_state(0, 5, 4), head, params)
    assert not launches
