"""Files of questions."""

from __future__ import annotations

import csv
import datetime
import decimal
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marcot.engine import InputError
from marcot.engine.results.question_file import FieldNames, InputQuestion, read_questions
from pyarrow import parquet

NO_ID, WITH_ID = FieldNames(), FieldNames(id="id")


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def asked(path: Path, names: FieldNames = NO_ID) -> list[tuple[Any, str, dict[str, Any]]]:
    return [(each.id, each.text, each.fields) for each in read_questions(path, names)]


def test_a_csv_file_is_read_as_spreadsheets_write_it(tmp_path: Path) -> None:
    path = written(tmp_path / "q.csv", '\ufeffid,question,answer\r\na,"1, 2 or\n""3""?",3\r\n\r\nb, Two? ,\r\n')
    assert asked(path, WITH_ID) == [
        ("a", '1, 2 or\n"3"?', {"answer": "3"}),
        ("b", "Two?", {"answer": ""}),
    ]
    assert [each.reference for each in read_questions(path)] == ["3", None]


@settings(max_examples=60)
@given(
    texts=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1).filter(str.strip), min_size=1
    )
)
def test_any_text_survives_a_csv_file(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("csv") / "q.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["question"], *([text] for text in texts)])
    assert [text for _, text, _ in asked(path)] == [text.strip() for text in texts]


def test_a_csv_file_may_have_cells_of_any_length(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    assert asked(written(tmp_path / "q.csv", f"question,page\nOne?,{'word ' * limit}")) == [
        (None, "One?", {"page": "word " * limit})
    ]
    assert csv.field_size_limit() == limit


def test_a_parquet_file_keeps_its_columns(tmp_path: Path) -> None:
    table = pyarrow.table(
        {
            "key": [7, 8],
            "prompt": ["One?", "Two?"],
            "answer": [decimal.Decimal("1.50"), None],
            "day": [datetime.date(2024, 2, 29), None],
            "tags": [["a"], []],
        }
    )
    parquet.write_table(table, tmp_path / "q.parquet", row_group_size=1)
    assert asked(tmp_path / "q.parquet", FieldNames("prompt", "key")) == [
        (7, "One?", {"answer": "1.50", "day": "2024-02-29", "tags": ["a"]}),
        (8, "Two?", {"answer": None, "day": None, "tags": []}),
    ]


REFUSED = {
    "no such file": ("gone.csv", None, NO_ID, "there is no such file"),
    "no such parquet file": ("gone.parquet", None, NO_ID, "there is no such file"),
    "no parquet": ("q.parquet", "PAR1", NO_ID, "cannot be read as parquet"),
    "no such field": (
        "q.csv",
        "text,id\nOne?,1\n",
        FieldNames(),
        "line 2: must have a text under \"question\"; it has 'text', 'id'",
    ),
    "no id": ("q.jsonl", '{"question": "One?"}', WITH_ID, 'line 1: must have a text or an integer under "id", its id'),
    "a bad id": ("q.jsonl", '{"question": "One?", "id": 1.5}', WITH_ID, "line 1: must have a text or an integer"),
    "ids twice": (
        "q.csv",
        "id,question\na,One?\nb,Two?\na,Three?\n",
        WITH_ID,
        "line 4: has the same id as .*line 2: 'a'",
    ),
    "an id where there are no fields": (
        "q.txt",
        "One?",
        WITH_ID,
        "has no named fields; use a .jsonl, .csv or .parquet",
    ),
    "too few columns": ("q.csv", "question,answer\nOne?\n", NO_ID, "line 2: has 1 column, but the header 2"),
    "a column twice": (
        "q.csv",
        "question,question\nOne?,Two?\n",
        FieldNames(),
        "line 1: two columns have the same name",
    ),
    "a torn quote": ("q.csv", 'question\n"One?\n', NO_ID, "line 2: is not CSV: unexpected end of data"),
    "a header alone": ("q.csv", "question,answer\n", NO_ID, "has no questions; put one on each line below the header"),
    "an object over several lines": (
        "q.jsonl",
        '{\n"question": "One?"}',
        NO_ID,
        "line 1: is not JSON.*; put one object",
    ),
}


@pytest.mark.parametrize(("name", "text", "names", "message"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_makes_no_sense_is_refused(
    tmp_path: Path, name: str, text: str | None, names: FieldNames, message: str
) -> None:
    if text is not None:
        written(tmp_path / name, text)
    with pytest.raises(InputError, match=message):
        read_questions(tmp_path / name, names)


def test_an_id_tells_a_question_wherever_it_stands() -> None:
    assert InputQuestion(0, "One?", id="a").key == InputQuestion(5, "One?", id="a").key
    assert InputQuestion(0, "One?", id="a").key != InputQuestion(0, "Another?", id="a").key
    assert InputQuestion(3, "One?").key != InputQuestion(0, "One?", id=3).key
