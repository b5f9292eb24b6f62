"""The shape of the code: rules that a reader can rely on when looking for something."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ("engine", "model", "kernels")
FOLDERS = (*PRODUCT, "bench", "tests", "docs")

LONGEST_FUNCTION = 80
"""In lines, with the docstring: a function fits on a screen."""

MOST_PARAMETERS = 15
MOST_FILES = 20

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def modules() -> Mapping[str, ast.Module]:
    """The product's modules, parsed, by their names below `marcot`, such as `engine.search.strategy`."""
    found = {}
    for folder in PRODUCT:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = ast.parse(path.read_text(), str(path))
    return found


def functions() -> Iterator[tuple[str, Function]]:
    """Every function and method of the product, with its location."""
    for name, module in modules().items():
        for node in ast.walk(module):
            if isinstance(node, Function):
                yield f"{name}:{node.lineno} {node.name}", node


def is_kernel(function: Function) -> bool:
    """Whether Triton compiles it: `@triton.jit`, or `@launched` (`kernels/triton/launch.py`)."""
    return any(ast.unparse(each).startswith(("triton.jit", "launched")) for each in function.decorator_list)


def parameters(function: Function) -> int:
    """The number of its parameters, `self` included."""
    arguments = function.args
    starred = [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
    return len([*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *starred])


@cache
def imports(name: str) -> frozenset[str]:
    """The product's modules that `name` imports at run time, also inside functions; imports for types do not count."""
    return frozenset(_imports(name)) - {name}


def _imports(name: str) -> Iterator[str]:
    is_package = (ROOT / name.replace(".", "/")).is_dir()
    package = name.split(".") if is_package else name.split(".")[:-1]
    waiting: list[ast.AST] = [modules()[name]]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        waiting += ast.iter_child_nodes(node)
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        home = package[: len(package) + 1 - node.level] + (node.module.split(".") if node.module else [])
        for each in node.names:
            for target in (".".join([*home, each.name]), ".".join(home)):
                if target in modules():
                    yield target
                    break


def test_a_class_name_stands_for_one_thing() -> None:
    homes = defaultdict(list)
    for name, module in modules().items():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(f"{name}:{node.lineno}")
    assert not {name: places for name, places in homes.items() if len(places) > 1}


def test_the_glossary_knows_the_classes_by_their_names() -> None:
    classes = {
        node.name for module in modules().values() for node in ast.walk(module) if isinstance(node, ast.ClassDef)
    }
    named = re.findall(r"`([A-Z]\w+)`", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"))
    assert len(named) > 40
    assert not set(named) - classes


def test_imports_make_no_cycle() -> None:
    graph = {name: imports(name) for name in modules()}
    assert len(graph["engine.engine"]) > 5, "relative imports are not found any more"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def test_imports_point_from_engine_to_model_to_kernels() -> None:
    layers = ("kernels", "model", "engine")
    for name in modules():
        for target in imports(name):
            below = layers.index(target.partition(".")[0]) <= layers.index(name.partition(".")[0])
            assert below, f"{name} imports {target}"


def test_functions_fit_on_a_screen() -> None:
    """Kernels excepted: a tile stays in registers from the first line to the last."""
    lengths = {where: each.end_lineno - each.lineno + 1 for where, each in functions() if not is_kernel(each)}
    assert not {where: lines for where, lines in lengths.items() if lines > LONGEST_FUNCTION}


def test_signatures_are_short() -> None:
    """Kernels and their launchers excepted: a launch passes every tensor, stride and size."""
    counts = {where: parameters(function) for where, function in functions() if not where.startswith("kernels.")}
    assert not {where: count for where, count in counts.items() if count > MOST_PARAMETERS}


def test_folders_are_small() -> None:
    counts: dict[str, int] = defaultdict(int)
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix not in (".pyc", ".so"):
                counts[str(path.parent.relative_to(ROOT))] += 1
    assert not {folder: count for folder, count in counts.items() if count > MOST_FILES}
