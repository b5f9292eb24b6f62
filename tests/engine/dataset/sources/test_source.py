"""Traces from results of searches, and from samples in other formats."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marcot.engine import InputError
from marcot.engine.dataset import json_array
from marcot.engine.dataset.json_array import read_elements
from marcot.engine.dataset.sources.cot_sample import parse_sample
from marcot.engine.dataset.sources.result_line import parse_traces
from marcot.engine.dataset.sources.source import Entry, FailedSearch, Source
from support.searches.finished_searches import Told, result_line, write_lines

GOOD = result_line("How many?", [Told(("It is ", "5."), "5")], reference="#### 5")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


@given(st.lists(json_values), st.booleans(), st.sampled_from([None, 1, "\t"]), st.integers(1, 9))
def test_an_array_is_split_as_json_reads_it(values: list[Any], ascii: bool, indent: Any, chunk: int) -> None:
    data = json.dumps(values, ensure_ascii=ascii, indent=indent).encode(errors="surrogatepass")
    before, json_array._CHUNK = json_array._CHUNK, chunk
    try:
        elements = list(read_elements(io.BytesIO(b" \n" + data + b"\n")))
    finally:
        json_array._CHUNK = before
    assert [json.loads(element.data.decode(errors="surrogatepass")) for element in elements] == values
    assert all((b" \n" + data)[at : at + len(part)] == part for at, part in elements)


def test_rollouts_become_traces() -> None:
    entry = result_line(
        "Q?",
        [
            Told(("A", "B"), "5", 0.9),
            Told(("A", "C"), "6", 0.3, "length"),
            Told(("D",), "$5.00", 0.6),
        ],
        reference=5,
        settings={"model": "m", "system": "Be brief."},
    )
    one, two, three = parse_traces(entry)
    assert [trace.correct for trace in (one, two, three)] == [True, False, True]
    assert [trace.agreement for trace in (one, two, three)] == pytest.approx([2 / 3, 1 / 3, 2 / 3])
    assert [trace.complete for trace in (one, two, three)] == [True, False, True]
    assert one.system == "Be brief."
    assert one.baseline == pytest.approx(0.6)
    assert [(step.text, step.visits, step.successes) for step in one.steps] == [("A", 2, 1), ("B", 1, 1)]
    assert one.steps[0].value == pytest.approx(0.6)
    assert "".join(step.text for step in two.steps) == two.text


def test_without_a_reference_nothing_is_right_or_wrong() -> None:
    (trace,) = parse_traces(result_line("Q?", [Told(("A",), "5")]))
    assert trace.correct is None
    assert trace.steps[0].successes is None


@pytest.mark.parametrize(
    ("entry", "question", "answer"),
    [
        ({"instruction": "Q?", "response": "<Thought>t</Thought><Output>The end: 7.</Output>"}, "Q?", "The end: 7."),
        ({"instruction": "Q?", "input": "More.", "output": "The answer is 7."}, "Q?\nMore.", "7"),
        ({"prompt": "Q?", "completion": "The answer is 7.", "answer": "7.0"}, "Q?", "7"),
        ({"messages": [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "It is 7."}]}, "Q?", "7"),
    ],
)  # fmt: skip
def test_samples_of_others(entry: dict[str, Any], question: str, answer: str) -> None:
    trace = parse_sample(entry)
    assert (trace.question, trace.answer) == (question, answer)
    assert trace.correct is (True if "answer" in entry else None)


def test_marco_samples_are_read_one_by_one(marco_samples: Path) -> None:
    source = Source(marco_samples)
    entries = [source.read(span) for span in source.spans()]
    texts = [entry.traces[0].text for entry in entries if isinstance(entry, Entry)]
    assert texts == [sample["response"] for sample in json.loads(marco_samples.read_text(encoding="utf-8"))]
    assert len(texts) == 125


def broken(**fields: Any) -> dict[str, Any]:
    return {**GOOD, **fields}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"{", "is not JSON"),
        (b'"hello"', "is not an object"),
        (b"{}", "is neither a result of marcot search"),
        (b'{"instruction": "Q?", "response": 5}', "is neither a result"),
        (b'{"question": "\xff", "rollouts": []}', "is not UTF-8 text"),
        (b"[" * 100_000, "nested too deeply"),
        (broken(question="  "), "the question is empty"),
        (broken(question=5), '"question" must be a string, but is 5'),
        (broken(rollouts={}), '"rollouts" must be a list'),
        (broken(rollouts=[3]), '"rollouts" must hold objects'),
        (broken(tree=None), '"tree" must be an object, but is missing'),
        (broken(settings=[]), '"settings" must be an object'),
        (broken(confidence="high"), '"confidence" must be a number or null'),
        (broken(rollouts=[{**GOOD["rollouts"][0], "leaf": 7}]), "refers to node 7, but there are only 3 nodes"),
        (broken(rollouts=[{**GOOD["rollouts"][0], "leaf": True}]), '"leaf" must be a whole number'),
        (broken(tree={"nodes": [{"parent": None}, {"parent": 2}, {"parent": 1}]}), "it must be an earlier node"),
        (broken(label="mcts"), "marcot eval was run without --full"),
        ({"instruction": " ", "response": "t"}, "the question is empty"),
        ({"messages": [{"role": "user", "content": "Q?"}]}, "one user turn and one assistant turn"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_with_what_to_do(tmp_path: Path, line: Any, complaint: str) -> None:
    data = line if isinstance(line, bytes) else json.dumps(line).encode()
    path = tmp_path / "bad.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b"\n\n" + data + b"\n")
    source = Source(path)
    first, second = source.spans()
    assert isinstance(source.read(first), Entry)
    with pytest.raises(InputError, match=r"bad\.jsonl, line 3: .*; correct it, remove it, or .*--skip-bad") as raised:
        source.read(second)
    assert complaint in str(raised.value)


def test_an_array_that_ends_early_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    path.write_text('[{"instruction": "Q?", "response": "R"}, {"instr', encoding="utf-8")
    with pytest.raises(InputError, match="the array ends in the middle, after 1 elements"):
        list(Source(path).spans())


def test_failed_searches_are_not_errors(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "r.jsonl", [{"index": 0, "question": "Q?", "error": "too long", "settings": {}}])
    source = Source(path)
    assert [source.read(span) for span in source.spans()] == [FailedSearch()]


def test_a_byte_order_mark_is_not_part_of_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    source = Source(path)
    assert [type(source.read(span)) for span in source.spans()] == [Entry]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jsonl: cannot be read: No such file"):
        Source(tmp_path / "none.jsonl")


@pytest.mark.parametrize("more", [b"[]", b"  x", b" " * 2**21 + b"{}"])
def test_text_after_an_array_is_not_ignored(tmp_path: Path, more: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(json.dumps([GOOD]).encode() + b" \n" * 2**20)
    assert len(list(Source(path).spans())) == 1
    path.write_bytes(json.dumps([GOOD]).encode() + more)
    with pytest.raises(InputError, match=r"a\.json: has more text after the end of the array"):
        list(Source(path).spans())


def test_a_number_of_hundreds_of_digits_is_not_a_number(tmp_path: Path) -> None:
    entry = result_line("Q?", [Told(("It is 5.",), "5")])
    entry["rollouts"][0]["value"] = 10**400
    path = write_lines(tmp_path / "r.jsonl", [entry])
    with pytest.raises(InputError, match=r'line 1: "value" must be a number or null, but is 1000'):
        Source(path).read(next(Source(path).spans()))
