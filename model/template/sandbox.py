"""The sandbox of chat templates: Jinja without attribute tricks or files, and with a budget of work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import FunctionType, MethodType
from typing import Any, NoReturn

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.ext import loopcontrols
from jinja2.runtime import Context, LoopContext, Macro, Undefined
from jinja2.sandbox import MAX_RANGE, SandboxedEnvironment
from jinja2.utils import Namespace, pass_context
from markupsafe import Markup

from .budget import SCALARS, Budget
from .filters import paid_filters, paid_tests
from .format import Formatter, as_text
from .methods import check_key, method_of
from .operators import check_number, compare, compute, concatenate, cut
from .tree import (
    CHECK_KEY,
    COMPARE,
    CONCATENATE,
    CUT,
    HOOKS,
    SPEND,
    CountedTokens,
    GenerationTag,
    pay_as_it_runs,
)

MAX_CALL_DEPTH = 50
"""Maximum nesting of macros and recursive loops."""

_STEPS_OF_A_CALL = 40
_STEPS_OF_A_FILTER = 20

_LOOP_ATTRIBUTES = frozenset(
    (
        "changed",
        "cycle",
        "depth",
        "depth0",
        "first",
        "index",
        "index0",
        "last",
        "length",
        "nextitem",
        "previtem",
        "revindex",
        "revindex0",
    )
)


class Sandbox(SandboxedEnvironment):
    """The language of chat templates, in which every operation is paid from `budget`.

    A template can use text, numbers, lists, dicts, ranges, namespaces, macros and loops, and the attributes, methods,
    filters, tests and functions that the modules of this package list; nothing else exists. Compiling a template
    computes nothing.

    Attributes:
        budget: The budget of the current rendering; set `budget.left` before each.
    """

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

    def __init__(self, functions: Mapping[str, Callable[..., object]]) -> None:
        self.budget = Budget()
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[loopcontrols, GenerationTag, CountedTokens],
            optimized=False,
            finalize=_printed,
        )
        self._call_depth = 0
        self.filters = {
            **paid_filters(self.budget),
            SPEND: self._spend,
            COMPARE: partial(compare, self.budget),
            CUT: partial(cut, self.budget),
            CONCATENATE: partial(concatenate, self.budget),
            CHECK_KEY: check_key,
        }
        self.tests = paid_tests(self.budget)
        self.globals = {
            "range": self._range,
            "dict": self._dict,
            "namespace": self._namespace,
            "raise_exception": self._raise_exception,
            **functions,
        }
        self._functions = frozenset(self.globals.values())

    def compile_paying(self, source: str) -> jinja2.Template:
        """Compile `source` so that all its work is paid for.

        Raises:
            Exception: The template is not valid; many kinds of exceptions.
        """
        tree = self.parse(source)
        pay_as_it_runs(tree)
        return self.from_string(tree)

    def handle_exception(self, source: str | None = None) -> NoReturn:
        """Raise the current exception as it is, without jinja's rewritten traceback."""
        raise  # noqa: PLE0704

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return `obj.attribute`."""
        kind = type(obj)
        if kind is dict:
            found = self._method(obj, attribute)
            if found is not None:
                return found
            if hasattr(dict, attribute):
                return self.unsafe_undefined(obj, attribute)
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        if kind is Undefined:
            return obj[attribute]  # fails with the reason why it is undefined
        return self._attribute(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return `obj[argument]`, or the attribute of that name."""
        self.budget.spend(4)
        kind = type(obj)
        if kind is dict:
            check_key(argument)
            if argument in obj:
                return obj[argument]
        elif kind in (list, tuple, str, Markup, range, Undefined):
            try:
                return obj[argument]
            except (TypeError, LookupError):
                pass
        if isinstance(argument, str):
            return self._attribute(obj, argument)
        return self.undefined(obj=obj, name=argument if type(argument) in SCALARS else type(argument).__name__)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call a macro, a loop, a method or one of the functions."""
        __self.budget.spend(_STEPS_OF_A_CALL)
        __self.budget.elements(len(args) + len(kwargs))
        kind = type(__obj)
        if kind is Macro or kind is LoopContext:
            return __self._nested(__context, __obj, *args, **kwargs)
        if kind is MethodType and type(__obj.__self__) is LoopContext:
            __self.budget.weigh(*args)
        elif kind is not partial and not (kind in (MethodType, FunctionType) and __obj in __self._functions):
            if kind is Undefined:
                __obj()
            raise TypeError(f"a {kind.__name__} cannot be called")
        return __context.call(__obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Return `left operator right`."""
        return compute(self.budget, operator, left, right)

    def compute(self, symbol: str, left: Any, right: Any) -> Any:
        """Return `left symbol right`."""
        return compute(self.budget, symbol, left, right)

    def call_filter(self, name: Any, *args: Any, **kwargs: Any) -> Any:
        """Apply the filter that a template names in `map`."""
        self.budget.spend(_STEPS_OF_A_FILTER)
        if type(name) is not str or name in HOOKS:
            raise TypeError("a filter must be given by its name")
        return super().call_filter(name, *args, **kwargs)

    def call_test(self, name: Any, *args: Any, **kwargs: Any) -> Any:
        """Apply the test that a template names in `select` or a similar filter."""
        self.budget.spend(_STEPS_OF_A_FILTER)
        if type(name) is not str:
            raise TypeError("a test must be given by its name")
        return super().call_test(name, *args, **kwargs)

    def concat(self, texts: Iterable[str]) -> str:
        """Join what a macro or a block has printed."""
        pieces = list(texts)
        self.budget.text(sum(map(len, pieces)))
        return "".join(pieces)

    def _attribute(self, obj: Any, attribute: str) -> Any:
        kind = type(obj)
        found = self._method(obj, attribute)
        if found is not None:
            return found
        allowed = kind is Namespace and not attribute.startswith("_")
        if allowed or (kind is LoopContext and attribute in _LOOP_ATTRIBUTES):
            try:
                return getattr(obj, attribute)
            except AttributeError:
                return self.undefined(obj=obj, name=attribute)
        if hasattr(kind, attribute) or attribute.startswith("_"):
            return self.unsafe_undefined(obj, attribute)
        return self.undefined(obj=obj, name=attribute)

    def _method(self, obj: Any, name: str) -> Callable[..., Any] | None:
        if type(obj) is str and name == "format":
            return partial(self._format, obj)
        return method_of(self.budget, obj, name)

    def _format(self, form: str, *args: Any, **kwargs: Any) -> str:
        return Formatter(self).vformat(form, args, kwargs)

    def _nested(self, context: Context, callee: Any, *args: Any, **kwargs: Any) -> Any:
        if self._call_depth >= MAX_CALL_DEPTH:
            raise SecurityError(f"recursion: more than {MAX_CALL_DEPTH} nested macros and loops")
        self.budget.spend(_STEPS_OF_A_CALL)  # frames, buffers and closures, in addition to the call
        self._call_depth += 1
        try:
            return context.call(callee, *args, **kwargs)
        finally:
            self._call_depth -= 1

    def _spend(self, steps: int) -> bool:
        self.budget.spend(steps)
        return True

    def _range(self, *bounds: int) -> range:
        numbers = range(*map(check_number, bounds))
        if len(numbers) > MAX_RANGE:
            raise SecurityError(f"range too big: more than {MAX_RANGE} numbers")
        return numbers

    def _dict(self, items: Any = (), /, **named: Any) -> dict[Any, Any]:
        self.budget.weigh(items)
        if isinstance(items, dict):
            return items | named
        built: dict[Any, Any] = {}
        for key, value in items:
            built[check_key(key)] = value
        return built | named

    def _namespace(self, items: Any = (), /, **named: Any) -> Namespace:
        return Namespace(self._dict(items, **named))

    def _raise_exception(self, message: object = "") -> NoReturn:
        raise jinja2.TemplateError(as_text(self.budget, message))


@pass_context
def _printed(context: Context, value: object) -> str:
    """The text of `value` in the prompt."""
    budget: Budget = context.environment.budget  # type: ignore[attr-defined]
    text = as_text(budget, value)
    budget.text(len(text) + _STEPS_OF_A_FILTER)
    return text
