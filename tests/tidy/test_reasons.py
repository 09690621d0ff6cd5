"""No code searches the text of a reason: it decides on the value (plan/reason.py).

A text for people may contain anything, for example the output of a probe. What is found in it may be about something
else, and a correction of the text would change what the program does.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parents[2] / "src" / "cohabit"
PACKAGES = ("api", "cli", "doctor", "engine", "plan", "reactor", "rendering")
MODULES = sorted(path for package in PACKAGES for path in (PACKAGE / package).rglob("*.py"))

FIELDS = {"why", "exit_reason", "detail"}
FUNCTIONS = {"text_of", "start_failure", "hook_name", "end_clause"}
SEARCHES = {
    "startswith", "endswith", "removeprefix", "removesuffix", "partition", "rpartition", "split", "rsplit", "find",
    "splitlines", "rfind", "index", "rindex", "count", "replace", "lower", "casefold", "search", "match", "fullmatch",
    "findall",
}  # fmt: skip
# Records of their own, without reasons.
OTHERS = {"cli/connection.py", "doctor/__main__.py", "doctor/findings.py"}


def _is_text(node: ast.AST, names: set[str]) -> bool:
    """Whether this expression is the text of a reason, or a variable with one (by its name, or by its value)."""
    match node:
        case ast.Attribute(attr=field):
            return field in FIELDS
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in FUNCTIONS
        case ast.Name(id=name):
            return name in names or name in FIELDS
        case ast.BoolOp(values=values):
            return any(_is_text(value, names) for value in values)
    return False


def _searched(function: ast.AST) -> Iterator[int]:
    """The lines in which the text of a reason is searched or compared."""
    names: set[str] = set()
    for node in ast.walk(function):
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.NamedExpr(target=ast.Name(id=name), value=value)
            ) if _is_text(value, names):
                names.add(name)
    for node in ast.walk(function):
        match node:
            case ast.Call(func=ast.Attribute(value=value, attr=method), args=arguments) if method in SEARCHES:
                if any(_is_text(each, names) for each in (value, *arguments)):
                    yield node.lineno
            case ast.Compare(left=left, ops=operators, comparators=others):
                is_search = any(isinstance(each, (ast.In, ast.NotIn, ast.Eq, ast.NotEq)) for each in operators)
                texts = [each for each in (left, *others) if _is_text(each, names)]
                if is_search and texts and not _compares_with_empty(left, *others):
                    yield node.lineno


def _compares_with_empty(*values: ast.AST) -> bool:
    return any(isinstance(value, ast.Constant) and value.value in ("", None) for value in values)


def searches(source: str) -> list[int]:
    """The lines of a module in which the text of a reason is searched."""
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    return sorted({line for function in functions for line in _searched(function)})


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_module_searches_the_text_of_a_reason(path: Path) -> None:
    """Neither a field that holds it, nor what a function that writes it returns."""
    if path.relative_to(PACKAGE).as_posix() not in OTHERS:
        assert searches(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "expression",
    [
        'service.why.startswith("unhealthy")',
        '"it waits for" in service.why',
        '(service.why or last(service)).partition(";")',
        're.match("x", entry.detail)',
        'text_of(unit.reason) == "x"',
        'service.why.removeprefix("cannot start: ")',
    ],
)
def test_a_search_is_found(expression: str) -> None:
    """Directly, and through a variable."""
    assert searches(f"def f(service):\n    return {expression}\n") == [2]
    assert searches("def f(service):\n    why = text_of(service.reason)\n    return why.startswith('x')\n") == [3]
    assert searches("def f(service):\n    return service.why or text_of(service.reason)\n") == []
