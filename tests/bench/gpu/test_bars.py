"""Which bars are met by which findings."""

from __future__ import annotations

import math

import pytest
from support.kernels.gpu_samples import CARD

from bench.gpu.bars import LEAST_DECODE, LEAST_PROMPTS, bars
from bench.gpu.findings import Comparison, DecodeTiming, Finding, Rate

H200 = CARD._replace(copy_bandwidth=4.23e12, gemm_speed=6.8e14)


def decode(step_ms: float, graph_ms: float | None, branches: int = 256, model: str = "0.5b") -> DecodeTiming:
    return DecodeTiming("marcot", model, branches, step_ms / 1e3, None if graph_ms is None else graph_ms / 1e3, 282)


def compared(op: str, ratio: float, shape: str = "7B", rows: int = 64, peer: str = "cuBLAS") -> Comparison:
    return Comparison(op, shape, rows, ratio * 1e-5, peer, 1e-5)


def met(*findings: Finding) -> dict[str, tuple[float, bool]]:
    return {bar.name: (bar.value, bar.met) for bar in bars(findings, H200)}


def test_nothing_is_told_of_what_was_not_measured() -> None:
    assert bars([], H200) == []
    assert met(decode(2.0, None, 1)) == {}


def test_the_worst_step_decides() -> None:
    [bar] = bars([decode(1.0, 1.0, 1), decode(1.2, 1.0, 8), decode(5.0, 4.9, 64), decode(9.0, None, 2)], H200)
    assert bar.name == "step / recorded step, worst of 3"
    assert (bar.value, bar.met, bar.where) == (pytest.approx(1.2), False, "0.5b, 8 branches")


@pytest.mark.parametrize(("times", "right"), [(1.01, True), (0.99, False)])
def test_decode_rates_scale_with_the_card(times: float, right: bool) -> None:
    step = 256 / (LEAST_DECODE["0.5b", 256] * times)
    finding = decode(step * 1e3, None)
    [bar] = bars([finding], H200)
    assert bar.met is right
    [slower] = bars([finding], H200._replace(copy_bandwidth=H200.copy_bandwidth * 0.7))
    assert slower.met
    assert slower.limit == pytest.approx(0.7 * bar.limit)


def test_prompts_scale_with_the_card() -> None:
    finding = Rate("prompts", "0.5b", 64, LEAST_PROMPTS["0.5b"] * 0.99)
    assert [bar.met for bar in bars([finding], H200)] == [False]
    assert [bar.met for bar in bars([finding], H200._replace(gemm_speed=6e14))] == [True]
    assert bars([finding._replace(model="7b")], H200) == []


@pytest.mark.parametrize(("share", "right"), [(0.76, True), (0.74, False)])
def test_a_search_beside_decoding_as_many_rows(share: float, right: bool) -> None:
    findings = (decode(2.56, None, 256, "7b"), decode(1.0, None, 64, "7b"))
    found = met(*findings, Rate("search", "7b", 256, share * 1e5))
    assert found["search / decode, 7b, 256 rows"] == (pytest.approx(share), right)
    assert met(Rate("search", "1.5b", 256, 1e5)) == {}


def test_heads() -> None:
    found = met(
        *(compared("lm_head_topk", ratio) for ratio in (1.1, 1.29)),
        *(compared("lm_head_topk, drawn", ratio) for ratio in (1.41, 1.2)),
    )
    assert found["LM head / cuBLAS, worst of 2"] == (pytest.approx(1.29), True)
    assert found["LM head with a draw / cuBLAS, worst of 2"] == (pytest.approx(1.41), False)


def test_attention_beside_the_better_way_of_each_tree() -> None:
    """The faster method of the peer takes 1 / 0.9 as long as ours on the first tree, and equally long on the second."""
    ratios = {"wide": (0.3, 0.9), "narrow": (1.0, 0.5)}
    peers = ("per branch", "cascade")
    findings = [compared("tree_attention", ratios[tree][way], tree, 8, peers[way]) for way in (0, 1) for tree in ratios]
    found = met(*findings, compared("tree_attention, fp8", 1.02, "wide"))
    mean, worst = (
        "attention / FlashInfer's better way, 2 trees, mean",
        "attention / FlashInfer's better way, 2 trees, worst",
    )
    assert found[mean] == (pytest.approx(math.sqrt(0.9)), False)
    assert found[worst] == (pytest.approx(1.0), True)
    assert found["attention, fp8 / bf16 pages, worst of 1"] == (pytest.approx(1.02), False)


def test_linears_by_rows() -> None:
    found = met(
        *(compared("linear, 4 bits", ratio, rows=rows) for rows, ratio in {1: 0.3, 16: 0.41, 64: 0.9, 256: 1.2}.items())
    )
    assert found["4-bit linear / bf16 by cuBLAS, 1 to 16 rows, worst of 2"] == (pytest.approx(0.41), False)
    assert found["4-bit linear / bf16 by cuBLAS, 32 to 64 rows, worst of 1"] == (pytest.approx(0.9), True)
    assert found["4-bit linear / bf16 by cuBLAS, 128 to 256 rows, worst of 1"] == (pytest.approx(1.2), True)
    assert met(compared("linear, 8 bits", 9.0, rows=1)) == {}


def test_what_was_not_measured_right_is_not_met() -> None:
    card = H200._replace(copy_bandwidth=math.nan)
    assert [bar.met for bar in bars([decode(0.1, None)], card)] == [False]
