"""What `launched` passes to the driver, compared with what Triton passes for the same call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

PROGRAM = Path(__file__).with_name("recorded_launches.py")


def launches_of(calls: list[dict[str, Any]]) -> dict[str, Any]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, PROGRAM], input=json.dumps(calls), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def call(**changes: Any) -> dict[str, Any]:
    """A call with default values, except for `changes`."""
    usual = {
        "offsets": (0, 256, 512),
        "dtypes": ("float16",) * 3,
        "bias": True,
        "numbers": (5, 64, 0.5),
        "constants": (32, False),
        "warps": 4,
        "grid": (5,),
        "device": 0,
    }
    return usual | changes


CALLS = [
    call(),
    *(call(offsets=offsets) for offsets in ((2, 256, 512), (0, 258, 512), (0, 256, 514), (16, 272, 528))),
    *(call(dtypes=dtypes) for dtypes in (("float32", "float16", "float16"), ("bfloat16",) * 3)),
    call(bias=False),
    call(bias=False, offsets=(0, 256, 2)),
    *(call(numbers=numbers) for numbers in ((16, 64, 0.5), (1, 64, 0.5), (5, 63, 0.5), (5, 1, 0.5), (5, 64, 2.5))),
    call(constants=(64, False)),
    call(constants=(32, True)),
    call(warps=8),
    call(grid=(3, 2)),
    call(grid=(3, 2, 4)),
    call(device=1),
    call(device=1, numbers=(5, 80, 0.5)),
]


def test_every_launch_is_what_triton_makes_of_the_call() -> None:
    draw = Random(0)
    calls = [*CALLS, *CALLS, *draw.choices(CALLS, k=60)]
    found = launches_of(calls)
    for made, (by_triton, quick) in zip(calls, found["launches"], strict=True):
        assert quick == by_triton, made
    signatures = {json.dumps(by_triton["kernel"]) for by_triton, _ in found["launches"]}
    assert len(signatures) > 10, "else these calls tell nothing apart"


def test_it_remembers_every_call_with_aligned_addresses_once() -> None:
    aligned = [
        call(offsets=offsets, grid=(rows,), numbers=(rows, 64, 0.5))
        for offsets, rows in product(((0, 256, 512), (16, 256, 528)), (1, 5, 16))
    ]
    assert launches_of([*aligned, call(offsets=(2, 256, 512)), *aligned])["remembered"] == 1
