"""Attack chat templates with random programs that combine everything that costs time or memory.

A grammar puts each together from texts, numbers, items and dicts, so that much of it runs before something fails. It is
loaded and rendered in a process with limits (see `template_attacks`). A finding is a template that exceeds the limits,
or that fails with anything but a short error of the right type.
"""

from __future__ import annotations

import re
from random import Random

from attack.campaign import Campaign
from jinja2.filters import FILTERS
from jinja2.tests import TESTS
from support.checkpoints.template_attacks import Victim

PROLOGUE = """{% set n = namespace(t='ab c', i=3, l=[1, 2], d={'a': 1}, a=none) %}{% set q = 7 %}
{%- macro m(x=1, y='b') %}{{ x }}{{ varargs }}{{ kwargs }}{{ caller(y) if caller }}{% endmacro %}
{%- macro w(x) %}{% if x is number and x > 0 %}{{ w(x - 1) }}{{ w(x - 2) }}{% endif %}{% endmacro %}"""

GRAMMAR = {
    "any": "<text> | <text> | <text> | <number> | <number> | <items> | <items> | <items> | <dict> | n.a | <odd>",
    "odd": "none | nothing | n | m | loop | caller | varargs | self | range | n.a.b | ''.join | loop.length",
    "text": r"""
        'a' | ' ' | '😀' | 'ß' | '<&>' | 'a,b' | '%s' | '%9999d' | '%*d' | '%(a)999s' | '{}' | '{0:>9999}' | '{!r:{}}'
        'ab' * 999 | '\n' | '\t' | '0x' ~ 'f' * 99 | '1e999' | '{0[0].a}' | messages[1].content | bos_token
        n.t | n.t | n.t | n.t | n.t | n.t
        (<text> + <text>) | (<text> + <text>) | (<text> ~ <any> ~ <text>) | (<text> * <number>) | (<text> % <any>)
        (<text> % (<any>, <any>)) | (<text>).format(<any>, <any>, a=<any>) | (<text>).<changed>()
        (<text>).<strip>(<text>) | (<text>).<padded>(<number>) | (<text>).replace(<text>, <text>)
        (<text>)|replace(<text>, <text>, <number>) | (<text>).join(<texts>) | (<items>)|join(<text>)
        (<items>)|join(<text>, attribute='<path>') | (<any>)|tojson | (<any>)|tojson(indent=<number>)
        (<any>)|tojson(ensure_ascii=true, separators=(<text>, <text>)) | (<text>)|indent(<number>, true, true)
        (<text>)|indent(<text>) | (<text>)[<slice>] | (<any>)|<printed> | (<text>)|truncate(<number>, true, <text>)
        (<text>)|trim(<text>) | strftime_now(<text>) | m(<any>, *<items>) | m(**<dict>)
        (<text> if <condition> else <text>) | (<text>)|format(<any>)
        """,
    "number": """
        -1 | 0 | 1 | 2 | 3 | 9 | 99 | 999 | 99999 | 10000000 | 1000000000000 | 0x1_f | true | 1.5 | 1e18 | 1e300
        n.i | n.i | n.i | n.i | q | q
        (<number> + <number>) | (<number> * <number>) | (<number> - <number>) | (<number> // <number>)
        (<number> % <number>) | (<number> / <number>) | (<number> ** 2) | (<any>)|length | (<text>)|int(<number>, 16)
        (<items>)|sum | (<items>)|max | (<items>)|min | (<items>)|first | (<items>)|last | (<number>)|round(<number>)
        (<number>)|round(<number>, 'floor') | (<text>).<found>(<text>) | (<items>).count(<any>)
        (-<number>)|abs | (<any>)|float | (<any>)|int | (<text>)|wordcount | (<items>)|sum(start=<any>)
        """,
    "items": """
        n.l | n.l | n.l | n.l | n.l | n.l | [] | [1, 'a'] | messages | range(99999) | range(9) | n.d.items() | (1, 2)
        [<any>, <any>] | [<items>, <items>] | (<any>, <any>) | (<items> + <items>) | (<items> + [<any>]) | <texts>
        (<items> * <number>) | (<items>)[<slice>] | (<any>)|list | (<items>)|sort | (<items>)|unique|list
        (<items>)|sort(reverse=<condition>, attribute='<path>') | (<items>)|unique(<condition>, '<path>')
        (<items>)|map('<filter>')|list | (<items>)|map('<filter>', <any>)|list | (<items>)|select('<test>')
        (<items>)|map(attribute='<path>', default=<any>)|list | (<items>)|reject('<test>', <any>)
        (<items>)|selectattr('<path>', '<test>', <any>) | (<items>)|rejectattr('<path>')
        range(<number>, <number>, <number>) | (<items>)|reverse | (<dict>)|dictsort | (<dict>)|items
        (<dict>).<views>() | (<items> if <condition> else <items>) | (<items>).copy()
        """,
    "texts": "[<text>, <text>] | (<text>).<pieces>(<text>) | (<text>).<pieces>() | (<items>)|map('string')|list",
    "dict": """
        n.d | n.d | n.d | {} | messages[0]
        {<text>: <any>, 'b': <any>} | {<any>: <any>} | dict(<dict>, **{<text>: <any>}) | dict([(<any>, <any>)])
        dict(<items>) | namespace(<dict>, a=<any>) | (<dict>).copy() | (<dict>).get(<any>, <dict>)
        """,
    "condition": """
        true | false | n.i | n.l
        (<any> == <any>) | (<items> == <items>) | (<text> < <text>) | (<any> in <any>) | (<text> in <text>)
        (<any> in <items>) | (<any> not in <dict>) | (<items> <= <items>) | (<number> < <number> <= <number>)
        (<any> is <test>) | (<any> is <test> <number>) | (<condition> and not <condition>)
        """,
    "slice": "::-1 | 1: | :-1 | <number>: | :<number> | ::<number> | <number>:<number>:<number>",
    "changed": "capitalize | casefold | lower | upper | title | swapcase | strip | expandtabs | encode | isalnum",
    "strip": "strip | lstrip | rstrip | removeprefix | removesuffix",
    "padded": "center | ljust | rjust | zfill | expandtabs",
    "found": "count | find | rfind | index | rindex | startswith | endswith",
    "pieces": "split | rsplit | partition | rpartition | splitlines",
    "views": "items | keys | values",
    "printed": "string | upper | lower | title | trim | e | safe | capitalize",
    "path": "a | role | content | a.b | 0 | 0.1 | a.a.a.a | __class__ | content.upper | 1.a | a,b",
    "filter": " | ".join(FILTERS),
    "test": " | ".join(TESTS),
    "statement": """
        {{ <any> }} | {{ <text> }} | {{ w(<number>) }}
        {% set n.t = <text> %} | {% set n.t = <text> %} | {% set n.i = <number> %} | {% set n.l = <items> %}
        {% set n.l = <items> %} | {% set n.d = <dict> %} | {% set n.a = <any> %} | {% set q = <any> %}
        {% for q in range(99) %}<statement><statement>{% endfor %} | {% for q in range(99999) %}<statement>{% endfor %}
        {% for q in range(99999) %}<statement>{% endfor %} | {% for q in range(99) %}<statement><statement>{% endfor %}
        {% for q in <items> %}<statement><statement>{% else %}<statement>{% endfor %}
        {% for q in <items> if <condition> %}<statement>{% endfor %}
        {% for q in <items> recursive %}{{ loop(<items>) if loop.depth < 9 }}<statement>{% endfor %}
        {% for q, p in <items> %}{{ loop.changed(<any>) }}{% if <condition> %}{% break %}{% endif %}{% endfor %}
        {% set n.t %}{{ n.t }}{{ <text> }}<statement>{% endset %} | {% filter <printed> %}<statement>{% endfilter %}
        {% call(z) m(<any>) %}<statement>{{ z }}{% endcall %} | {% with q = <any> %}<statement>{% endwith %}
        {% if <condition> %}<statement>{% else %}<statement>{% endif %}
        {% macro m(x, y=<any>) %}<statement>{% endmacro %} | <mischief>
        """,
    "mischief": """
        {{ (<any>).append(<any>) }} | {{ (<any>).update(<any>) }} | {{ ''.__class__ }} | {{ raise_exception(<any>) }}
        {% include <text> %} | {{ loop(<items>) }} | {{ <any>(<any>) }} | {{ (<any>)|<filter> }} | {{ -<any> + <odd> }}
        """,
}
"""The grammar: for each name, its possible expansions, separated by `|` between blanks or by line breaks."""

CHOICES = {
    name: [choice for line in choices.strip().splitlines() for choice in line.strip().split(" | ")]
    for name, choices in GRAMMAR.items()
}
LEAVES = {name: [choice for choice in choices if "<" not in choice] or choices for name, choices in CHOICES.items()}


def grow(random: Random, name: str, depth: int) -> str:
    """Return a random expansion of `name`, with at most `depth` nested choices."""
    choice = random.choice((CHOICES if depth > 0 else LEAVES)[name])
    return re.sub(r"<(\w+)>", lambda wanted: grow(random, wanted[1], depth - 1), choice)


def template(random: Random) -> str:
    """Return a random template."""
    statements = (grow(random, "statement", random.choice((2, 3, 3, 4))) for _ in range(random.randint(1, 4)))
    return PROLOGUE + "".join(statements)


def main() -> None:
    """Run the attack."""
    campaign = Campaign("templates", Campaign.parser(__doc__, count=500).parse_args())
    victim = Victim()
    for trial in campaign:
        source = template(trial.random)
        outcome = victim.attack(source)
        campaign.count("exhausted" if "too much work" in outcome.text else outcome.kind)
        if not outcome.is_clean:
            campaign.finding(f"{outcome.kind}: {outcome.text!r:.300}\n  {source!r}")
    victim.close()
    campaign.end()


if __name__ == "__main__":
    main()
