"""Finds the final answer in a chain of reasoning."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..rollout.reflection import conclusion
from .key import normalise_answer
from .tex import without_emphasis
from .words import KILO

_OUTPUT = re.compile(r"<output>(.*?)(?:</output>|\Z)", re.IGNORECASE | re.DOTALL)
_HASHES = re.compile(r"^[ \t]*####[ \t]+(\S.*)$", re.MULTILINE)
_PHRASE = re.compile(
    r"\b(?:final\s+)?answers?\b(?:\s+(?:to|for)\s[^.:\n]{1,80}?)?"
    r"(?:\s+(?:is|are|was|were|would\s+be|should\s+be)\b\s*:?|\**\s*[:=])"
    r"|^[ \t#*_]*(?:the[ \t]+)?(?:final[ \t]+)?answer[ \t*_]*$"
    r"|(?:最终)?答案\**\s*(?:应该|应当)?(?:是|为|[:：])",
    re.IGNORECASE | re.MULTILINE,
)
_PHRASE_START = re.compile(r"(?:\s|[*:：]|\\\[|\$\$|(?:therefore|thus|then|simply|just|exactly|indeed)\b,?)*")
_PHRASE_END = re.compile(
    r"\n|[.!?](?=\s|\Z|\*)|[。！？]"
    r"|,\s+(?:which|because|since|so|in|as|for|thus|therefore|hence|where|but|while|altogether|leaving|making)\b"
    r"|,\s+and\b(?!\s*[-\d$\\(])"
)
_BOX = re.compile(
    r"\\(?:boxed|fbox)(?:\s*(?P<open>\{)|[ \t]*(?P<bare>[-+−]?\d[\d.,/]*\b))|\\.|(?P<brace>[{}])", re.DOTALL
)
_JOINED = re.compile(
    r"(?:\s|[$~,;.、和或]|\\[()\[\],; ]|\\quad|\\text\s*\{\s*(?:and|or)\s*\}|\b(?:and|or)\b){1,40}", re.IGNORECASE
)
_JOINT = re.compile(r"[,;、和或]|\b(?:and|or)\b", re.IGNORECASE)
_DISPLAY = re.compile(r"\s*(?:\\\[|\\\]|\$\$|```\w*|</?[\w|-]+>)\s*")

_DIGITS = (
    r"(?:\d{1,3}(?:(?:,|\{,\}|,\\!\s?)\d{3})+(?!\d)|(?<![\d.,])\d{1,3}(?:[ \u00a0\u202f~]\d{3})+(?!\d)|\d+)(?:\.\d+)?"
    r"|\.\d+"
)
_AMOUNT = re.compile(
    r"(?=[-−–－+\\$€£¥₹.\d])"  # the characters that can begin one, so that most positions fail at once
    r"(?:(?<![A-Za-z\d)\]}])[-−–－+]|(?<=[=≈] )[-−–] )?(?:\\?[$€£¥₹])?"
    rf"(?:\d+(?::\d+)+(?:\s*[ap]\.?m\b)?|\d+\s+\d+/\d+(?![\d/])|\d+/\d+(?![\d/])|(?:{_DIGITS}))(?:\s?\\?%)?"
    rf"(?:\s?(?:百万|千万|[万亿]|(?!{KILO})[百千](?!分)|个?半)"
    r"|\s+(?:hundred|thousand|million|billion|trillion|dozen|and\s+a\s+half|or\s+\w+|squared|cubed|thirds|quarters)\b)*",
    re.IGNORECASE,
)
_TERM = r"(?:\\[A-Za-z]+|[A-Za-zπ\d]|[-+−*/^×·÷√°²³.,_'(){}\[\]|!%]|\\[,!%{}])+"
_OPERATOR = "-+−*/^=×·÷"
_FORMULA = re.compile(rf"{_TERM}(?:\s*[{_OPERATOR}]\s*{_TERM})*")
_WORDS_BEFORE = re.compile(rf".*[^{_OPERATOR}\s]\s+(?=[^{_OPERATOR}\s])", re.DOTALL)
"""A text up to the last space that no formula reaches across, because there is no operator beside it."""

_COMPUTED = re.compile(r"[=≈][\s\\$]{0,3}[-−]?\s?[\d.]")
_SOMETHING = re.compile(r"\S")
_SPAN = re.compile(r"\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]")
_INDEX = re.compile(r"[\^_]\{?\Z")
_REMARK = re.compile(r"\s\((?=[^()]*[A-Za-z]{2})[^()]*\)[\s.]*+\Z")
_VALUE = re.compile(r"-?(?:\d[\d./]*|∞)|#[0-9a-f]{16}|[(\[](?:[-\d./∞, ]|#[0-9a-f]{16})+[)\]]|\\begin .*", re.DOTALL)
_MOST_BOXES = 50
_MOST_WRAPPERS = 8
_MOST_MARKS = 100
_REACH = 200_000
"""How many characters at the end of a text are searched for its answer."""

_WINDOW = 2000
"""Maximum characters of a line or a sentence to read."""

_WRAPPERS = {("(", ")"), ("[", "]"), ("{", "}"), ('"', '"'), ("'", "'"), ("“", "”"), ("$", "$")}


def extract_answer(text: str) -> str:
    r"""Return the final answer of `text`, or "" if there is no text.

    A thought is not searched if anything follows it (`conclusion`). The answer is the first of these that is found,
    each at its last occurrence:

    1. the text between `<Output>` and `</Output>` (Marco-o1), in which the rules below apply in turn,
    2. `\boxed{...}`, with nested braces; several of them with only "and" or commas in between are one answer,
    3. `#### ...` (GSM8K) in the last line, or anywhere before a number,
    4. the text after "the answer is", "answer:", "答案是", "答案：", up to the end of the sentence,
    5. the last number or formula, if the last line has one or if the text computes something (`= 72`),
    6. the last line.
    """
    text = conclusion(text)[-_REACH:]
    outputs = [output for output in _OUTPUT.findall(text) if output.strip()]
    if outputs:
        inner = outputs[-1].strip()
        return _marked(inner) or (_stated(inner) if len(inner.splitlines()) > 1 else "") or _tidy(inner)
    return _marked(text) or _stated(text) or _tidy(next(_lines(text), ""))


def reference_answer(reference: str) -> str:
    r"""Return the answer in a reference: a marked solution is searched, any other text is the answer itself.

    Marks are those of rules 1 to 4 of `extract_answer`: `<Output>`, `\boxed{}`, `####`, "the answer is".
    """
    text = conclusion(reference)[-_REACH:]
    if any(output.strip() for output in _OUTPUT.findall(text)):
        return extract_answer(text)
    return _marked(text) or reference.strip()


def _marked(text: str) -> str:
    """The answer by rules 2 to 4, or ""."""
    return _boxed(text) or _hashed(text) or _said(text)


def _boxed(text: str) -> str:
    r"""The content of the last `\boxed{}` or `\fbox{}` whose braces balance, or ""."""
    if "\\" not in text:
        return ""
    opened: list[tuple[int, int] | None] = []
    boxes: list[tuple[int, int, int, int]] = []
    for match in _BOX.finditer(text):
        if match["bare"]:
            boxes.append((match.start(), *match.span("bare"), match.end()))
        elif match["open"]:
            opened.append((match.start(), match.end()))
        elif match["brace"] == "{":
            opened.append(None)
        elif match["brace"] and opened and (box := opened.pop()) and _SOMETHING.search(text, box[1], match.start()):
            boxes.append((*box, match.start(), match.end()))
    boxes.sort()
    answers: list[str] = []
    for at in range(len(boxes) - 1, -1, -1):
        answers.insert(0, text[boxes[at][1] : boxes[at][2]].strip())
        between = text[boxes[at - 1][3] : boxes[at][0]] if at else ""
        if len(answers) == _MOST_BOXES or not (_JOINED.fullmatch(between) and _JOINT.search(between)):
            break
    return ", ".join(dict.fromkeys(answers))


def _hashed(text: str) -> str:
    """The text after the last `####` that is not a heading, or ""."""
    if "####" not in text:  # the usual case, a hundred times faster to check than the pattern
        return ""
    found = list(_HASHES.finditer(text))
    if found and not _SOMETHING.search(text, found[-1].end()):
        return _tidy(found[-1][1])
    return next((answer for match in found[::-1] if _AMOUNT.fullmatch(answer := _tidy(match[1][:_WINDOW]))), "")


def _said(text: str) -> str:
    """The text after the last "the answer is", or ""."""
    folded = text.casefold()
    if "answer" not in folded and "答案" not in folded:  # a quick check that settles most texts
        return ""
    found = list(_PHRASE.finditer(text))
    for match in found[:-_MOST_MARKS:-1]:
        rest = text[match.end() : match.end() + _WINDOW]
        rest = rest[_PHRASE_START.match(rest).end() :]  # type: ignore[union-attr]  # it also matches an empty text
        if answer := _tidy(_PHRASE_END.split(rest, maxsplit=1)[0]):
            return answer
    return ""


def _stated(text: str) -> str:
    """The answer by rule 5, or ""."""
    lines = _lines(text)
    line = next(lines, "")
    if not re.search(r"\d", line) and _COMPUTED.search(text):
        line = next((line for line in lines if re.search(r"\d", line)), "")
    line = _without_remark(without_emphasis(line[-_WINDOW:]))
    amounts = list(_AMOUNT.finditer(line))
    while len(amounts) > 1 and _INDEX.search(line, 0, amounts[-1].start()):
        amounts.pop()
    if not amounts:
        return ""
    amount = amounts[-1]
    before = _WORDS_BEFORE.match(line, 0, amount.start() + 1)
    for formula in (*_SPAN.finditer(line), *_FORMULA.finditer(line, before.end() if before else 0)):
        if formula.start() <= amount.start() < formula.end():
            text = next(filter(None, formula.groups()), formula[0])
            value = text.rpartition("=")[2].strip(" .,")
            is_amount = bool(_AMOUNT.fullmatch(value))
            if is_amount and formula.re is _SPAN:
                return value
            if not is_amount and _VALUE.fullmatch(normalise_answer(value)):
                return value
    return amount[0].strip()


def _without_remark(line: str) -> str:
    """`line` without words in brackets at its end, if there is a number before them."""
    remark = _REMARK.search(line)
    return line[: remark.start()] if remark and re.search(r"\d", line[: remark.start()]) else line


def _lines(text: str) -> Iterator[str]:
    """The lines, from the last one, that are neither blank nor a lone delimiter."""
    return (line.strip() for line in reversed(text.splitlines()) if line.strip() and not _DISPLAY.fullmatch(line))


def _tidy(answer: str) -> str:
    """`answer` without emphasis, outer math signs, brackets and the final period of its sentence."""
    answer = without_emphasis(answer)
    before = None
    for _ in range(_MOST_WRAPPERS):
        if before == answer:
            break
        before = answer
        answer = answer.strip().rstrip("。.").rstrip()
        for opening, closing in (("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$")):
            answer = answer.removeprefix(opening).removesuffix(closing)
        if len(answer) > 1 and (answer[0], answer[-1]) in _WRAPPERS:
            inner = answer[1:-1]
            answer = answer if any(sign in inner for sign in (answer[0], answer[-1], ",", ";")) else inner
    return answer
