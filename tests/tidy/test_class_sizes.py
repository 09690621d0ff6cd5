"""A class with behaviour has at most 20 methods and 15 attributes, so that a reader can hold it in mind.

Records (immutable values) and protocols (interfaces) are exempt: they have fields, not state.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "cohabit"
METHODS_MAX, ATTRIBUTES_MAX = 20, 15
VALUES = {"Record", "NamedTuple", "Protocol", "Struct", "TypedDict"}

# Class -> (methods, attributes, reason). The numbers are exact: a class that became smaller must be updated here.
LARGER: dict[str, tuple[int, int, str]] = {
    "reactor/processes/child.SpawnSpec": (1, 16, "a value: what a child does between fork and exec, with no behaviour"),
    "reactor/processes/children.Children": (33, 15, "starting, reaping and adopting in one"),
    "reactor/processes/tree.Trees": (31, 16, "one state, ADR 10: evidence of ownership and who is being killed"),
}


def _methods(node: ast.ClassDef) -> list[ast.FunctionDef]:
    return [item for item in node.body if isinstance(item, ast.FunctionDef)]


def _attributes(node: ast.ClassDef) -> set[str]:
    """Names that its methods assign to self."""
    return {
        target.attr
        for method in _methods(node)
        for target in ast.walk(method)
        if isinstance(target, ast.Attribute)
        and isinstance(target.ctx, ast.Store)
        and isinstance(target.value, ast.Name)
        and target.value.id == "self"
    }


def _is_value(node: ast.ClassDef) -> bool:
    return any((base.id if isinstance(base, ast.Name) else getattr(base, "attr", "")) in VALUES for base in node.bases)


CLASSES = {
    f"{path.relative_to(PACKAGE).with_suffix('').as_posix()}.{node.name}": node
    for path in sorted(PACKAGE.rglob("*.py"))
    for node in ast.parse(path.read_text(encoding="utf-8")).body
    if isinstance(node, ast.ClassDef) and not _is_value(node)
}


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_is_small(name: str) -> None:
    """Or its exact size and the reason are in LARGER."""
    size = (len(_methods(CLASSES[name])), len(_attributes(CLASSES[name])))
    if name in LARGER:
        assert size == LARGER[name][:2], f"{name} has {size[0]} methods and {size[1]} attributes: change LARGER"
    else:
        assert size[0] <= METHODS_MAX, f"{name} has {size[0]} methods"
        assert size[1] <= ATTRIBUTES_MAX, f"{name} has {size[1]} attributes: {sorted(_attributes(CLASSES[name]))}"


def test_exceptions_are_needed() -> None:
    """LARGER has only classes that exist and are too large, each with a reason."""
    for name, (methods, attributes, reason) in LARGER.items():
        assert name in CLASSES
        assert methods > METHODS_MAX or attributes > ATTRIBUTES_MAX
        assert reason
