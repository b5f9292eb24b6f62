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

KV_NODE = "engine.kv.node"
MUTATING = frozenset(
    {"add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "reverse", "setdefault"}
    | {"sort", "update"}
)
"""Methods of lists, sets and dicts that change them."""

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


@cache
def functions() -> Mapping[str, Function]:
    """Every function and method by its location, those of benchmarks and tests included."""
    trees = {name.replace(".", "/"): module for name, module in modules().items()}
    for folder in ("bench", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            trees[str(path.relative_to(ROOT))] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return {
        f"{place}:{node.lineno} {node.name}": node
        for place, tree in sorted(trees.items())
        for node in ast.walk(tree)
        if isinstance(node, Function)
    }


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


def kv_fields() -> frozenset[str]:
    """The attributes of `KVNode`."""
    [node] = [each for each in ast.walk(modules()[KV_NODE]) if isinstance(each, ast.ClassDef) and each.name == "KVNode"]
    [slots] = [
        each for each in node.body if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "__slots__"
    ]
    return frozenset(ast.literal_eval(slots.value))


def kv_writes(module: ast.Module) -> Iterator[str]:
    """The lines of `module` that write a field of a `KVNode`, or change a list, set or dict in one.

    Also through a variable that holds such a container. `self.pages = ...` is a field of the class that it is in.
    """
    aliases: set[str] = set()

    def is_field(node: ast.AST) -> bool:
        """Whether `node` is a field, an item of one, or a variable for either."""
        if isinstance(node, ast.Subscript):
            return is_field(node.value)
        if isinstance(node, ast.Name):
            return node.id in aliases
        is_own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
        return isinstance(node, ast.Attribute) and node.attr in kv_fields() and not is_own

    for node in sorted(ast.walk(module), key=lambda each: getattr(each, "lineno", 0)):
        targets: list[ast.AST] = []
        if isinstance(node, ast.Assign):
            targets = [part for each in node.targets for part in getattr(each, "elts", [each])]
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        elif isinstance(node, ast.Delete):
            targets = [*node.targets]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATING:
            targets = [node.func.value]
        if any(is_field(each) and (not isinstance(each, ast.Name) or isinstance(node, ast.Call)) for each in targets):
            yield f"{node.lineno}: {ast.unparse(node)}"
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            (aliases.add if is_field(node.value) else aliases.discard)(node.targets[0].id)


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


def test_the_fields_of_a_kv_node_are_written_by_one_file() -> None:
    users = {name for name in modules() if re.match(r"engine\.(kv|scheduler|plan|routines|node|scoring)\b", name)}
    assert {KV_NODE, "engine.kv.tree", "engine.scheduler.step_runner", "engine.node"} <= users
    assert any(kv_writes(modules()[KV_NODE])), "the file itself writes them"
    assert not {name: writes for name in users - {KV_NODE} if (writes := [*kv_writes(modules()[name])])}


@pytest.mark.parametrize(
    "line",
    [
        "node.computed = 3",
        "request.leaf.pins += 1",
        "node.parent.children[5] = []",
        "node.start, left = 3, 4",
        "del node.pages[2:]",
        "branch.node.tokens.append(7)",
        "siblings = parent.children[5]\nsiblings.remove(node)",
    ],
)
def test_a_write_of_a_kv_node_elsewhere_is_noticed(line: str) -> None:
    assert [*kv_writes(ast.parse(line))]
    assert not [*kv_writes(ast.parse("self.pages = node.pages\nids = [*node.tokens]\nids.append(1)\nnode.extend(ids)"))]


def test_functions_fit_on_a_screen() -> None:
    """Kernels excepted: a tile stays in registers from the first line to the last."""
    lengths = {where: each.end_lineno - each.lineno + 1 for where, each in functions().items() if not is_kernel(each)}
    assert not {where: lines for where, lines in lengths.items() if lines > LONGEST_FUNCTION}


def test_signatures_are_short() -> None:
    """Kernels and their launchers excepted: a launch passes every tensor, stride and size."""
    launchers = ("kernels/", "tests/kernels/")
    counts = {where: parameters(each) for where, each in functions().items() if not where.startswith(launchers)}
    assert not {where: count for where, count in counts.items() if count > MOST_PARAMETERS}


def test_folders_are_small() -> None:
    counts: dict[str, int] = defaultdict(int)
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix not in (".pyc", ".so"):
                counts[str(path.parent.relative_to(ROOT))] += 1
    assert not {folder: count for folder, count in counts.items() if count > MOST_FILES}
