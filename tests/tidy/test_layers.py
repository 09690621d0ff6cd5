"""The repository tests itself: floors, sizes, charters, and what process 1 may import."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "cohabit"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Every room is on a floor; a new folder fails here until somebody says on which one.
FLOORS = {
    "bootstrap": 1, "errors": 1, "isolation": 1, "paths": 1, "units": 1,
    "tasks": 2, "plan": 2, "rendering": 2, "engine": 3,
    "api": 4, "config": 4, "reactor": 5, "doctor": 5,
    "cli": 6,
}  # fmt: skip

# Entry points: they import the program from above, and bootstrap tries that again when there is no room.
ENTRIES = ("cohabit.bootstrap",)

# The same inside a big room, "" for its own modules: an inner room imports from lower ones only.
INNER_FLOORS = {
    "config": {"text": 1, "values": 1, "keys": 2, "": 3},
    "reactor": {"processes": 2, "logs": 3, "health": 4, "control": 4, "": 5},
}
# What every inner room of the reactor stands on.
GROUND = {
    "cohabit.reactor.linux", "cohabit.reactor.signals", "cohabit.reactor.pid1", "cohabit.reactor.rundir",
    "cohabit.reactor.budget", "cohabit.reactor.poller", "cohabit.reactor.shortage",
}  # fmt: skip

# Rooms that must not know Linux, the clock or chance.
PURE = ("plan", "engine", "api", "rendering")
NOT_PURE = {"os", "sys", "time", "random", "socket", "select", "signal", "subprocess", "logging", "io", "threading"}

# Dear imports, with their price in ARCHITECTURE.md; none may reach process 1.
TOO_DEAR = {
    "argparse", "ast", "asyncio", "collections", "contextlib", "ctypes", "dataclasses", "enum", "functools", "inspect",
    "json", "logging", "msgspec", "os", "pathlib", "re", "selectors", "shlex", "signal", "socket", "subprocess",
    "tempfile", "threading", "traceback", "typing", "yaml",
}  # fmt: skip

# A requirement in a lock: name, version, hashes.
LOCKED = re.compile(r"^([\w.-]+)==([\w.]+)[^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}[ \\]*\n)+)", re.MULTILINE)


def name_of(path: Path) -> str:
    """Dotted name of a module."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


NAMES = {name_of(path) for path in MODULES}


def room_of(module: str) -> str:
    """The room (or, on floor 1, the module) that a dotted name belongs to; "" for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "cohabit" and not parts[1].startswith("__") else ""


def inner_room_of(module: str) -> str:
    """The room within its room, "" for none."""
    parts = module.split(".")
    return parts[2] if len(parts) > 2 and (PACKAGE / "/".join(parts[1:3])).is_dir() else ""


def imports_of(path: Path) -> list[tuple[ast.stmt, str]]:
    """Every module that a file imports, wherever the statement stands."""
    found: list[tuple[ast.stmt, str]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            # `from cohabit.reactor import pid1` imports a module, `from cohabit.units import x` a name of one
            ours = module.startswith("cohabit")
            found += [(node, f"{module}.{alias.name}" if ours else module) for alias in node.names]
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_downward(path: Path) -> None:
    """A room imports from its own and from floors below, never from a neighbour or from above."""
    room = room_of(name_of(path))
    if name_of(path) in ENTRIES:
        return
    for _, target in imports_of(path):
        other = room_of(target)
        if not room or not other or other == room:
            continue
        assert room in FLOORS, f"say on which floor {room} is"
        assert FLOORS[other] < FLOORS[room], f"{name_of(path)} (floor {FLOORS[room]}) imports {target}"


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(name_of(path)) in INNER_FLOORS], ids=name_of)
def test_imports_go_downward_inside_a_room(path: Path) -> None:
    """The same for the rooms within a room."""
    room = room_of(name_of(path))
    own = inner_room_of(name_of(path))
    for _, target in imports_of(path):
        module = next((module for module in (target, target.rpartition(".")[0]) if module in NAMES), "")
        if room_of(module) == room and module not in GROUND and inner_room_of(module) != own:
            floors = INNER_FLOORS[room]
            assert floors[inner_room_of(module)] < floors[own], f"{name_of(path)} imports {module}"


def test_every_room_has_a_floor() -> None:
    """A folder or a module at the top that nobody put on a floor is a mistake."""
    rooms = {room_of(name_of(path)) for path in MODULES} - {""}
    assert rooms == set(FLOORS)


def test_there_is_no_circle() -> None:
    """No module imports itself by way of others, not even inside one room."""
    modules = {name_of(path) for path in MODULES}
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        targets = {target if target in modules else target.rpartition(".")[0] for _, target in imports_of(path)}
        graph[name_of(path)] = (targets & modules) - {name_of(path)}
    while graph:
        leaves = {module for module, targets in graph.items() if not targets & graph.keys()}
        assert leaves, f"a circle among {sorted(graph)}"
        graph = {module: targets for module, targets in graph.items() if module not in leaves}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_import_hides_in_a_function(path: Path) -> None:
    """Imports stand at the top, where a reader looks for them."""
    if name_of(path) in ENTRIES:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inner = [child for child in ast.walk(node) if isinstance(child, (ast.Import, ast.ImportFrom))]
            assert not inner, f"{path.name}:{inner[0].lineno}"


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(name_of(path)) in PURE], ids=name_of)
def test_pure_rooms_touch_nothing(path: Path) -> None:
    """Plan and engine know neither Linux nor the clock nor chance, nor any third party."""
    for _, target in imports_of(path):
        top = target.partition(".")[0]
        assert top not in NOT_PURE
        assert top in sys.stdlib_module_names | {"cohabit", "__future__"}


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(name_of(path)) == "reactor"], ids=name_of)
def test_dangers_have_one_door(path: Path) -> None:
    """One module forks, and only those that own children wait for them."""
    text = path.read_text()
    if path.name != "spawn.py":
        assert "os.fork(" not in text
    if path.name not in {"children.py", "init.py", "one_call.py", "sweep.py", "trial.py"}:
        assert "os.waitpid(" not in text


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_opens_with_its_charter(path: Path) -> None:
    """Every module says in its first lines what it is for."""
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no charter"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_tail_is_short(path: Path) -> None:
    """Files under 500 lines, functions under 70, at most 7 parameters."""
    text = path.read_text()
    assert text.count("\n") < 500
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or 0) - node.lineno < 70, f"{path.name}: {node.name} is too long"
            parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            named = [parameter for parameter in parameters if parameter.arg not in {"self", "cls"}]
            assert len(named) <= 7, f"{path.name}: {node.name} has {len(named)} parameters"


@pytest.mark.parametrize("verb", ["init", "up", "run"])
def test_process_1_imports_only_what_is_cheap(verb: str) -> None:
    """Nothing dear and nothing of a third party is loaded by the verbs that become process 1."""
    program = f"import sys; sys.path.append({str(PACKAGE.parent)!r}); import cohabit.cli.{verb}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    loaded = {module.partition(".")[0] for module in run.stdout.split()}
    assert not loaded & TOO_DEAR
    assert loaded <= sys.stdlib_module_names | {"cohabit", "__main__"}


def test_the_page_of_commands_is_what_the_help_says() -> None:
    """docs/reference/cli.md is made from the help texts, and was made anew after the last change."""
    program = "import sys; sys.path.insert(0, 'tools'); import cli_page; print(cli_page.page(), end='')"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == (ROOT / "docs" / "reference" / "cli.md").read_text(), "run `make docs`"


@pytest.mark.parametrize(
    ("wanted", "lock"),
    [("dependencies", "run"), ("dev", "dev"), ("requires", "dev")],
)
def test_the_locks_name_what_pyproject_asks_for(wanted: str, lock: str) -> None:
    """requirements/: each requirement has a version that it admits, and hashes; that of a build is among the tools'."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    requirements = {**project["project"], **project["dependency-groups"], **project["build-system"]}[wanted]
    locked = {
        canonicalize_name(name): (version, hashes)
        for name, version, hashes in LOCKED.findall((ROOT / "requirements" / f"{lock}.txt").read_text())
    }
    for requirement in map(Requirement, requirements):
        version, hashes = locked.get(canonicalize_name(requirement.name), ("none", ""))
        assert hashes, f"requirements/{lock}.txt lacks {requirement}: run `make lock`"
        assert requirement.specifier.contains(version), f"{requirement} does not admit {version}: run `make lock`"


def test_the_locks_name_no_address() -> None:
    """Where the packages come from is the business of those who install them."""
    for path in (ROOT / "requirements").iterdir():
        assert "//" not in path.read_text()


def test_nothing_is_left_unfinished() -> None:
    """No reminders to ourselves in what others run."""
    word = "FIX" + "ME"
    for folder in ("src", "tests", "bench", "examples", "bin"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix in {".py", ".sh", ".yaml", ""}:
                assert word not in path.read_text(errors="replace"), path


def test_the_documents_point_at_files_that_exist() -> None:
    """Each relative link of README, ARCHITECTURE and docs leads somewhere."""
    documents = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").rglob("*.md")]
    for document in documents:
        for piece in document.read_text().split("](")[1:]:
            target = piece.partition(")")[0].partition("#")[0]
            if target and "://" not in target:
                assert os.path.exists(document.parent / target), f"{document.name} points at {target}"
