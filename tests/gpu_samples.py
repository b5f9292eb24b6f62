"""A card, findings and a small model, for the tests of `make gpu-check`."""

from __future__ import annotations

from bench.gpu.card import Card
from bench.gpu.kernel_times import Shape
from bench.gpu.report import Check

CARD = Card("NVIDIA H100 80GB HBM3", "sm_90", 132, 80 * 2**30, {"torch": "2.13.0"}, 3e12, 8e14)
RIGHT, WRONG = Check("near", 0.5, 1.0, "why"), Check("far", 2.0, 1.0, "why")
TINY = Shape("tiny", 64, 6, 2, 16, 32, 100)
