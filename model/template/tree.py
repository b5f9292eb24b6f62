"""Checks the size of a chat template's syntax tree, and rewrites it so that every operation is paid for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from jinja2.parser import Parser
from jinja2.visitor import NodeTransformer

from .operators import check_number

MAX_TOKENS = 40_000
"""Maximum tokens in a template's tags; the longest real ones have about six thousand."""

MAX_NODES = 10_000
"""Maximum nodes of its tree; the largest real ones have 1,400. Jinja's time grows with their square."""

MAX_DEPTH = 100
"""Maximum depth of the tree; the deepest real one is 29 deep. Both jinja and Python compile by recursion."""

SPEND, COMPARE, CUT, CONCATENATE, CHECK_KEY = HOOKS = ("spend!", "compare!", "cut!", "concatenate!", "key!")
"""Filters that stand for operations in the tree; their names cannot occur in a template."""

_FORBIDDEN = (
    nodes.Block,
    nodes.Extends,
    nodes.FromImport,
    nodes.Import,
    nodes.Include,
    nodes.ScopedEvalContextModifier,
)
_STEPS_PER_NODE = 4
_STEPS_OF_NODES: Mapping[type[nodes.Node], int] = {
    nodes.Getattr: 12,
    nodes.Compare: 12,
    nodes.Filter: 16,
    nodes.Test: 16,
    nodes.Macro: 120,  # to create one: a function with its cells, and an object around it
    nodes.CallBlock: 120,
}
"""Costs that differ much from the usual one, independent of the values."""


class CountedTokens(Extension):
    """Stops reading a template that has too many tokens, before the parser builds a tree."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """Pass the tokens on."""
        for number, token in enumerate(stream):
            if number > MAX_TOKENS:
                raise TemplateSyntaxError("it is too long", token.lineno)
            yield token


class GenerationTag(Extension):
    """`{% generation %}`, with which some templates mark the assistant's text for training; renders its body."""

    tags = {"generation"}  # noqa: RUF012 - jinja declares it as an instance variable

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the body of the tag."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def pay_as_it_runs(tree: nodes.Template) -> None:
    """Rewrite `tree` so that everything that runs in it is paid for.

    Every body that can run more than once begins by paying for its nodes. Operators that the sandbox cannot intercept
    become calls of filters named by `HOOKS`.

    Raises:
        TemplateSyntaxError: It is too large or too deep, or has tags that chat templates must not have.
    """
    _check_size(tree)
    _Paying().visit(tree)


def _check_size(tree: nodes.Template) -> None:
    level: list[nodes.Node] = [tree]
    total = 0
    for _ in range(MAX_DEPTH):
        total += len(level)
        if total > MAX_NODES:
            raise TemplateSyntaxError("it is too long", level[0].lineno)
        level = [child for node in level for child in node.iter_child_nodes()]
        if not level:
            return
    raise TemplateSyntaxError(f"it is nested more than {MAX_DEPTH} deep", level[0].lineno)


class _Paying(NodeTransformer):
    def visit_For(self, node: nodes.For) -> nodes.For:
        test = node.test
        cost = _cost(node.body)
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(cost, lineno=node.lineno))
        if test is not None:
            node.test = nodes.And(_cost([test]), node.test, lineno=node.lineno)
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Macro:
        self._pay_for_calls(node)
        return node

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.CallBlock:
        self._pay_for_calls(node)
        return node

    def _pay_for_calls(self, node: nodes.Macro | nodes.CallBlock) -> None:
        cost = _cost([*node.defaults, *node.body])
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(cost, lineno=node.lineno))

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        symbols = nodes.Const(tuple(operand.op for operand in node.ops))
        return _hook(COMPARE, node, node.expr, symbols, *(operand.expr for operand in node.ops))

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _hook(CONCATENATE, node, nodes.List(node.nodes))

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        bounds = (node.arg.start, node.arg.stop, node.arg.step)
        return _hook(CUT, node, node.node, *(bound or nodes.Const(None) for bound in bounds))

    def visit_Pair(self, node: nodes.Pair) -> nodes.Pair:
        self.generic_visit(node)
        if not isinstance(node.key, nodes.Const):
            node.key = _hook(CHECK_KEY, node, node.key)
        return node

    def visit_Const(self, node: nodes.Const) -> nodes.Const:
        check_number(node.value)
        return node

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        if isinstance(node, _FORBIDDEN):
            raise TemplateSyntaxError("a chat template must not use includes or blocks", node.lineno)
        return super().generic_visit(node, *args, **kwargs)


def _hook(name: str, at: nodes.Node, value: nodes.Expr, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(value, name, list(args), [], None, None, lineno=at.lineno)


def _cost(body: list[nodes.Node]) -> nodes.Filter:
    """The cost of one pass over `body`, without the nested bodies that pay for themselves."""
    steps = _STEPS_PER_NODE
    rest = list(body)
    while rest:
        node = rest.pop()
        steps += _STEPS_OF_NODES.get(type(node), _STEPS_PER_NODE)
        if isinstance(node, nodes.Macro | nodes.CallBlock):
            rest.extend(node.iter_child_nodes(exclude=("body", "defaults")))
        else:
            rest.extend(node.iter_child_nodes(exclude=("body",) if isinstance(node, nodes.For) else None))
    line = body[0].lineno if body else 1
    return nodes.Filter(nodes.Const(steps), SPEND, [], [], None, None, lineno=line)
