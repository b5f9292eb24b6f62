"""The largest step on each device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from marcot.engine.scheduler.limits import SchedulerLimits
from marcot.kernels import Kernels, reference
from marcot.model import Decoder, load_checkpoint
from support.kernels.tiled_reference import TiledReference

GB = 10**9


@pytest.fixture(scope="module")
def decoder_on(tiny_checkpoint: Callable[..., Path]) -> Callable[[Kernels], Decoder]:
    def make(kernels: Kernels) -> Decoder:
        with load_checkpoint(tiny_checkpoint("qwen2")) as checkpoint:
            return Decoder(checkpoint, kernels, torch.float32, torch.device("cpu"))

    return make


def test_steps_of_a_gpu_are_as_large_as_half_of_the_memory_left_allows(decoder_on: Callable[..., Decoder]) -> None:
    decoder = decoder_on(TiledReference())
    assert decoder.row_bytes == (3 * 112 + 3 * 152) * 4
    large, small = SchedulerLimits.of(decoder, 80 * GB), SchedulerLimits.of(decoder, 10_000_000)
    assert large.step_tokens == 8192
    assert small.step_tokens * decoder.row_bytes <= 5_000_000 < (small.step_tokens + 1) * decoder.row_bytes
    assert SchedulerLimits.of(decoder, 0).step_tokens == SchedulerLimits().step_tokens
    assert large.round_tokens == small.round_tokens == 16


def test_a_cpu_takes_small_steps_and_single_tokens(decoder_on: Callable[..., Decoder]) -> None:
    assert SchedulerLimits.of(decoder_on(reference), 80 * GB) == SchedulerLimits()
