"""`marcot score`, whose numbers are compared with those of transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

IDS = [5, 17, 300, 4, 4, 9, 230]


def test_json_agrees_with_transformers(marcot: Callable, mute: Path) -> None:
    ended = marcot("score", "--model", mute, "--token-ids", " ".join(map(str, IDS)), "--top-logprobs", 3, "--json")
    assert ended.code == 0
    [entry] = ended.objects
    assert entry["token_ids"] == IDS
    assert (entry["logprobs"][0], entry["top_ids"][0], entry["top_logprobs"][0]) == (None, None, None)
    with torch.inference_mode():
        logits = AutoModelForCausalLM.from_pretrained(mute, dtype=torch.float32)(torch.tensor([IDS])).logits[0]
    wanted = logits.log_softmax(-1)
    for position in range(1, len(IDS)):
        row = wanted[position - 1]
        assert entry["logprobs"][position] == pytest.approx(row[IDS[position]].item(), abs=1e-4)
        assert entry["top_ids"][position] == row.topk(3).indices.tolist()
        assert entry["top_logprobs"][position] == pytest.approx(row.topk(3).values.tolist(), abs=1e-4)


def test_text_is_encoded_first(marcot: Callable, talker: Path) -> None:
    by_text = marcot("score", "--model", talker, "How many 苹果?", "--json").objects[0]
    by_ids = marcot("score", "--model", talker, "--token-ids", " ".join(map(str, by_text["token_ids"])), "--json")
    assert by_ids.objects == [by_text]


def test_a_person_sees_a_table(marcot: Callable, talker: Path, mute: Path) -> None:
    ended = marcot("score", "--model", talker, "How many", "--top-logprobs", 2)
    assert "expected" in ended.out.splitlines()[0]
    assert "'H'" in ended.out
    assert "sum of" in ended.out.splitlines()[-1]
    assert "  300  " in marcot("score", "--model", mute, "--token-ids", "5 300").out


def test_a_single_token_has_nothing_before_it(marcot: Callable, mute: Path) -> None:
    [entry] = marcot("score", "--model", mute, "--token-ids", "5", "--json").objects
    assert entry == {"token_ids": [5], "logprobs": [None], "top_ids": [None], "top_logprobs": [None]}
