"""Parses and computes mathematical expressions."""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from zlib import crc32

from .arithmetic import (
    Number,
    Unreadable,
    absolute,
    binomial,
    factorial,
    in_reach,
    power,
    product,
    quotient,
    root,
    snapped,
    total,
)
from .words import NO_PRODUCT

POINTS = 4
"""Number of sets of values at which expressions with variables are computed; the values of the last are negative."""

_MAX_LENGTH = 600
_MAX_DEPTH = 30
_MAX_PRODUCT = 3
"""Up to this many adjacent letters are factors; more are a word."""

_TOKEN = re.compile(
    r"\s*(?:(\d+\.\d+[eE][+-]?\d{1,3}|\d+[eE]\d{1,3}(?!\w)|\d+E[+-]\d{1,3}|\d+(?:\.\d+)?|\.\d+)"
    r"|(\\[A-Za-z]+|[A-Za-z]+)|([-+*/^!_'(){}\[\]|°]))"
)
_MIXED = re.compile(
    r"(?<![\w.)}\]^/\\])(\d+)(?:\s+(\d+)\s*/\s*(\d+)|\s*\\frac\s*(?:\{\s*(\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d)))"
    r"(?![\d.^/])"
)

_REPEATING = re.compile(r"(\d*)\.(\d*)\\overline ?\{(\d+)\}")

_FUNCTIONS: Mapping[str, Callable[[complex], complex]] = {
    "sin": cmath.sin, "cos": cmath.cos, "tan": cmath.tan, "sinh": cmath.sinh, "cosh": cmath.cosh, "tanh": cmath.tanh,
    "cot": lambda x: 1 / cmath.tan(x), "sec": lambda x: 1 / cmath.cos(x), "csc": lambda x: 1 / cmath.sin(x),
    "arcsin": cmath.asin, "arccos": cmath.acos, "arctan": cmath.atan, "ln": cmath.log, "log": cmath.log10,
    "lg": cmath.log10, "exp": cmath.exp,
}  # fmt: skip
_CONSTANTS: Mapping[str, complex] = {"pi": math.pi, "e": math.e, "i": 1j}
_GREEK = ("alpha", "beta", "gamma", "delta", "theta", "lambda", "mu", "rho", "sigma", "tau", "phi", "omega", "varphi",
          "epsilon", "Delta", "Omega")  # fmt: skip
_WORD = re.compile(
    r"(?:sinh?|cosh?|tanh?|cot|sec|csc|arc(?:sin|cos|tan)|ln|log|lg|exp|sqrt|pi)(?![a-z]{2})", re.IGNORECASE
)
_BRACKETS: Mapping[str, str] = {"(": ")", "[": "]", "{": "}", "|": "|"}


def evaluate(text: str, point: int) -> tuple[Number, set[str]]:
    """Return the value of an expression in plain notation, and the names of its variables.

    Args:
        text: The expression.
        point: Which set of values to use for its variables, from 0 to `POINTS` - 1.

    Raises:
        Unreadable: It is not an expression, or its value cannot be computed.
    """
    if len(text) > _MAX_LENGTH:
        raise Unreadable("long")
    with in_reach():
        reader = _ExpressionParser(_MIXED.sub(_mixed, _REPEATING.sub(_repeating, text)), point)
        return snapped(reader.value()), reader.names


def _repeating(match: re.Match[str]) -> str:
    r"""0.1\overline{6} as a fraction."""
    whole, start, period = match.groups()
    decimals = int(start + period) - int(start or 0)
    return f"({whole or 0}+{decimals}/{10 ** len(start) * (10 ** len(period) - 1)})"


def _mixed(match: re.Match[str]) -> str:
    """3 1/2 as a sum, unless the fraction is improper, which may be a factor."""
    whole, over, under = (int(part) for part in match.groups() if part is not None)
    refused = f"{whole} {whole}"  # no expression has two numbers in a row
    return f"({whole}+{over}/{under})" if over < under else refused


class _ExpressionParser:
    """A recursive-descent parser that computes as it reads.

    Attributes:
        names: Variables that occurred so far.
    """

    def __init__(self, text: str, point: int) -> None:
        self.names: set[str] = set()
        self._point = point
        self._depth = 0
        self._tokens = _tokens(text)
        self._at = 0

    def value(self) -> Number:
        value = self._sum()
        if self._at < len(self._tokens):
            raise Unreadable(self._next)
        return value

    @property
    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, *wanted: str) -> str:
        token = self._next
        if not token or (wanted and token not in wanted):
            raise Unreadable(token)
        self._at += 1
        return token

    def _sum(self) -> Number:
        value = self._term()
        while self._next in ("+", "-"):
            sign = Fraction(1 if self._take() == "+" else -1)
            value = total(value, product(sign, self._term()))
        return value

    def _term(self) -> Number:
        value = self._signed()
        while self._next:
            before = self._tokens[self._at - 1]
            if self._next in ("*", "/"):
                is_product = self._take() == "*"
                factor = self._signed()
                value = product(value, factor) if is_product else quotient(value, factor)
            elif self._starts_factor() and not (_is_number(self._next) and before not in ")}]"):
                value = product(value, self._factor())
            else:
                break
        return value

    def _starts_factor(self) -> bool:
        return bool(self._next) and (self._next in "([{" or self._next[0].isalnum() or self._next[0] in "\\.")

    def _signed(self) -> Number:
        negative = False
        while self._next in ("+", "-"):
            negative ^= self._take() == "-"
        value = self._factor()
        return product(Fraction(-1), value) if negative else value

    def _factor(self) -> Number:
        base = self._atom()
        while self._next in ("!", "°"):
            base = factorial(base) if self._take() == "!" else product(base, complex(math.pi / 180))
        if self._next == "^":
            self._take()
            base = power(base, self._argument())
            if self._next in ("^", "!"):
                raise Unreadable(self._next)
        return base

    def _argument(self) -> Number:
        """The argument of `^` or of a command: a group, or one token with its sign."""
        if self._next == "{":
            return self._group("{", "}")
        negative = self._next == "-"
        if negative:
            self._take()
        value = self._atom()
        return product(Fraction(-1), value) if negative else value

    def _digit_or_group(self) -> Number:
        r"""An argument of `\frac` or `\sqrt`; `\frac12` has two."""
        if self._next == "{":
            return self._group("{", "}")
        token = self._next
        if token.isdigit() and len(token) > 1:
            self._tokens[self._at : self._at + 1] = [token[0], token[1:]]
        return self._atom()

    def _group(self, opening: str, closing: str) -> Number:
        self._take(opening)
        value = self._sum()
        self._take(closing)
        return value

    def _atom(self) -> Number:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise Unreadable("deep")
        if self._next in _BRACKETS:
            opening = self._next
            value = self._group(opening, _BRACKETS[opening])
            value = absolute(value) if opening == "|" else value
        elif self._next and _is_number(self._next):
            value = Fraction(self._take())
        else:
            value = self._named()
        self._depth -= 1
        return value

    def _named(self) -> Number:
        """A value that begins with a letter or a command."""
        token = self._take()
        name = token.removeprefix("\\")
        if name in ("frac", "binom"):
            over, under = self._digit_or_group(), self._digit_or_group()
            return quotient(over, under) if name == "frac" else binomial(over, under)
        if name == "sqrt":
            degree = self._group("[", "]") if token[0] == "\\" and self._next == "[" else Fraction(2)
            return root(self._digit_or_group(), degree)
        if name in _FUNCTIONS:
            return self._function(name)
        if name in _CONSTANTS and self._next != "_":
            return _CONSTANTS[name]
        if not (token.isalpha() and len(token) == 1) and name not in _GREEK:
            raise Unreadable(token)
        return self._variable(token)

    def _function(self, name: str) -> Number:
        base: Number = Fraction(10)
        exponent: Number = Fraction(1)
        if name == "log" and self._next == "_":
            self._take()
            base = self._digit_or_group() if self._next == "{" else self._atom()
            if base == 1:
                raise Unreadable(name)
        elif self._next == "^":
            self._take()
            exponent = self._argument()
            if exponent == -1:
                raise Unreadable(name)
        if self._next in ("(", "[", "{"):
            argument = self._factor()
        else:
            argument = self._signed()
            while self._starts_factor() and self._next.removeprefix("\\") not in _FUNCTIONS and self._next not in "([{":
                argument = product(argument, self._factor())
        value = cmath.log(argument) / cmath.log(base) if base != 10 else _FUNCTIONS[name](complex(argument))
        return power(value, exponent)

    def _variable(self, name: str) -> Number:
        if self._next == "_":
            self._take()
            index = [self._take()]
            while index[0] == "{" and index[-1] != "}":
                index.append(self._take())
            name += "_" + "".join(index).strip("{}")
        while self._next == "'":
            name += self._take()
        self.names.add(name)
        seed = crc32(f"{self._point} {name}".encode())
        return Fraction(seed % 89 + 7, 23) * (-1 if self._point == POINTS - 1 else 1)


def _is_number(token: str) -> bool:
    return token[0].isdigit() or token[0] == "."


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Unreadable(text[at])
        at = match.end()
        number, letters, sign = match.groups()
        tokens += _letters(letters) if letters else [number or sign]
    return tokens


def _letters(letters: str) -> list[str]:
    """A run of letters as commands and factors; a word is unreadable."""
    if letters[0] == "\\":
        return [letters]
    parts: list[str] = []
    while letters:
        word = _WORD.match(letters)
        if word is None:
            break
        parts.append(word[0].lower())
        letters = letters[word.end() :]
    if len(letters) > _MAX_PRODUCT or letters.lower() in NO_PRODUCT:
        raise Unreadable(letters)
    return parts + list(letters)
