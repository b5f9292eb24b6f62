"""Philox against its published vectors, and the Gumbel noise against its distribution."""

from __future__ import annotations

import math

import pytest
import torch
from marcot.kernels.reference.philox import gumbel, philox

# Known answers of Philox4x32-10 from the authors' Random123 library: counter, key, result.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> tuple[torch.Tensor, ...]:
    return tuple(torch.tensor([int(word, 16)]) for word in text.split())


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS, ids=["zeros", "ones", "pi"])
def test_philox_gives_the_published_answers(counter: str, key: str, expected: str) -> None:
    assert philox(words(counter), words(key)) == words(expected)  # type: ignore[arg-type]


def test_noise_depends_on_key_position_and_token_only() -> None:
    key, position = torch.tensor([5, -9, 5]), torch.tensor([3, 3, 4])
    ids = torch.tensor([[0, 1, 2, 3, 4, 151_935]])
    noise = gumbel(key, position, ids)
    assert len(noise.unique()) == noise.numel()
    shuffled = gumbel(key[1:2], position[1:2], ids[:, [5, 0]])
    assert shuffled.tolist() == noise[1:2, [5, 0]].tolist()


def test_noise_is_standard_gumbel() -> None:
    noise = gumbel(torch.tensor([1234567890123]), torch.tensor([0]), torch.arange(400_000)[None])[0].double()
    assert torch.isfinite(noise).all()
    for x in (-1.5, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0):
        probability = math.exp(-math.exp(-x))
        spread = math.sqrt(probability * (1 - probability) / len(noise))
        assert abs((noise <= x).double().mean().item() - probability) < 5 * spread
