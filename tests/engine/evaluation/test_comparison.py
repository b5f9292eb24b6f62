"""The prompts of `marcot compare`, and its page."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from marcot.engine import InputError
from marcot.engine.evaluation import (
    COMPARE_PROMPTS,
    Comparison,
    ComparisonFile,
    Contestant,
    Prompt,
    Reply,
    comparison_sections,
    to_markdown,
)
from marcot.engine.evaluation.comparison.page import comparison_page
from marcot.engine.results.question_file import InputQuestion, read_questions
from marcot.engine.search import extract_answer
from marcot.engine.search.answers import answers_agree
from support.searches.grown_tree import grown_tree

PROMPTS = read_questions(COMPARE_PROMPTS)
A, B, C = Contestant("one", "greedy"), Contestant("one", "mcts"), Contestant("<two>", "greedy")


def prompt(part: str) -> InputQuestion:
    [found] = [each for each in PROMPTS if part in each.text]
    return found


@pytest.fixture
def comparison() -> Comparison:
    prompts = [
        Prompt("logic", "Is 1 < 2 & 2 > 1?\nSay yes or no.", "yes", "An <easy> one."),
        Prompt("open", "Say something.", None, ""),
    ]
    replies = {
        (0, A): Reply("yes", True, 1.0, 0.9, 1, 40, 1.0, "Well, \\boxed{yes}"),
        (0, B): Reply("no", False, 0.6, 0.8, 8, 400, 3.0, "no|no"),
        (0, C): Reply(error="the prompt is <too long>"),
        (1, A): Reply("</pre><script>alert(1)</script>", None, 1.0, 0.7, 1, 60, 2.0, "</pre><script>alert(1)</script>"),
        (1, B): Reply("hello", None, 0.5, 0.7, 8, 600, 5.0, "hello"),
        (1, C): Reply("", None, 1.0, math.nan, 1, 0, 0.0, ""),
    }
    return Comparison(prompts, [A, B, C], replies, {each: {"model": each.model} for each in (A, B, C)})


def test_six_situations_two_or_three_prompts_each() -> None:
    kinds = [each.fields["situation"] for each in PROMPTS]
    assert list(dict.fromkeys(kinds)) == [
        *("logic", "letter counting", "geometry", "step-by-step arithmetic"),
        *("arithmetic with distracting detail", "contradictory statements"),
    ]
    assert {kinds.count(kind) for kind in kinds} == {2, 3}
    assert len({each.text for each in PROMPTS}) == len(PROMPTS)
    assert all(each.fields["why"] for each in PROMPTS)


@pytest.mark.parametrize("question", PROMPTS, ids=lambda question: question.text[:30])
def test_references_can_be_told_from_texts(question: InputQuestion) -> None:
    assert question.reference is not None
    assert extract_answer(question.reference) == question.reference
    assert answers_agree(extract_answer(f"So it is \\boxed{{{question.reference.title()}}}."), question.reference)


@pytest.mark.parametrize(
    "question", [each for each in PROMPTS if each.fields["situation"] == "letter counting"], ids=lambda each: each.text
)
def test_letters_were_counted_correctly(question: InputQuestion) -> None:
    letter = re.search(r"letters? (\w)\b", question.text)
    words = re.search(r'"(.*)"', question.text)
    assert letter is not None
    assert words is not None
    assert question.reference == str(words[1].lower().count(letter[1]))


def test_numbers_were_computed_correctly() -> None:
    for part, number in {
        "rectangular garden": (9 + 2) * (5 + 2) - 9 * 5,
        "right triangle": 9 + 12 + math.isqrt(9**2 + 12**2),
        "ratio 2 : 3 : 4": 180 * 4 // (2 + 3 + 4),
        "Start with 7": (7 * 6 - 12) // 5 + 9,
        "full tank": 240 * 2 // 3 * 3 // 4 + 35,
        "baker": 48 - 5 * 6 - 7,
        "Mira": 14 + 2 * 14 + 9,
    }.items():
        assert prompt(part).reference == str(number)


def test_totals(comparison: Comparison) -> None:
    assert comparison.total(A) == (1, 1, 50.0, 1.5)
    assert comparison.total(B, [1]) == (0, 0, 600.0, 5.0)
    assert comparison.total(C)[:2] == (0, 0)
    assert comparison.models == ["one", "<two>"]


class Checker(HTMLParser):
    """Checks that elements are closed in order, and collects them and their references."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.references += [name for name, _ in attrs if name in ("src", "href")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(comparison: Comparison) -> None:
    page = comparison_page(comparison, {})
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    assert checker.references == []
    assert "script" not in checker.seen
    assert "://" not in page
    assert "url(" not in page
    assert checker.seen.count("article") == 2
    assert "Is 1 &lt; 2 &amp; 2 &gt; 1?" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "the prompt is &lt;too long&gt;" in page
    assert "<td><b>1 / 1</b></td><td>1 / 1</td><td>–</td><td>50</td><td>1.5</td>" in page


def test_a_link_leads_to_the_tree_of_a_reply(comparison: Comparison) -> None:
    page = comparison_page(comparison, {(0, B): 'trees/a"b.html'})
    assert page.count("<a ") == 1
    assert 'href="trees/a&quot;b.html"' in page
    assert page.index("no</span>") < page.index("<a ") < page.index("no|no")


def test_formulas_of_replies_bring_no_other_element(comparison: Comparison) -> None:
    hostile = r"\(\href{javascript:alert(1)}{x}\) \boxed{</math><script>alert(1)</script>} \(\text{<img src=x>}\)"
    replies = {**comparison.replies, (0, A): Reply(hostile, True, 1.0, 0.9, 1, 40, 1.0, hostile)}
    checker = Checker()
    checker.feed(comparison_page(replace(comparison, replies=replies), {}))
    assert checker.open == []
    assert not {"script", "img", "a"} & set(checker.seen)
    assert checker.references == []
    assert "math" in checker.seen


def test_trees_are_in_a_folder_beside_the_page(comparison: Comparison, tmp_path: Path) -> None:
    searches = {(0, A): grown_tree(1, 3), (0, B): grown_tree(2, 3)}
    for page in (tmp_path / "r.html", tmp_path / "r.html", tmp_path / "s.json"):
        ComparisonFile(page).write(replace(comparison, searches=searches))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r-trees", "r.html", "s.json"]
    links = re.findall(r'href="([^"]*)"', (tmp_path / "r.html").read_text())
    assert len(links) == 2
    for link, result in zip(links, searches.values(), strict=True):
        assert json.dumps(result.rollouts[0].value) in (tmp_path / link).read_text()


def test_labels_that_would_make_the_same_name_have_trees_of_their_own(comparison: Comparison, tmp_path: Path) -> None:
    twins = [Contestant("one", "a b"), Contestant("one", "a/b")]
    replies = {(position, each): Reply("yes") for position in range(2) for each in twins}
    searches = {key: grown_tree(1, 3) for key in replies}
    ComparisonFile(tmp_path / "r.html").write(
        Comparison(comparison.prompts, twins, replies, {each: {} for each in twins}, searches)
    )
    assert len(list((tmp_path / "r-trees").iterdir())) == 4


@pytest.mark.parametrize("foreign", ["r-trees", "r-trees/mine.html"], ids=["a file", "a page in the folder"])
def test_trees_replace_nothing_but_trees(foreign: str, tmp_path: Path) -> None:
    path = tmp_path / foreign
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    with pytest.raises(InputError, match="give --out another name"):
        ComparisonFile(tmp_path / "r.html")
    ComparisonFile(tmp_path / "r.md")
    assert path.read_text() == "mine"


def test_the_same_as_markdown_and_json(comparison: Comparison) -> None:
    text = to_markdown(comparison_sections(comparison))
    assert "| one | greedy | 1 of 1 | 1 of 1 | - | 50 | 1.5 |" in text
    assert "| one | mcts | no | wrong | 0.60 | 0.800 | 8 | 400 | 3.0 |" in text
    assert "> Is 1 < 2 & 2 > 1?\n> Say yes or no." in text
    assert "Right: yes. An <easy> one." in text
    entry = json.loads(json.dumps(comparison.to_object()))
    assert entry["contestants"][0]["total"] == {"right": 1, "rated": 1, "tokens": 50.0, "seconds": 1.5}
    assert [each["answer"] for each in entry["prompts"][0]["replies"]] == ["yes", "no", ""]
