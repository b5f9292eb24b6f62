"""Hostile chat templates: what they may do, and how much."""

from collections.abc import Iterator

import pytest
from marcot.model.template.budget import STEPS
from support.checkpoints.template_attacks import Victim

FOREVER = "{% for a in range(99999) %}{% for b in range(99999) %}"
END = "{% endfor %}{% endfor %}"
N = "{% set n = namespace(x='abcdefgh', y=[1], z=3) %}"


def doubling(step: str, times: int = 99) -> str:
    return N + f"{{% for a in range({times}) %}}{{% set {step} %}}{{% endfor %}}" + "{{ n.x|length }}"


def always(expression: str, before: str = "") -> str:
    return before + FOREVER + "{% set q = " + expression + " %}" + END


LONG = "{% set s = 'ab c' * 2000 %}{% set l = range(2000)|list %}{% set k = range(2000)|list %}"

DOUBLED = "{% set n = namespace(y=1) %}{% for a in range(60) %}{% set n.y = [n.y, n.y] %}{% endfor %}"
NESTED = "{% set n = namespace(y=1) %}{% for a in range(9999) %}{% set n.y = [n.y] %}{% endfor %}"

# So deep that hashing it would overflow the stack.
DEEP = "{% set n = namespace(y=1) %}{% for a in range(30000) %}{% set n.y = (n.y,) %}{% endfor %}"

# Templates that take too much work or memory, with every operation.
TOO_MUCH = {
    "loop in a loop": FOREVER + END,
    "loop with a test that nothing passes": "{% for a in range(99999) %}{% for b in range(99999) if false %}" + END,
    "recursive loop": "{% for a in range(9999) recursive %}{{ loop(range(9999)) if loop.depth < 9 }}{% endfor %}",
    "many nodes in a loop": FOREVER + "{% set q = [" + "1," * 4999 + "] %}" + END,
    "many branches in a loop": FOREVER + "{% if n %}1{% endif %}" * 999 + END,
    "many nodes in a macro": "{% macro m() %}{% set q = [" + "1," * 4999 + "] %}{% endmacro %}" + always("m()"),
    "many nodes in a default": "{% macro m(a=[" + "1," * 4999 + "]) %}{% endmacro %}" + always("m()"),
    "caller": "{% macro m() %}{% for a in range(9999) %}{{ caller() }}{% endfor %}{% endmacro %}"
    "{% call m() %}{% for a in range(9999) %}{% endfor %}{% endcall %}",
    "printing in a loop": FOREVER + "{{ 'a' * 99 }}" + END,
    "constant text in a loop": FOREVER + "a" * 9999 + END,
    "constant text in a macro": "{% macro m() %}" + "a" * 9999 + "{% endmacro %}" + always("m()"),
    "macros that double": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(40) }}",
    "set block that doubles": N + "{% for a in range(99) %}{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}{% endfor %}",
    "filter block that doubles": N + "{% for a in range(99) %}{% set n.x %}"
    "{% filter upper %}{{ n.x }}{{ n.x }}{% endfilter %}{% endset %}{% endfor %}",
    "calls": always("dict(a=1)"),
    "calls with many arguments": "{% macro m() %}{{ varargs|length }}{% endmacro %}" + always("m(*range(99999))"),
    "constant product": "{{ 'a' * 99999999999 }}",
    "constant product of a list": "{{ ([0] * 99999999999)|length }}",
    "constant product in a condition": "{% if ('a' * 99999999999)|length > 3 %}x{% endif %}",
    "constant in a default": "{% macro m(a='a' * 99999999999) %}{{ a }}{% endmacro %}{{ m() }}",
    "product of a text": "{{ (messages[0].content * 99999999)|length }}",
    "number times a text": "{{ (99999999999 * 'a')|length }}",
    "+ doubling": doubling("n.x = n.x + n.x"),
    "+ doubling a list": doubling("n.y = n.y + n.y"),
    "~ doubling": doubling("n.x = n.x ~ n.x"),
    "~ doubling of many": doubling("n.x = n.x ~ n.x ~ n.x ~ n.x ~ n.x"),
    "~ with a list that doubles": doubling("n.y = [n.y, n.y]") + "{{ n.y ~ '' }}",
    "+ in a loop": N + FOREVER + "{% set n.x = n.x + 'abcdefgh' %}" + END,
    "list that grows": N + FOREVER + "{% set n.y = n.y + [a] %}" + END,
    "dict that grows": N + "{% set n.y = {} %}" + FOREVER + "{% set n.y = dict(n.y, **{'k' ~ b: 1}) %}" + END,
    "printing a list that doubles": DOUBLED + "{{ n.y }}",
    "comparing lists that double": N
    + "{% set m = namespace(y=[1]) %}{% for a in range(60) %}{% set n.y = [n.y, n.y] %}{% set m.y = [m.y, m.y] %}"
    "{% endfor %}{{ n.y == m.y }}",
    "in a list that doubles": DOUBLED + "{{ [n.y] in n.y }}",
    "tojson of a list that doubles": DOUBLED + "{{ n.y|tojson }}",
    "sort of lists that double": DOUBLED + "{{ [n.y, n.y]|sort }}",
    "% width": "{{ '%999999999d' % 1 }}",
    "% width of a text": "{{ '%999999999s' % 'a' }}",
    "% width of nothing": "{{ '%999999999s' % nothing }}",
    "% precision": "{{ '%.999999999f' % 1.5 }}",
    "% width of an argument": "{{ '%*d' % (999999999, 1) }}",
    "% width after a name": "{{ '%(a(b)c)999999999d' % {'a(b)c': 1} }}",
    "% many widths": "{{ ('%9999999d' * 9) % (1, 2, 3, 4, 5, 6, 7, 8, 9) }}",
    "% of a list that doubles": DOUBLED + "{{ '%s' % (n.y,) }}",
    "% many times the same": LONG + "{{ ('%(a)s' * 9999) % {'a': s} }}",
    "format filter width": "{{ '%999999999d'|format(1) }}",
    "format width": "{{ '{:999999999}'.format(1) }}",
    "format precision": "{{ '{:.999999999f}'.format(1.5) }}",
    "format width of an argument": "{{ '{:{}}'.format(1, 999999999) }}",
    "format many times the same": LONG + "{{ ('{0}' * 9999).format(s) }}",
    "format of a list that doubles": DOUBLED + "{{ '{!r}'.format(n.y) }}",
    "center method": "{{ 'a'.center(9999999999) }}",
    "ljust": "{{ 'a'.ljust(9999999999) }}",
    "rjust": "{{ 'a'.rjust(9999999999, '😀') }}",
    "zfill": "{{ 'a'.zfill(9999999999) }}",
    "expandtabs": "{{ '\t\t'.expandtabs(9999999999) }}",
    "indent": "{{ 'a\nb'|indent(9999999999) }}",
    "indent with a text": LONG + "{{ ('a\n' * 9999)|indent(s) }}",
    "indent of lines": "{{ ('a\n' * 99999)|indent(9999) }}",
    "replace of nothing": LONG + "{{ s|replace('', s) }}",
    "replace method": LONG + "{{ s.replace('a', s) }}",
    "replace doubling": doubling("n.x = n.x|replace('a', 'aa')|replace('a', 'aa')|replace('a', 'aa')"),
    "join with a long text": LONG + "{{ l|join(s) }}",
    "join method with a long text": LONG + "{{ s.join(s) }}",
    "join in a loop": LONG + always("l|join"),
    "join of texts that double": doubling("n.x = [n.x, n.x]|join"),
    "tojson of a text that doubles": doubling("n.x = n.x|tojson|tojson"),
    "tojson in a loop": LONG + always("l|tojson"),
    "tojson with an indent": LONG + "{{ ([l] * 99)|tojson(indent=99) }}",
    "tojson with long separators": LONG + "{{ l|tojson(separators=(s, s)) }}",
    "tojson, escaped": "{{ ('😀' * 9999999)|tojson(ensure_ascii=true) }}",
    "sum in a loop": LONG + always("l|sum"),
    "sum of lists": LONG + "{% set p = [l, l, l] %}{{ (p * 999)|sum(start=[])|length }}",
    "sort in a loop": LONG + always("l|sort(reverse=true)"),
    "sort by an attribute": always("messages|sort(attribute='role,content')"),
    "dictsort in a loop": LONG + always("{'b': l, 'a': k}|dictsort(by='value')"),
    "unique in a loop": LONG + always("l|unique"),
    "unique by an attribute": LONG + always("l|unique(attribute='a')"),
    "min in a loop": LONG + always("l|min"),
    "max in a loop": LONG + always("l|max"),
    "map in a loop": LONG + always("l|map('string')"),
    "map of maps": LONG + "{% for a in range(999) %}{{ l|map('string')|map('int')|list }}{% endfor %}",
    "map by a long path": LONG + "{{ l|map(attribute='a.' * 999, default=1)|list }}",
    "select in a loop": LONG + always("l|select('odd')"),
    "selectattr in a loop": LONG + always("l|selectattr('a', 'equalto', 3)"),
    "reject in a loop": LONG + always("l|reject"),
    "list in a loop": LONG + always("l|list"),
    "list of a text": LONG + always("s|list"),
    "list of a range": always("range(99999)|list"),
    "reverse in a loop": LONG + always("l|reverse"),
    "reverse of a text": LONG + always("s|reverse"),
    "items in a loop": always("{'a': 1, 'b': 2}|items|list"),
    "last of a loop": FOREVER + "{{ loop.last }}{{ loop.length }}" + END,
    "changed with a list": LONG + FOREVER + "{{ loop.changed(l) }}" + END,
    "slice in a loop": LONG + always("l[::-1]"),
    "slice of a text": LONG + always("s[1:]"),
    "slices that are kept": LONG + N + FOREVER + "{% set n.y = [n.y, l[1:]] %}" + END,
    "in a list": LONG + always("'x' in l"),
    "in a text": LONG + always("'b c' * 99 in s"),
    "in a range of floats": always("0.5 in range(99999)"),
    "in the values of a dict": always("[1] in {'a': [2], 'b': 3}.values()"),
    "not in a list": LONG + always("none not in l"),
    "== of lists": LONG + always("l == k"),
    "< of lists": LONG + always("l < k"),
    "== of texts": LONG + "{% set t = 'ab c' * 2000 %}" + always("s == t"),
    "eq test": LONG + always("l is eq k"),
    "== of items": DOUBLED + always("{'a': n.y}.items() == {'a': n.y}.items()"),
    "in items": DOUBLED + always("('a', n.y) in {'a': n.y}.items()"),
    "in test": LONG + always("none is in l"),
    "chain of comparisons": LONG + always("l == k == l"),
    "count of a list": LONG + always("l.count(1.5)"),
    "index of a list": LONG + always("l.index(1999)"),
    "copy of a list": LONG + always("l.copy()"),
    "copy of a dict": always("messages[1].copy()"),
    "rfind of a long text": "{% set s = 'a' * 999999 %}{{ s.rfind('b' + 'a' * 499999) }}",
    "rsplit by a long text": "{% set s = 'a' * 999999 %}{{ s.rsplit('b' + 'a' * 499999) }}",
    "find in a loop": "{% set s = 'a' * 2499 %}" + always("s.find('a' * 1249 + 'b')"),
    "count of a text": LONG + always("s.count('b')"),
    "strip of many": "{% set s = 'a' * 999999 %}{{ s.strip('b' * 999999 + 'a') }}",
    "trim of many": "{% set s = 'a' * 999999 %}{{ s|trim('b' * 999999 + 'a') }}",
    "split at blanks": "{% set s = 'a ' * 9999999 %}{{ s.split()|length }}",
    "split at a letter": "{% set s = 'a ' * 9999999 %}{{ s.split(' ')|length }}",
    "splitlines": "{% set s = 'a\n' * 9999999 %}{{ s.splitlines()|length }}",
    "upper in a loop": LONG + always("s.upper()"),
    "upper filter in a loop": LONG + always("s|upper"),
    "title in a loop": LONG + always("s|title"),
    "casefold of sharp s": doubling("n.x = (n.x + 'ß').casefold() + n.x"),
    "escape doubling": doubling("n.x = (n.x + '&')|string|e|string", 9999),
    "safe doubling": doubling("n.x = (n.x ~ n.x)|safe"),
    "wordcount in a loop": LONG + always("s|wordcount"),
    "truncate in a loop": LONG + always("s|truncate(99)"),
    "default in a loop": always("q|default(1)"),
    "first in a loop": always("messages|first"),
    "attributes in a loop": always("messages[0].content"),
    "namespaces that are kept": N + FOREVER + "{% set n.y = namespace(a=n.y, b=1) %}" + END,
    "macros that are kept": N + FOREVER + "{% macro m() %}{% endmacro %}{% set n.y = [m, n.y] %}" + END,
    "keys that are kept": N + FOREVER + "{% set n.y = {'a': n.y} %}" + END,
}  # fmt: skip

# Templates that are refused, each with a word of the error.
REFUSED = {
    "squares": (doubling("n.z = n.z * n.z"), "integer"),
    "sums that double": (doubling("n.z = n.z + n.z"), "integer"),
    "power": ("{{ 2 ** 3 }}", "powers"),
    "constant power": ("{% if 9 ** (9 ** 9) %}x{% endif %}", "powers"),
    "int of a long text": ("{{ ('9' * 999)|int }}", "integer"),
    "int of a long text, to a base": ("{{ ('f' * 9999999)|int(base=16) }}", "much work"),
    "int of a large float": ("{{ 1e300|int }}", "integer"),
    "round to many digits": ("{{ 5|round(-999999999) }}", "rounds"),
    "floor to many digits": ("{{ 5|round(999999999, 'floor') }}", "rounds"),
    "long range": ("{{ range(999999999) }}", "range too big"),
    "endless recursion": ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
    "two macros in recursion": (
        "{% macro a() %}{{ n.b() }}{% endmacro %}{% macro b() %}{{ n.a() }}{% endmacro %}"
        "{% set n = namespace(a=a, b=b) %}{{ n.b() }}", "recursion"),
    "recursion through a namespace": (
        "{% set n = namespace() %}{% macro a(n) %}{{ n.a(n) }}{% endmacro %}{% set n.a = a %}{{ a(n) }}", "recursion"),
    "recursion of a caller": (
        "{% macro m(f) %}{{ caller() }}{% call m(f) %}x{% endcall %}{% endmacro %}{% call m(1) %}y{% endcall %}",
        "recursion"),
    "recursive loop over itself": ("{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}", "recursion"),
    "odd of a width": ("{{ '%999999999d' is odd }}", "not a number"),
    "divisible by": ("{{ '%999999999d' is divisibleby 2 }}", "not a number"),
    "select odd of a width": ("{{ ['%999999999d']|select('odd')|list }}", "not a number"),
    "deep list": (NESTED + "{{ n.y }}", "deep"),
    "deep list, compared": (NESTED + "{{ n.y == [n.y] }}", "deep"),
    "deep tuple as a key": (DEEP + "{{ {n.y: 1} }}", "key"),
    "deep tuple, looked up": (DEEP + "{{ messages[0][n.y] }}", "key"),
    "deep tuple, got": (DEEP + "{{ {}.get(n.y) }}", "key"),
    "deep tuple in a dict": (DEEP + "{{ n.y in {} }}", "key"),
    "deep tuple, unique": (DEEP + "{{ [n.y]|unique|list }}", "key"),
    "deep tuple as a filter's name": (DEEP + "{{ [1]|map(n.y)|list }}", "deep"),
    "deep tuple as a test's name": (DEEP + "{{ [1]|select(n.y)|list }}", "deep"),
    "tuples as keys": ("{{ dict([((1, 2), 3)]) }}", "key"),
    "namespace printed": ("{% set n = namespace() %}{% set n.n = n %}{{ n }}", "Namespace"),
    "namespace in JSON": ("{% set n = namespace() %}{% set n.n = n %}{{ [n]|tojson }}", "Namespace"),
    "namespace in a text": ("{% set n = namespace() %}{% set n.n = n %}{{ n|upper }}", "Namespace"),
    "namespace compared": ("{% set n = namespace() %}{% set n.n = n %}{{ loop }}{{ [n] == [n] }}", "Namespace"),
    "macro printed": ("{% macro m() %}{% endmacro %}{{ m }}", "Macro"),
    "method printed": ("{{ ''.join }}", "partial"),
    "loop printed": ("{% for a in [1] %}{{ loop }}{% endfor %}", "LoopContext"),
    "function printed": ("{{ raise_exception }}", "method"),
    "budget by a filter's name": ("{{ [-999999999]|map('spend!')|list }}", "name"),
    "text called": ("{{ 'a'() }}", "called"),
    "nothing called": ("{{ nothing() }}", "undefined"),
    "indent of JSON": ("{{ [1]|tojson(indent=999999999) }}", "indents"),
    "indent of JSON by a text": ("{{ [1]|tojson(indent='a' * 999999) }}", "indents"),
    "date": ("{{ strftime_now('%c' * 999999) }}", "date"),
    "date, wide": ("{{ strftime_now('%999999999Y' * 99) }}", "date"),
    "long complaint": ("{{ raise_exception('a' * 99999) }}", "aaa..."),
    "complaint of a list that doubles": (DOUBLED + "{{ raise_exception(n.y) }}", "much work"),
    "complaint with control characters": ("{{ raise_exception('a\x1b[2Jb\u202ec\x07\r\nd') }}", "a [2Jb c d"),
    "no complaint": ("{{ raise_exception() }}", "TemplateError"),
    "long name": ("{{ messages['a' * 99999].x }}", "has no attribute"),
    "list as a name": ("{{ messages[[1] * 99999].x }}", "has no"),
    "encode": ("{{ 'a'.encode() }}", "unsafe"),
    "translate": ("{{ 'a'.translate({97: 'b' * 99}) }}", "unsafe"),
    "format_map": ("{{ '{a}'.format_map({'a': 1}) }}", "unsafe"),
    "bytes of a number": ("{{ (1).to_bytes(999999999) }}", "unsafe"),
    "class walk": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
    "class walk by items": ("{{ ''['__class__']['__mro__'] }}", "unsafe"),
    "class walk of a macro": ("{% macro m() %}{% endmacro %}{{ m._environment.globals }}", "unsafe"),
    "class walk of a loop": ("{% for a in [1] %}{{ loop._iterable.x }}{% endfor %}", "unsafe"),
    "class walk by map": ("{{ ['']|map(attribute='__class__.__mro__')|list }}", "unsafe"),
    "class walk of a method": ("{{ ''.join.func.__globals__ }}", "unsafe"),
    "class walk by format": ("{{ '{0.__class__.__mro__}'.format('') }}", "unsafe"),
    "class walk of what is not there": ("{{ nothing.__class__ }}", "undefined"),
    "class walk of a namespace": ("{{ namespace(a=1).__class__.__init__ }}", "unsafe"),
    "difference of keys": ("{{ messages[0].keys() - [] }}", "there is no dict_keys"),
    "% of markup": ("{{ ('%9999999s'|safe) % 1 }}", "there is no Markup"),
    "format of markup": ("{{ ('{:999999}'|safe).format(1) }}", "unsafe"),
}  # fmt: skip

REFUSED_WHEN_LOADED = {
    "twenty-one loops": ("{% for a in b %}" * 21 + "{% endfor %}" * 21, "nested blocks"),
    "a thousand loops": ("{% for a in b %}" * 999 + "{% endfor %}" * 999, "too deep"),
    "a thousand conditions": ("{% if a %}" * 999 + "{% endif %}" * 999, "too deep"),
    "many branches": ("{% if a %}" + "{% elif a %}" * 5000 + "{% endif %}", ""),
    "deep parentheses": ("{{ " + "(" * 9999, "too deep"),
    "deep lists": ("{{ " + "[" * 150 + "]" * 150 + " }}", "too deep"),
    "deep negations": ("{{ " + "not " * 9999 + "a }}", ""),
    "long sum": ("{{ a" + " + a" * 9999 + " }}", "deep"),
    "long path": ("{{ a" + ".a" * 9999 + " }}", "deep"),
    "many filters": ("{{ a" + "|e" * 9999 + " }}", "deep"),
    "many calls": ("{{ a" + "()" * 9999 + " }}", "deep"),
    "many values": ("{{ a }}" * 99999, "long"),
    "long list": ("{{ [" + "1," * 300000 + "] }}", "long"),
    "long text": ("x" * 2**21, "longer"),
    "many arguments": ("{{ a(" + "b=1," * 99 + ") }}", "repeated"),
    "include": ("{% include 'a' %}", "must not use includes or blocks"),
    "include, if there": ("{% include 'a' ignore missing %}", "must not use includes or blocks"),
    "import": ("{% import 'a' as b %}", "must not use includes or blocks"),
    "from": ("{% from 'a' import b %}", "must not use includes or blocks"),
    "extends": ("{% extends 'a' %}", "must not use includes or blocks"),
    "block": ("{% block a %}{% endblock %}{{ self.a() }}", "must not use includes or blocks"),
    "autoescape": ("{% autoescape true %}{% endautoescape %}", "must not use includes or blocks"),
    "lipsum filter": ("{{ 1|urlize }}", "No filter named"),
    "random": ("{{ [1, 2]|random }}", "No filter named"),
    "pprint": ("{{ [1]|pprint }}", "No filter named"),
    "wordwrap": ("{{ 'a'|wordwrap(1) }}", "No filter named"),
    "xmlattr": ("{{ {}|xmlattr }}", "No filter named"),
    "center filter": ("{{ 'a'|center(999999999) }}", "No filter named"),
    "batch": ("{{ [1]|batch(999999999, 0)|list }}", "No filter named"),
    "slice filter": ("{{ [1]|slice(999999999)|list }}", "No filter named"),
    "groupby": ("{{ [1]|groupby('a') }}", "No filter named"),
    "attr": ("{{ ''|attr('__class__') }}", "No filter named"),
    "spend": ("{{ -9|spend! }}", "unexpected char"),
    "unknown tag": ("{% unknown %}", "unknown tag"),
    "half a surrogate": ("{{ '\ud800'|upper('\ud800') }}{{ \ud800 }}", ""),
    "null": ("{{ a\x00b }}", "unexpected char"),
    "control characters": ("{% \x1b[2J %}", "unexpected char"),
    "unclosed comment": ("{#" * 99999, "Missing end of comment"),
    "unclosed raw": ("{% raw %}" + "{% endraw " * 9999, "Missing end of raw"),
    "unclosed text": ("{{ '" + "\\'" * 99999, "unexpected char"),
    "digits": ("{{ " + "1_" * 99999 + "x }}", ""),
    "huge integer": ("{{ " + "9" * 999 + " }}", "integer"),
    "huge integer, hexadecimal": ("{{ 0x" + "f" * 99999 + " }}", "integer"),
    "very huge integer": ("{{ " + "9" * 99999 + " }}", "digits"),
    "range with a large step": ("{{ range(0, 9 * 2305843009213693951, 2305843009213693951)|unique }}", "integer"),
    "jump": ("{% break %}", "outside loop"),
}  # fmt: skip

# Harmless templates that look suspicious.
HARMLESS = {
    "long text": ("x" * 2**19, "x"),
    "many comments": ("{# #}" * 99999 + "ok", "ok"),
    "many blanks": ("{{ 1" + " " * 2**19 + "}}", "1"),
    "raw": ("{% raw %}" + "{% " * 9999 + "{% endraw %}ok", "ok"),
    "lipsum": ("{{ lipsum is defined }}", "False"),
    "cycler": ("{{ cycler is defined }}", "False"),
    "self": ("{{ self.a is defined }}", "False"),
    "constant range": ("{{ range(99999)[::-1][0] }}", "99998"),
    "iterator, twice": ("{% set a = [1, 2]|select %}{{ a|list }}{{ a|list }}", "[1, 2][]"),
    "iterator that is empty and true": ("{{ 'true' if []|select else 'false' }}", "true"),
    "iterator, printed": ("{{ [[1]|map('string')] }}{{ 'a'|reverse }}{{ [1]|reverse }}", "[<generator>]a<generator>"),
    "methods that are kept": (
        "{% set n = namespace(f=1) %}{% for a in range(9999) %}{% set n.f = [n.f].index %}{% endfor %}ok", "ok"),
    "nothing's length": ("{{ nothing|length }}", "0"),
    "deep, but not too deep": ("{{ " + "[" * 40 + "]" * 40 + " }}", "]"),
    "a text of nothing": ("", ""),
    "hostile names": ("{% set context = 1 %}{% set environment = 2 %}{% set t_1 = 3 %}{{ context + t_1 }}", "4"),
    "names of Python": ("{{ dict(if=1, class=2)['class'] }}", "2"),
}  # fmt: skip


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    """With a sixteenth of the normal budget; `attack/templates.py` uses all of it."""
    victim = Victim(STEPS // 16)
    yield victim
    victim.close()


@pytest.mark.parametrize("source", TOO_MUCH.values(), ids=TOO_MUCH.keys())
def test_work_and_memory_are_bounded(source, victim):
    outcome = victim.attack(source)
    assert (outcome.kind, outcome.is_clean, "too much work" in outcome.text) == ("stopped", True, True), outcome


@pytest.mark.parametrize(("source", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_a_template_must_not_do_is_refused(source, message, victim):
    outcome = victim.attack(source)
    assert (outcome.kind, outcome.is_clean, message in outcome.text) == ("stopped", True, True), outcome


@pytest.mark.parametrize(("source", "message"), REFUSED_WHEN_LOADED.values(), ids=REFUSED_WHEN_LOADED.keys())
def test_a_template_that_cannot_be_compiled_is_refused(source, message, victim):
    outcome = victim.attack(source)
    assert (outcome.kind, outcome.is_clean, message in outcome.text) == ("refused", True, True), outcome


@pytest.mark.parametrize(("source", "end"), HARMLESS.values(), ids=HARMLESS.keys())
def test_what_does_no_harm_is_rendered(source, end, victim):
    outcome = victim.attack(source)
    assert (outcome.kind, outcome.text.endswith(end)) == ("rendered", True), outcome
