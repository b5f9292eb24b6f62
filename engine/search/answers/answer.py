"""The final answer in a chain of reasoning, and when two answers are the same."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

_NUMBER = r"[-−+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|[-−+]?\.\d+"

_AMOUNT = rf"\d+/\d+(?!\d)|{_NUMBER}"
"""A fraction, or a number."""

_OUTPUT = re.compile(r"<output>(.*?)(?:</output>|\Z)", re.IGNORECASE | re.DOTALL)
_HASHES = re.compile(r"^[ \t]*####[ \t]+(\S.*)$", re.MULTILINE)
_PHRASE = re.compile(
    r"\b(?:final\s+)?answer\b(?:\s+(?:to|for)\s[^.:\n]{1,80}?)?(?:\s+(?:is|was|would\s+be|should\s+be)\b\s*:?|\**\s*[:=])"
    r"|(?:最终)?答案\**\s*(?:应该|应当)?(?:是|为|[:：])",
    re.IGNORECASE,
)
_PHRASE_END = re.compile(r"\n|[.!?](?=\s|\Z|\*)|[。！？]|,\s+(?:which|because|since|so|and)\b")
_EQUATION = re.compile(rf"[=≈]\s*\\?\$?\s*(?:{_NUMBER})")
_DISPLAY = re.compile(r"^\s*(?:\\\[|\\\]|\$\$|```\w*|</?[\w|-]+>)\s*$")
_FORMATTING = re.compile(r"\\[()\[\]]|\*\*|__|`|\\(?:left|right|,|;|!)")
_TEXT_MACRO = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}")
_QUANTITY = re.compile(
    rf"(?:[$€£¥₹]|rs\.?|usd)?\s*({_NUMBER})\s*(?:%|°|[$€£¥₹])?\s*(?:[^\W\d_]+\.?(?:\s+[^\W\d_]+){{0,2}}\.?)?"
)
_WRAPPERS = {("(", ")"), ("[", "]"), ("{", "}"), ('"', '"'), ("'", "'"), ("“", "”"), ("$", "$")}


def extract_answer(text: str) -> str:
    r"""Return the final answer of `text`, or "" if there is no text.

    The first of these that is found, each at its last place in the text:

    1. what is between `<Output>` and `</Output>` (Marco-o1), searched in turn by the rules below,
    2. `\boxed{...}`, with nested braces,
    3. `#### ...` (GSM8K),
    4. what follows "the answer is", "answer:", "答案是", "答案：", up to the end of the sentence,
    5. the last number or fraction, if the last line has one or if the text computes something (`= 72`),
    6. the last line.
    """
    outputs = [output for output in _OUTPUT.findall(text) if output.strip()]
    if outputs:
        inner = outputs[-1].strip()
        return _marked(inner) or (_stated_number(inner) if len(inner.splitlines()) > 1 else "") or _tidy(inner)
    return _marked(text) or _stated_number(text) or _tidy(_last_line(text))


def normalise_answer(answer: str) -> str:
    """Return a key that is equal for answers that mean the same.

    Formatting, case, outer quotes and brackets, and a final period do not count. A number counts by its amount alone:
    thousands commas, trailing zeros, currency signs, percent signs and up to three words of unit do not
    (`"$1,080.00"`, `"1080 clips"` and `"１０８０"` are the same). Anything else, fractions included, is compared as it
    is written.
    """
    key = _TEXT_MACRO.sub(r"\1", unicodedata.normalize("NFKC", answer))
    key = _FORMATTING.sub("", key).replace("\\$", "$").replace("\\%", "%")
    key = _unwrap(" ".join(key.split()).casefold())
    quantity = _QUANTITY.fullmatch(key)
    if quantity is None:
        return key
    number = Decimal(quantity[1].replace(",", "").replace("−", "-"))
    return format(number.normalize(), "f") if number else "0"


def answers_agree(answer: str, reference: str) -> bool:
    """Whether `answer` says the same as the answer in the text `reference`."""
    return normalise_answer(answer) == normalise_answer(extract_answer(reference))


def _marked(text: str) -> str:
    """The answer by rules 2 to 4, or ""."""
    boxed = _last_boxed(text)
    if boxed:
        return boxed
    hashes = _HASHES.findall(text)
    if hashes:
        return _tidy(hashes[-1])
    for match in reversed(list(_PHRASE.finditer(text))):
        sentence = _PHRASE_END.split(text[match.end() :].lstrip(" *:：\n"), maxsplit=1)[0]
        if answer := _tidy(sentence):
            return answer
    return ""


def _last_boxed(text: str) -> str:
    r"""The content of the last `\boxed{}` or `\fbox{}` whose braces balance, or ""."""
    for match in reversed(list(re.finditer(r"\\(?:boxed|fbox)\s*\{", text))):
        depth = 1
        for end in range(match.end(), len(text)):
            depth += (text[end] == "{") - (text[end] == "}")
            if depth == 0:
                if content := text[match.end() : end].strip():
                    return content
                break
    return ""


def _stated_number(text: str) -> str:
    """The answer by rule 5, or ""."""
    numbers = re.findall(_AMOUNT, _last_line(text))
    if not numbers and _EQUATION.search(text):
        numbers = re.findall(_AMOUNT, text)
    return numbers[-1] if numbers else ""


def _last_line(text: str) -> str:
    """The last line that says something: neither blank nor a lone delimiter."""
    lines = [line for line in text.splitlines() if line.strip() and not _DISPLAY.match(line)]
    return lines[-1].strip() if lines else ""


def _tidy(answer: str) -> str:
    """Without what belongs to the sentence around it: emphasis, outer math signs, the final period."""
    return _unwrap(answer.replace("**", "").strip())


def _unwrap(answer: str) -> str:
    """Without outer math signs, quotes and brackets, and without a final period."""
    before = None
    while before != answer:
        before = answer
        answer = answer.strip().rstrip("。.").rstrip()
        for opening, closing in (("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$")):
            answer = answer.removeprefix(opening).removesuffix(closing)
        if len(answer) > 1 and (answer[0], answer[-1]) in _WRAPPERS:
            inner = answer[1:-1]
            answer = inner if answer[0] not in inner and answer[-1] not in inner else answer
    return answer
