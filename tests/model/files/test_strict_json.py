"""What the strict JSON reader accepts, and how it words its refusals."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from marcot.model.files.strict_json import MAX_DEPTH, finite, is_deep, parse, read

REFUSED = {
    "nothing": (b"", "is not JSON"),
    "cut off": (b'{"a": [1, ', "is not JSON"),
    "two values": (b"{} {}", "is not JSON"),
    "Latin-1": ('"é"'.encode("latin-1"), r"is not UTF-8 text \(byte 1\)"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "is not UTF-8 text"),
    "encoded surrogate": (b'"\xed\xa0\x80"', "is not UTF-8 text"),
    "control character": (b'"a\nb"', "is not JSON"),
    "NaN": (b'{"a": NaN}', "has NaN, which is not JSON"),
    "infinity": (b"[-Infinity]", "has -Infinity, which is not JSON"),
    "number beyond a double": (b"[1e999999999]", "has the number 1e999999999, which is too large"),
    "long number": (b"9" * 5000, "has an integer of too many digits"),
    "key twice": (b'[{"a": 1, "b": {}, "a": 1}]', "has 'a' twice in one object"),
    "deep lists": (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "is nested too deeply"),
    "deeper than the stack": (b"[" * 1_000_000, "is nested too deeply"),
    "deep objects": (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "is nested too deeply"),
}


@pytest.mark.parametrize(("content", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_in_words_that_follow_a_name(content: bytes, why: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^{why}"):
        parse(content)
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=f"^{why}"):
        read(tmp_path / "a.json")


def test_everything_else_is_what_the_standard_library_reads() -> None:
    value = {"a": [1, -2.5e-300, True, None, "é\ud800\U0001f600"], "": {"a": 1}, "b": [[]] * 3}
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        assert parse(text) == value
    assert parse(b"\xef\xbb\xbf[1]") == [1]
    assert parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) == json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)


def test_a_number_without_a_fraction_is_an_integer_where_that_is_asked_for() -> None:
    text = "[16.0, 1e3, -0.0, 1e300, 16.5, 2]"
    assert list(map(type, parse(text, whole=True))) == [int, int, int, int, float, int]
    assert parse(text, whole=True) == parse(text) == json.loads(text)
    assert list(map(type, parse(text)))[:4] == [float] * 4


def test_a_text_without_an_end_is_not_read_to_its_end() -> None:
    with pytest.raises(ValueError, match=r"^is larger than 1 MiB"):
        read(Path("/dev/zero"), 2**20)


def test_depth_counts_every_kind_of_list_and_object_at_any_depth() -> None:
    deep: object = 1
    for depth in range(100_000):
        assert depth > 4 or (not is_deep(deep, depth) and (not depth or is_deep(deep, depth - 1)))
        deep = ([deep], (deep,), {"a": deep})[depth % 3]
    assert is_deep(deep)


def test_numbers_that_are_not_finite_become_null() -> None:
    assert finite({"a": [1.5, math.nan, (math.inf, 2)], "b": -math.inf}) == {"a": [1.5, None, [None, 2]], "b": None}
