"""Checks of the repository itself: layers, sizes, module docstrings, and what process 1 may import."""

from __future__ import annotations

import ast
import functools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator

# One test process runs all of them, so that each file is parsed once.
pytestmark = pytest.mark.xdist_group("layers")

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "cohabit"
MODULES = sorted(PACKAGE.rglob("*.py"))

# The layer of each package. A new package fails these tests until it has an entry.
LAYERS = {
    "bootstrap": 1, "errors": 1, "isolation": 1, "lazy_pattern": 1, "nearest": 1, "paths": 1, "program": 1, "units": 1,
    "control": 2, "tasks": 2, "plan": 2, "engine": 3,
    "api": 4, "config": 4, "reactor": 5, "doctor": 5, "client": 5, "rendering": 5,
    "cli": 6, "gateway": 6,
}  # fmt: skip

# Entry points. They import the program from higher layers, and bootstrap retries that when memory is short.
ENTRIES = ("cohabit.bootstrap",)

# The same for subpackages, which import from lower ones only. "": the modules of the package itself.
INNER_LAYERS = {
    "config": {"text": 1, "values": 1, "keys": 2, "supervisord": 2, "readers": 3, "writers": 3, "": 4},
    "reactor": {"processes": 2, "logs": 3, "health": 4, "control": 4, "": 5},
}
# Modules that every subpackage of the reactor may import.
SHARED_MODULES = {
    "cohabit.reactor.linux", "cohabit.reactor.signals", "cohabit.reactor.pid1", "cohabit.reactor.rundir",
    "cohabit.reactor.budget", "cohabit.reactor.context", "cohabit.reactor.poller", "cohabit.reactor.shortage",
    "cohabit.reactor.side_process", "cohabit.reactor.connector",
}  # fmt: skip

# Packages without I/O, clock and randomness.
PURE = ("plan", "engine", "api", "rendering")
NOT_PURE = {"os", "sys", "time", "random", "socket", "select", "signal", "subprocess", "logging", "io", "threading"}

# Expensive imports, none of which may be loaded in process 1. ARCHITECTURE.md has their cost.
TOO_EXPENSIVE = {
    "argparse", "ast", "asyncio", "collections", "contextlib", "ctypes", "dataclasses", "enum", "functools", "inspect",
    "json", "logging", "os", "pathlib", "re", "selectors", "shlex", "signal", "socket", "subprocess",
    "tempfile", "threading", "traceback", "typing", "yaml",
}  # fmt: skip

# A requirement in a lock: name, version, hashes.
LOCKED = re.compile(r"^([\w.-]+)==([\w.]+)[^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}[ \\]*\n)+)", re.MULTILINE)


def name_of(path: Path) -> str:
    """Dotted name of a module."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


NAMES = {name_of(path) for path in MODULES}


def package_of(module: str) -> str:
    """The package (in layer 1, the module) that a dotted name belongs to; "" for cohabit itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "cohabit" and not parts[1].startswith("__") else ""


def subpackage_of(module: str) -> str:
    """The subpackage that a dotted name belongs to; "" for none."""
    parts = module.split(".")
    return parts[2] if len(parts) > 2 and (PACKAGE / "/".join(parts[1:3])).is_dir() else ""


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text())


@functools.cache
def nodes_of(path: Path) -> list[ast.AST]:
    """All nodes of the syntax tree of a file."""
    return list(ast.walk(parsed(path)))


@functools.cache
def imports_of(path: Path) -> list[tuple[ast.stmt | ast.expr, str]]:
    """Every module that a file imports, at any place in it, with the statement."""
    found: list[tuple[ast.stmt | ast.expr, str]] = []
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            found += [(node, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            # `from cohabit.reactor import pid1` imports a module, `from cohabit.units import x` a name in one.
            ours = module.startswith("cohabit")
            found += [(node, f"{module}.{alias.name}" if ours else module) for alias in node.names]
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        elif isinstance(node, ast.Constant) and node.value in NAMES:
            found.append((node, str(node.value)))  # load("cohabit.cli.help")
    return found


@pytest.fixture(scope="module", autouse=True)
def freed() -> Iterator[None]:
    """Free the syntax trees at the end: they slow down each later garbage collection."""
    yield
    for cached in (imports_of, nodes_of, parsed):
        cached.cache_clear()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_downward(path: Path) -> None:
    """A package imports from itself and from lower layers, never from a sibling or a higher layer."""
    package = package_of(name_of(path))
    if name_of(path) in ENTRIES:
        return
    for _, target in imports_of(path):
        other = package_of(target)
        if not package or not other or other == package:
            continue
        assert package in LAYERS, f"{package} has no layer"
        assert LAYERS[other] < LAYERS[package], f"{name_of(path)} (layer {LAYERS[package]}) imports {target}"


@pytest.mark.parametrize("path", [path for path in MODULES if package_of(name_of(path)) in INNER_LAYERS], ids=name_of)
def test_imports_go_downward_inside_a_package(path: Path) -> None:
    """A subpackage imports from itself, from lower subpackages and from SHARED_MODULES."""
    package = package_of(name_of(path))
    own = subpackage_of(name_of(path))
    for _, target in imports_of(path):
        module = next((module for module in (target, target.rpartition(".")[0]) if module in NAMES), "")
        if package_of(module) == package and module not in SHARED_MODULES and subpackage_of(module) != own:
            layers = INNER_LAYERS[package]
            assert layers[subpackage_of(module)] < layers[own], f"{name_of(path)} imports {module}"


def test_every_package_has_a_layer() -> None:
    """Every package and top-level module has an entry in LAYERS."""
    packages = {package_of(name_of(path)) for path in MODULES} - {""}
    assert packages == set(LAYERS)


def test_there_is_no_import_cycle() -> None:
    """No module imports itself through others, not even inside one package. An import by name happens later."""
    modules = {name_of(path) for path in MODULES}
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        imported = [target for node, target in imports_of(path) if isinstance(node, ast.stmt)]
        targets = {target if target in modules else target.rpartition(".")[0] for target in imported}
        graph[name_of(path)] = (targets & modules) - {name_of(path)}
    while graph:
        leaves = {module for module, targets in graph.items() if not targets & graph.keys()}
        assert leaves, f"an import cycle among {sorted(graph)}"
        graph = {module: targets for module, targets in graph.items() if module not in leaves}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_import_is_inside_a_function(path: Path) -> None:
    """Imports are at the top of the module."""
    if name_of(path) in ENTRIES:
        return
    functions = [node for node in nodes_of(path) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    for node in nodes_of(path):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            inside = any(one.lineno <= node.lineno <= (one.end_lineno or 0) for one in functions)
            assert not inside, f"{path.name}:{node.lineno}"


@pytest.mark.parametrize("path", [path for path in MODULES if package_of(name_of(path)) in PURE], ids=name_of)
def test_pure_packages_have_no_side_effects(path: Path) -> None:
    """Pure packages import no module with I/O, clock or randomness, and no third-party library."""
    for _, target in imports_of(path):
        top = target.partition(".")[0]
        assert top.lstrip("_") not in NOT_PURE  # `_socket` is a part of socket
        assert top in sys.stdlib_module_names | {"cohabit", "__future__"}


@pytest.mark.parametrize("path", [path for path in MODULES if package_of(name_of(path)) == "reactor"], ids=name_of)
def test_dangerous_calls_are_in_one_module(path: Path) -> None:
    """One module forks. Only modules that own children wait for them."""
    text = path.read_text()
    if path.name != "spawn.py":
        assert "os.fork(" not in text
    if path.name not in {"children.py", "init.py", "one_call.py", "sweep.py", "trial.py"}:
        assert "os.waitpid(" not in text


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_has_a_docstring(path: Path) -> None:
    """Every module has a docstring."""
    assert ast.get_docstring(parsed(path)), f"{path} has no docstring"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_and_functions_are_short(path: Path) -> None:
    """Files have fewer than 500 lines, functions fewer than 70 lines and at most 7 parameters."""
    assert path.read_text().count("\n") < 500
    for node in nodes_of(path):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or 0) - node.lineno < 70, f"{path.name}: {node.name} is too long"
            parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            named = [parameter for parameter in parameters if parameter.arg not in {"self", "cls"}]
            assert len(named) <= 7, f"{path.name}: {node.name} has {len(named)} parameters"


@pytest.mark.parametrize("command", ["init", "up", "run", "supervisord"])
def test_process_1_imports_only_cheap_modules(command: str) -> None:
    """The commands that become process 1 load no expensive and no third-party module."""
    program = f"import sys; sys.path.append({str(PACKAGE.parent)!r}); import cohabit.cli.{command}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    loaded = {module.partition(".")[0] for module in run.stdout.split()}
    assert not loaded & TOO_EXPENSIVE
    assert loaded <= sys.stdlib_module_names | {"cohabit", "__main__"}


def test_one_module_knows_how_our_programs_are_started() -> None:
    """program.py; the entry points, which are started before it can be imported, know how they were started."""
    for path in MODULES:
        attributes = [node for node in nodes_of(path) if isinstance(node, ast.Attribute) and "executable" in node.attr]
        knows = {"sys.executable", "sys._base_executable"}.intersection(map(ast.unparse, attributes))
        assert not knows or name_of(path) in {"cohabit.program", "cohabit.bootstrap", "cohabit.isolation"}, path


def test_the_command_page_is_up_to_date() -> None:
    """docs/reference/cli.md is what tools/cli_page.py makes from the help texts now."""
    program = "import sys; sys.path.insert(0, 'tools'); import cli_page; print(cli_page.page(), end='')"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == (ROOT / "docs" / "reference" / "cli.md").read_text(), "run `make docs`"


@pytest.mark.parametrize(
    ("group", "lock"),
    [("dependencies", "run"), ("dev", "dev"), ("requires", "dev")],
)
def test_the_locks_have_the_requirements_of_pyproject(group: str, lock: str) -> None:
    """requirements/: each requirement has an admitted version with hashes; build requirements are in dev.txt."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    requirements = {**project["project"], **project["dependency-groups"], **project["build-system"]}[group]
    locked = {
        canonicalize_name(name): (version, hashes)
        for name, version, hashes in LOCKED.findall((ROOT / "requirements" / f"{lock}.txt").read_text())
    }
    for requirement in map(Requirement, requirements):
        version, hashes = locked.get(canonicalize_name(requirement.name), ("none", ""))
        assert hashes, f"requirements/{lock}.txt lacks {requirement}: run `make lock`"
        assert requirement.specifier.contains(version), f"{requirement} does not admit {version}: run `make lock`"


def test_the_locks_have_no_address() -> None:
    """The locks name no package index: the user's own pip configuration does."""
    for path in (ROOT / "requirements").iterdir():
        assert "//" not in path.read_text()


def test_there_is_no_reminder_of_unfinished_work() -> None:
    """No file that is run has a reminder of unfinished work."""
    word = "FIX" + "ME"
    for folder in ("src", "tests", "bench", "examples", "bin"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix in {".py", ".sh", ".yaml", ""}:
                assert word not in path.read_text(errors="replace"), path


def test_relative_links_of_the_documents_exist() -> None:
    """Each relative link in README, ARCHITECTURE and docs names an existing file."""
    documents = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").rglob("*.md")]
    for document in documents:
        for piece in document.read_text().split("](")[1:]:
            target = piece.partition(")")[0].partition("#")[0]
            if target and "://" not in target:
                assert os.path.exists(document.parent / target), f"{document.name} links to {target}"
