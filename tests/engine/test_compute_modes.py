"""`weights` and `compute` of `Engine.load` against transformers in fp32 with rounded weights and activations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from marcot.engine import Engine, InputError
from marcot.kernels import BlockTensor, select
from marcot.kernels.blocks import BlockFormatError
from marcot.kernels.reference.quantize import round_trip
from marcot.model import Decoder, open_checkpoint
from support.checkpoints import tiny_gguf
from support.programs import system_tools
from transformers import AutoModelForCausalLM

CPU = torch.device("cpu")
TOLERANCE = 1e-4
FORMATS = {"bf16": ("BF16", "BF16"), "int8": ("Q8_0", "Q8_0"), "int4": ("Q4_1", "Q8_0")}
"""GGML's names of the formats that the layers, and the embedding with the LM head, are converted to."""

KINDS = {"tied": ("llama3.2", {}), "untied": ("qwen2-untied", {"intermediate_size": 160})}
"""Checkpoints whose rows can all be cut into blocks of 32."""

Checkpoints = Callable[..., Path]


@pytest.fixture(params=["cpu", "reference"], autouse=True)
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kernel sets, one after the other."""
    monkeypatch.delenv("MARCOT_KERNELS", raising=False)
    if select(CPU).name != request.param:
        if request.param == "cpu":
            pytest.skip(system_tools.why_skipped("g++"))
        monkeypatch.setenv("MARCOT_KERNELS", request.param)
    return request.param


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def folder(request: pytest.FixtureRequest, tiny_checkpoint: Checkpoints) -> Path:
    kind, overrides = request.param
    return tiny_checkpoint(kind, **overrides)


@pytest.fixture
def tied(tiny_checkpoint: Checkpoints) -> Path:
    return tiny_checkpoint("llama3.2")


IDS = torch.randint(3, 331, (203,), generator=torch.Generator().manual_seed(0))


def rounded(values: torch.Tensor, format: str) -> torch.Tensor:
    """`values` after a conversion to a GGML format and back."""
    kind = gguf.GGMLQuantizationType[format]
    return torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(values.numpy(), kind), kind)).view_as(values)


@torch.inference_mode()
def oracle(folder: Path, layers: str, ends: str, *, fast: bool = False, ids: torch.Tensor = IDS[None]) -> torch.Tensor:
    """Log-probabilities `[texts, tokens - 1]` of `ids` by transformers, with weights rounded to these formats."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            weight.copy_(rounded(weight, ends if "embed_tokens" in name or "lm_head" in name else layers))
    for module in model.modules():
        if fast and isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(lambda _, x: round_trip(x[0].flatten(0, -2)).view_as(x[0]))
    logprobs = model(ids).logits[:, :-1].log_softmax(dim=-1)
    return logprobs.gather(2, ids[:, 1:, None])[..., 0]


def logprobs(engine: Engine) -> np.ndarray:
    (score,) = engine.score([IDS.tolist()])
    return score.logprobs[1:]


@pytest.mark.parametrize("weights", FORMATS)
def test_weights_are_rounded(folder: Path, weights: str) -> None:
    engine = Engine.load(str(folder), weights=weights, compute="exact", kv_tokens=1024)
    assert engine.compute == "exact"
    np.testing.assert_allclose(logprobs(engine), oracle(folder, *FORMATS[weights])[0], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_fast_rounds_activations_and_nothing_else(folder: Path, weights: str) -> None:
    """Texts have two tokens: the last bit of an fp32 sum can change how an activation is rounded, and a longer text
    would carry that on to every later token. So most texts differ by no more than fp32 sums do.
    """
    pairs = torch.randint(3, 331, (150, 2), generator=torch.Generator().manual_seed(2))
    engine = Engine.load(str(folder), weights=weights, compute="fast", kv_tokens=1024)
    ours = np.array([score.logprobs[1] for score in engine.score(pairs.tolist())])
    fast, exact = (oracle(folder, *FORMATS[weights], fast=mode, ids=pairs)[:, 0].numpy() for mode in (True, False))
    assert np.median(np.abs(fast - exact)) > 1e-2
    assert np.median(np.abs(ours - fast)) < 1e-5


@pytest.mark.parametrize(
    ("quantize", "weights", "quantised"),
    [("Q8_0", "stored", True), ("Q8_0", "bf16", True), ("F16", "stored", False), ("F32", "int4", True)],
)
def test_auto_is_fast_where_weights_are_quantised_and_it_gains_time(
    tied: Path, tmp_path: Path, kernels: str, quantize: str, weights: str, quantised: bool
) -> None:
    file = tiny_gguf.convert(tied, tmp_path / "model.gguf", quantize=quantize)
    with open_checkpoint(file) as checkpoint:
        assert checkpoint.quantised == (quantize == "Q8_0")
    engine = Engine.load(str(file), weights=weights, kv_tokens=64)
    assert engine.compute == ("fast" if quantised and kernels == "cpu" else "exact")


def test_what_is_quantised_already_stays_as_it_is(tied: Path, tmp_path: Path) -> None:
    file = str(tiny_gguf.convert(tied, tmp_path / "model.gguf", quantize="Q5_0"))
    stored = logprobs(Engine.load(file, compute="exact", kv_tokens=1024))
    for weights in FORMATS:
        assert np.array_equal(logprobs(Engine.load(file, weights=weights, compute="exact", kv_tokens=1024)), stored)


def test_fast_without_quantised_weights_is_refused(tied: Path) -> None:
    for weights in ("stored", "bf16"):
        with pytest.raises(InputError, match=r"compute='fast' needs quantised weights, .* add --weights int8"):
            Engine.load(str(tied), compute="fast", weights=weights)


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_rows_that_cannot_be_cut_into_blocks_are_named(tiny_checkpoint: Checkpoints, weights: str) -> None:
    message = f"model.embed_tokens.weight cannot be rounded to {weights}: rows of 112 values .* Q8_0 blocks of 32"
    with pytest.raises(BlockFormatError, match=message):
        Engine.load(str(tiny_checkpoint("qwen2")), weights=weights)


def test_each_format_takes_less_memory(folder: Path, kernels: str) -> None:
    if kernels == "reference":
        pytest.skip("the reference keeps everything in the compute dtype")
    with open_checkpoint(folder) as checkpoint:
        sizes = [
            Decoder(checkpoint, select(CPU), torch.float32, CPU, weights=weights).weight_bytes
            for weights in ("stored", "bf16", "int8", "int4")
        ]
    assert sizes[1] <= 0.51 * sizes[0]
    assert sizes[2] <= 0.30 * sizes[0]
    assert sizes[3] <= 0.25 * sizes[0]


def test_quantising_in_pieces_is_quantising(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marcot.kernels.blocks._ROWS_AT_ONCE", 4)
    weight = torch.randn(11, 64, generator=torch.Generator().manual_seed(1))
    for format in ("Q8_0", "Q4_1"):
        blocks = BlockTensor.quantize(weight.to(torch.float16), format)
        assert blocks.shape == (11, 64)
        assert torch.equal(blocks.dequantize(), rounded(weight.to(torch.float16).float(), format))


@pytest.mark.parametrize("format", ["Q6_K", "IQ4_XS"])
def test_formats_that_cannot_be_made_are_refused(format: str) -> None:
    with pytest.raises(BlockFormatError, match=f"cannot make {format} blocks|rows of 64 values"):
        BlockTensor.quantize(torch.zeros(2, 64), format)
    with pytest.raises(BlockFormatError, match=f"cannot make {format} blocks"):
        BlockTensor.quantize(torch.zeros(2, 256), format)


def test_a_format_that_does_not_exist_is_refused() -> None:
    with pytest.raises(BlockFormatError, match="knows no Q9_K blocks"):
        BlockTensor.quantize(torch.zeros(2, 256), "Q9_K")


def test_threads_reach_the_kernels(tied: Path) -> None:
    """Kernels use as many threads as torch."""
    results = []
    for threads in (1, 2):
        engine = Engine.load(str(tied), threads=threads, kv_tokens=1024)
        assert torch.get_num_threads() == threads
        results.append(logprobs(engine))
    np.testing.assert_allclose(results[0], results[1], atol=1e-5, rtol=0)
