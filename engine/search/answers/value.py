"""Keys for the values of mathematical expressions."""

from __future__ import annotations

import hashlib
from fractions import Fraction

from .arithmetic import Number, Unreadable, in_reach, quotient
from .expression import POINTS, evaluate

_MAX_PLACES = 100
"""Maximum decimal places; numbers that may need more are written as fractions."""


def is_constant(text: str) -> bool:
    """Whether `text` is an expression without variables."""
    try:
        return not evaluate(text, 0)[1]
    except Unreadable:
        return False


def value_key(text: str) -> str:
    """Return a string that is equal for expressions of equal value, for all values of their variables.

    A rational value is written out. For others, and for functions, it is a hash of their values at certain rational
    values of the variables: exact where these values are rational too, else to ten digits (Schwartz, 1980).

    Raises:
        Unreadable: The value cannot be computed.
    """
    first, names = evaluate(text, 0)
    if not names:
        return written(first) if isinstance(first, Fraction) else _hash([first])
    values = [first, *(evaluate(text, point)[0] for point in range(1, POINTS))]
    return written(first) if isinstance(first, Fraction) and set(values) == {first} else _hash(values)


def equation_key(left: str, right: str) -> str:
    """Return a string that is equal for equations that are multiples of each other.

    Raises:
        Unreadable: One of the sides is not an expression.
    """
    first, *others = (evaluate(f"({left})-({right})", point)[0] for point in range(POINTS))
    with in_reach():
        return _hash([quotient(other, first) for other in others])


def written(number: Fraction) -> str:
    """`number` as a decimal if that ends, else as a fraction."""
    rest = number.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    places = number.denominator.bit_length()
    if rest != 1 or places > _MAX_PLACES:
        return f"{number.numerator}/{number.denominator}"
    digits = f"{abs(number.numerator) * 10**places // number.denominator:0{places + 1}d}"
    decimal = f"{digits[: len(digits) - places]}.{digits[len(digits) - places :]}".rstrip("0").rstrip(".")
    return f"-{decimal}" if number < 0 else decimal


def _hash(values: list[Number]) -> str:
    digest = hashlib.blake2b(" ".join(map(_digits, values)).encode(), digest_size=8).hexdigest()
    return f"#{digest}"


def _digits(value: Number) -> str:
    if isinstance(value, Fraction):
        return f"{value.numerator:x}/{value.denominator:x}"
    parts = (part if abs(part) > 1e-11 * abs(value) else 0.0 for part in (value.real, value.imag))
    return "{:.10g},{:.10g}".format(*parts)
