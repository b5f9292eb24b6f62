"""Words that occur beside numbers: units, scales, and words that change an amount."""

from __future__ import annotations

from collections.abc import Mapping

_CHANGING = """
    and or half halves third thirds fourth fourths quarter quarters fifth fifths sixth sixths seventh sevenths eighth
    eighths ninth ninths tenth tenths hundredth hundredths thousandth thousandths hundred hundreds thousand thousands
    million millions billion billions trillion trillions dozen dozens tens gross score times plus minus less than to
    through until between not no none squared square cubed cubic factorial root point over below under negative
    positive base mod modulo remainder recurring repeating pi e i infinity zero one two three four five six seven eight
    nine ten eleven twelve twenty thirty forty fifty sixty seventy eighty ninety th st nd rd k double triple twice
    choose if when divided multiplied by sin cos tan cot sec csc log ln lg exp sqrt frac
"""
CHANGING = frozenset(_CHANGING.split())
"""Words after a number that change its value, or may do so."""

OF_UNITS = frozenset({"square", "cubic"})
"""Words of `CHANGING` that do not change the value if a unit follows."""

CHANGING_CHARACTERS = frozenset("万亿千百十半或和与又零一二两三四五六七八九几多余点打成负减加乘除倍")
"""Chinese characters that change the value of a number they follow, except in `KILO`."""

KILO = "千(?=[克米瓦卡焦帕])"
"""A pattern for the kilo of a unit, which is otherwise the numeral for a thousand."""

SCALES: Mapping[str, int] = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
    "百": 10**2, "千": 10**3, "万": 10**4, "亿": 10**8, "百万": 10**6, "千万": 10**7,
}  # fmt: skip
"""Words after a number that multiply it."""

LETTER_UNITS = frozenset("mgshlLNJWVACFK")
"""Units of one letter, without `i`, `k`, `n`, `t` and `x`."""

_SHORT_UNITS = """
    cm mm km dm nm kg mg ml cl dl ft yd mi lb lbs oz hr hrs min mins sec secs mph kph km/h kmh hz khz kw kwh mw gb mb kb
    tb usd eur gbp rmb cny rs cents deg pts pct ms mol kj kcal cal in
"""
SHORT_UNITS = frozenset(_SHORT_UNITS.split())
"""Units that may follow a number without a space."""

_MEASURES = (
    "mm millimeter millimeters millimetre millimetres",
    "cm centimeter centimeters centimetre centimetres",
    "m meter meters metre metres",
    "km kilometer kilometers kilometre kilometres",
    "in inch inches",
    "ft foot feet",
    "yd yard yards",
    "mi mile miles",
    "g gram grams",
    "kg kilogram kilograms",
    "lb lbs pound pounds",
    "oz ounce ounces",
    "s sec secs second seconds",
    "min mins minute minutes",
    "h hr hrs hour hours",
    "day days",
    "week weeks",
    "month months",
    "year years",
    "ml milliliter milliliters millilitre millilitres",
    "l liter liters litre litres",
    "cent cents",
    "dollar dollars usd",
    "% percent",
)
MEASURES: Mapping[str, str] = {name: names.split()[0] for names in _MEASURES for name in names.split()}
"""Units by all their names; units that map to different names are different."""

_NO_PRODUCT = """
    or and not no yes the of to at all odd is it in on an as by if cm mm km dm nm kg mg ml ft yd mi lb oz hr am pm min
    sec day per sq one two six ten men man mod gcd lcm max how her his its was are for usd eur rs cts deg mph kph
"""
NO_PRODUCT = frozenset(_NO_PRODUCT.split())
"""Words of two or three letters, which would otherwise be read as factors."""
