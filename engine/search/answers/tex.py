r"""Converts answers, with or without TeX, into one plain notation."""

from __future__ import annotations

import re
import unicodedata

TEXT = "\x01"
"""Marks the beginning and end of a `\text{}`, whose content is words, even if it is a single letter."""

_SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ", "0123456789+-=()ni", strict=True))
_SUPERSCRIPT = re.compile(f"[{''.join(_SUPERSCRIPTS)}]+")
_VULGAR = re.compile(r"(\d?)\s?([¼-¾⅐-⅞])")
_RADICAL = re.compile(r"√\s*(\d+)")
_MINUS = re.compile(r"(?<!\d)–|–(?!\d)|[‐‑‒−﹣－]")
"""An en dash between digits means a range."""

_GREEK = {
    unicodedata.lookup(f"GREEK SMALL LETTER {name.upper()}"): f"\\{name} "
    for name in ("alpha", "beta", "gamma", "delta", "theta", "mu", "pi", "rho", "sigma", "tau", "phi", "omega")
} | {"λ": "\\lambda "}

_SIGNS = {
    "\u2062": "*", "×": "*", "·": "*", "⋅": "*", "∙": "*", "∗": "*", "÷": "/", "∕": "/", "⁄": "/", "≤": "<=", "≥": ">=",
    "⩽": "<=", "⩾": ">=", "≠": "!=", "′": "'", "’": "'", "‘": "'", "“": '"', "”": '"', "√": "\\sqrt ", "∶": ":",
}  # fmt: skip
_MEANINGS = str.maketrans(_SIGNS | _GREEK)
_COMMANDS = {
    "times": "*", "cdot": "*", "ast": "*", "div": "/", "le": "<=", "leq": "<=", "leqslant": "<=", "ge": ">=",
    "geq": ">=", "geqslant": ">=", "lt": "<", "gt": ">", "ne": "!=", "neq": "!=", "infty": "∞", "pm": "±", "mp": "∓",
    "cup": "∪", "cap": "∩", "in": "∈", "approx": "≈", "degree": "°", "circ": "∘", "ldots": "...", "dots": "...",
    "cdots": "...", "prime": "'", "colon": ":", "lbrace": "⦃", "rbrace": "⦄", "langle": "⟨", "rangle": "⟩",
    "lvert": "|", "rvert": "|", "vert": "|", "mid": "|", "dfrac": "\\frac", "tfrac": "\\frac", "cfrac": "\\frac",
    "dbinom": "\\binom", "tbinom": "\\binom", "lor": " or ", "vee": " or ", "land": " and ", "wedge": " and ",
    "implies": "⇒", "Rightarrow": "⇒", "to": "→", "rightarrow": "→", "emptyset": "∅", "varnothing": "∅",
    "quad": " ", "qquad": " ", "thinspace": " ", "space": " ", "boxed": "", "fbox": "", "textstyle": "",
    "displaystyle": "", "limits": "", "left": "", "right": "", "middle": "", "big": "", "Big": "", "bigg": "",
    "Bigg": "", "bigl": "", "bigr": "", "Bigl": "", "Bigr": "", "mathbf": "", "boldsymbol": "", "mathit": "", "bf": "",
    "rm": "", "hline": "",
}  # fmt: skip
"""Plain notation of TeX commands without an argument, or with one that can stand alone."""

_ESCAPES = {",": " ", ";": " ", ":": " ", " ": " ", "\n": " ", "!": "", "(": "", ")": "", "[": "", "]": "",
            "$": "$", "%": "%", "{": "⦃", "}": "⦄", "#": "#", "&": "&", "_": "_", "|": "‖"}  # fmt: skip

_TEXT_MACRO = re.compile(
    r"\\(text(?:bf|it|rm|normal|sf|tt)?|mathrm|mbox|hbox|operatorname\*?|mathsf|textup)\s*\{([^{}]*)\}"
)
_LATIN_CONSTANTS = ("e", "i", "d")
_DIGIT_COMMA = re.compile(r"(?<=\d)\s*(?:\{\s*,\s*\}\s*|,\s*\\!\s*)(?=\d{3}(?!\d))")
_COMMAND = re.compile(r"\\([A-Za-z]+|[^A-Za-z])")
_DEGREE = re.compile(r"\s*\^\s*(?:\{\s*∘\s*\}|∘)")
_THIN = re.compile("[\u00a0\u2000-\u200a\u202f\u205f\u3000~]")
_INVISIBLE = re.compile("[\u200b-\u200d\u2060\ufeff\u00ad]")
_BOLD = re.compile(r"(?<![\w)*])\*\*(?=[^\s*])([^*]*[^\s*])\*\*(?![\w(*])")
_POWER = re.compile(r"(?<=[\w)])\*\*(?=[\w(-])")


def without_emphasis(text: str) -> str:
    """`text` without Markdown's bold marks; `2**3` stays."""
    if "**" not in text:
        return text
    return _POWER.sub("^", _BOLD.sub(r"\1", text)).replace("**", "")


def plain(answer: str) -> str:
    r"""Return `answer` in plain notation.

    Of TeX, `\frac`, `\sqrt`, named functions, Greek letters and environments remain; spaces, sizes, fonts and math
    signs are removed. Words in `\text{}` are between two `TEXT`.
    """
    text = _SUPERSCRIPT.sub(lambda run: f"^{{{''.join(_SUPERSCRIPTS[sign] for sign in run[0])}}}", answer)
    text = _RADICAL.sub(r"\\sqrt{\1}", _VULGAR.sub(_vulgar, text))
    text = _MINUS.sub("-", unicodedata.normalize("NFKC", text))
    text = _THIN.sub(" ", _INVISIBLE.sub("", text)).replace(TEXT, "")
    text = _DIGIT_COMMA.sub("", without_emphasis(text))
    for _ in range(3):  # nested texts
        text = _TEXT_MACRO.sub(_words, text)
    text = _COMMAND.sub(_command, text)
    return " ".join(_DEGREE.sub("°", text.translate(_MEANINGS)).replace("`", "").split())


def _vulgar(match: re.Match[str]) -> str:
    over, _, under = unicodedata.normalize("NFKC", match[2]).partition("⁄")
    return f"{match[1]} {over}/{under}" if match[1] else f"{over}/{under}"


def _words(match: re.Match[str]) -> str:
    words = match[2]
    is_symbol = not match[1].startswith("text") and words.strip(" ~") in _LATIN_CONSTANTS
    is_function = match[1].startswith("operatorname")
    return words if is_symbol or is_function else f"{TEXT}{words}{TEXT}"


def _command(match: re.Match[str]) -> str:
    name = match[1]
    if name[0].isalpha():
        plainly = _COMMANDS.get(name, f"\\{name}")
        # A letter may follow; the space that ended the command is removed later.
        return f"{plainly} " if plainly[-1:].isalpha() else plainly
    return _ESCAPES.get(name, match[0])
