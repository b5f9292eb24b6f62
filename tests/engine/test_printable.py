from __future__ import annotations

from marcot.engine.printable import printable


def test_control_characters_become_visible_and_nothing_else_changes() -> None:
    assert printable("\x1b[2Jgone\x07\x7f\x9b1m") == "␛[2Jgone␇␡\N{REPLACEMENT CHARACTER}1m"
    assert printable("a\n\tb 小 é 🙂") == "a\n\tb 小 é 🙂"
