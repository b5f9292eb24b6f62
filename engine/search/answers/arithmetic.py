"""Arithmetic that is exact as long as numbers are rational, and refuses results that are too large."""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

Number = Fraction | complex

_MAX_BITS = 4096
"""Maximum length of an exact power: 10^1000 is computed, 9^(9^9) is not."""

_MAX_RATIO = 1e6
"""Maximum ratio of two terms of an inexact sum; below it, nine digits of the smaller term are kept."""

_MAX_FACTORIAL = 300
_MAX_DEGREE = 12


class Unreadable(ValueError):  # noqa: N818  # not an error: the text is something else
    """The text is not an expression, or its value cannot be computed."""


@contextmanager
def in_reach() -> Iterator[None]:
    """Turn arithmetic errors into `Unreadable`."""
    try:
        yield
    except (ArithmeticError, ValueError) as error:
        raise Unreadable(str(error)) from error


def total(one: Number, other: Number) -> Number:
    """The sum, unless inexact terms differ too much in size."""
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return one + other
    left, right = complex(one), complex(other)
    small, large = sorted((abs(left), abs(right)))
    if small and large / small > _MAX_RATIO:
        raise Unreadable("lost digits")
    return left + right


def product(one: Number, other: Number) -> Number:
    """The product."""
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return one * other
    return complex(one) * complex(other)


def quotient(one: Number, other: Number) -> Number:
    """The quotient."""
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return one / other
    return complex(one) / complex(other)


def power(base: Number, exponent: Number) -> Number:
    """The power: exact if possible, else the principal value."""
    if isinstance(base, Fraction) and isinstance(exponent, Fraction):
        if exponent.denominator == 1:
            bits = max(base.numerator.bit_length(), base.denominator.bit_length())
            if bits * abs(exponent) > _MAX_BITS and abs(base) != 1:
                raise Unreadable("long power")
            return base ** int(exponent)
        if base > 0 and exponent.denominator <= _MAX_DEGREE:
            root = _exact_root(base, exponent.denominator)
            if root is not None:
                return power(root, Fraction(exponent.numerator))
    return complex(base) ** complex(exponent)


def root(base: Number, degree: Number) -> Number:
    """The root: exact if possible, real for odd degrees, else the principal value."""
    if base == 0:
        return Fraction(0)
    is_odd = isinstance(degree, Fraction) and degree.denominator == 1 and degree.numerator % 2
    if is_odd and isinstance(base, Fraction) and base < 0:
        return product(Fraction(-1), power(-base, 1 / Fraction(degree.real)))
    return power(base, quotient(Fraction(1), degree))


def _exact_root(base: Fraction, degree: int) -> Fraction | None:
    over, under = (round(float(part) ** (1 / degree)) for part in (base.numerator, base.denominator))
    return Fraction(over, under) if Fraction(over, under) ** degree == base else None


def absolute(value: Number) -> Number:
    """The absolute value."""
    return abs(value) if isinstance(value, Fraction) else complex(abs(value))


def factorial(value: Number) -> Number:
    """The factorial of a whole number."""
    if not isinstance(value, Fraction) or value.denominator != 1 or not 0 <= value <= _MAX_FACTORIAL:
        raise Unreadable("factorial")
    return Fraction(math.factorial(int(value)))


def binomial(over: Number, under: Number) -> Number:
    """The binomial coefficient of whole numbers."""
    if not all(isinstance(each, Fraction) and each.denominator == 1 for each in (over, under)):
        raise Unreadable("binomial")
    if not 0 <= under.real <= over.real <= _MAX_FACTORIAL:
        raise Unreadable("binomial")
    return Fraction(math.comb(int(over.real), int(under.real)))


def snapped(value: Number) -> Number:
    """`value`, made exact again if it is rational but was computed inexactly: `(1+√5)(1-√5)` is -4."""
    if isinstance(value, Fraction):
        if max(value.numerator.bit_length(), value.denominator.bit_length()) > 2 * _MAX_BITS:
            raise Unreadable("long")
        return value
    if not cmath.isfinite(value):
        raise Unreadable("infinite")
    if abs(value.imag) > 1e-12 * max(1.0, abs(value.real)):
        return value
    near = Fraction(value.real).limit_denominator(1000)
    return (
        near
        if abs(near - Fraction(value.real)) <= Fraction(1e-12) * max(Fraction(1), abs(near))
        else complex(value.real)
    )
