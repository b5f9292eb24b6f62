"""Text that would control a terminal or hide something."""

from __future__ import annotations

import json

import pytest
from marcot.engine.text.printable import escaped, printable


def test_control_characters_become_visible_and_nothing_else_changes() -> None:
    assert printable("\x1b[2Jgone\x07\x7f\x9b1m") == "␛[2Jgone␇␡\N{REPLACEMENT CHARACTER}1m"
    assert printable("a\n\tb 小 é 🙂") == "a\n\tb 小 é 🙂"


@pytest.mark.parametrize(
    "text",
    [
        "می‌خواهم",  # Persian, with a non-joiner
        "क्‍ष",  # Hindi, with a joiner
        "ភាសា\u200bខ្មែរ",  # Khmer, with zero-width spaces
        "👩‍👩‍👧‍👦 ❤️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🏳️‍🌈",
        "שלום, عالم! naïve Donau\u00addampf",
        "half \ud83c of a tree",
    ],
    ids=["Persian", "Hindi", "Khmer", "emoji", "others", "surrogate"],
)
def test_honest_text_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    "letter", [*"\u061c\u200e\u200f\u2028\u2029\u202a\u202e\u2060\u2066\u2069\u206a\ufeff\ufff9\U000e0001\U000e0041"]
)
def test_what_turns_or_hides_text_is_seen(letter: str) -> None:
    assert printable(f"a{letter}b") == "a\ufffdb"


def test_a_joiner_in_a_number_is_seen() -> None:
    assert printable("4\u200b2 and 4\u200c\u200d2") == "4\ufffd2 and 4\ufffd\ufffd2"
    assert printable("\u200d") == "\u200d", "a piece of an emoji on its way"


def test_tags_without_their_flag_are_seen() -> None:
    assert printable("🏴\U000e0068\U000e0069") == "🏴\ufffd\ufffd"


def test_escaped_json_means_the_same() -> None:
    text = "".join(map(chr, range(0xA0))) + "\u202e\u2028\U000e0041 👩‍👧"
    told = escaped(json.dumps(text, ensure_ascii=False))
    assert json.loads(told) == text
    assert printable(told) == told
