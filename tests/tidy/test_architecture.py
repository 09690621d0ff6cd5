"""ARCHITECTURE.md names what there is: each module, and each function that it mentions."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
# `reactor/loop.py: Loop.run` and `paths.py: open_file`.
MENTIONED = sorted(set(re.findall(r"`([a-z0-9_/]+\.py): ([A-Za-z_.]+)`", PAGE)))


def test_the_map_is_current() -> None:
    """`make docs` would change nothing."""
    spec = importlib.util.spec_from_file_location("package_map", ROOT / "tools" / "package_map.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.with_map(PAGE) == PAGE, "type: make docs"


def test_paths_are_described() -> None:
    """A page that mentions no function would pass every other test here."""
    assert len(MENTIONED) > 20


@pytest.mark.parametrize(("file", "name"), MENTIONED, ids=str)
def test_what_is_mentioned_exists(file: str, name: str) -> None:
    """Each function on the way of a line, a signal, a request and a probe is where the page says."""
    path = ROOT / "src" / "cohabit" / file
    assert path.exists(), f"there is no {file}"
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    assert name in names, f"{file} has no {name}"
