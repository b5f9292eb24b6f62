"""Which tests of a run go to the same process."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from support import distribution
from support.distribution import Distribution

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("nodeid", "scope"),
    [
        ("tests/kernels/test_linear.py::test_rows[avx2-Q4_K-exact]", "avx2"),
        ("tests/kernels/test_linear.py::test_rows[avx2-without-fma-Q4_K-exact]", "avx2-without-fma"),
        ("tests/kernels/test_lm_head.py::test_k[7-neon-quad-dots]", "neon-quad-dots"),
        ("tests/kernels/test_lm_head.py::test_k[7-quad-dots]", "quad-dots"),
        ("tests/kernels/cpu/test_widths.py::test_alike[avx512-dense]", "tests/kernels/cpu/test_widths.py"),
        ("tests/kernels/test_philox.py::test_cpu", "tests/kernels/test_philox.py"),
        ("tests/engine/test_logprobs.py::test_exact[sse2-int8]", "tests/engine/test_logprobs.py"),
    ],
)
def test_tests_of_a_kernel_set_or_of_a_file(nodeid: str, scope: str) -> None:
    assert Distribution._split_scope(cast(Any, None), nodeid) == scope


@pytest.mark.parametrize("file", distribution._LONG)
def test_long_files_are_there(file: str) -> None:
    assert (ROOT / file).is_file()
