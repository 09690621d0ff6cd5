"""config/readers: the three steps of reading (find, parse, read), and the registry of readers."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from cohabit.config.readers import registry
from cohabit.config.readers.find import NAMES, NoInputError, find, first_file
from cohabit.errors import EXIT_FILE
from cohabit.plan.draft import Draft, DraftService, SourceLocation
from cohabit.plan.model import Service

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cohabit.config.readers.find import Source

pytestmark = pytest.mark.usefixtures("here")


def test_the_first_name_in_the_first_directory_is_found(tmp_path: Path) -> None:
    """By directory, then by name."""
    assert first_file([str(tmp_path)]) == ""
    for name in reversed(NAMES):
        (tmp_path / name).touch()
        assert first_file(["/no-such-directory", str(tmp_path)]) == str(tmp_path / name)


def test_finding_does_not_parse() -> None:
    with open("x.yaml", "w", encoding="utf-8") as file:
        file.write("{not yaml")
    assert find({"files": ["x.yaml"]}, {}).text == "{not yaml"


@pytest.mark.parametrize(
    ("environ", "beside", "path"),
    [
        ({"COMPOSE_FILE": "a.yaml"}, "", "a.yaml"),
        ({"COMPOSE_FILE": "a.yaml", "COHABIT_FILE": "b.yaml"}, "", "b.yaml"),
        ({}, "COMPOSE_FILE=a.yaml\n", "a.yaml"),
        ({"COMPOSE_FILE": "b.yaml"}, "COMPOSE_FILE=a.yaml\nCOHABIT_FILE=c.yaml\n", "b.yaml"),
        ({"COMPOSE_FILE": ""}, "", "cohabit.yaml"),
        ({"COMPOSE_ENV_FILES": "x.env"}, "COMPOSE_FILE=a.yaml\n", "cohabit.yaml"),
    ],
)
def test_the_file_may_be_named_by_the_environment(environ: dict[str, str], beside: str, path: str) -> None:
    """COHABIT_FILE or COMPOSE_FILE, of the environment or of .env; -f takes precedence."""
    for name in ("a.yaml", "b.yaml", "cohabit.yaml", "x.env"):
        with open(name, "w", encoding="utf-8"):
            pass
    if beside:
        with open(".env", "w", encoding="utf-8") as file:
            file.write(beside)
    assert find({}, environ).path == path
    assert find({"files": ["x.env"]}, environ).path == "x.env"


def test_a_comma_in_the_path_of_an_env_file() -> None:
    """--env-file is one path each; only the variable has a list. The option takes precedence."""
    for name, text in (
        ("a,b.env", "X=right\n"),
        ("a", "X=wrong\n"),
        ("cohabit.yaml", "services: {web: {command: '$X'}}"),
    ):
        with open(name, "w", encoding="utf-8") as file:
            file.write(text)
    draft = registry.read({"env_files": ["a,b.env"]}, {"COHABIT_ENV_FILES": "a"})
    assert (draft.problems, draft.services["web"].service.command) == ((), ("right",))
    assert find({}, {"COHABIT_ENV_FILES": "a,cohabit.yaml"}).env_files == ("a", "cohabit.yaml")


def test_a_missing_file_of_the_environment_is_reported_with_its_variable() -> None:
    with pytest.raises(NoInputError, match="correct the path in COHABIT_FILE or COMPOSE_FILE"):
        find({}, {"COMPOSE_FILE": "gone.yaml"})


@pytest.mark.parametrize(
    ("files", "where", "exit_code"),
    [(["gone.yaml"], "gone.yaml", EXIT_FILE), (["/"], "/", EXIT_FILE)],
)
def test_an_input_that_is_not_found_names_its_file(files: list[str], where: str, exit_code: int) -> None:
    with pytest.raises(NoInputError) as caught:
        find({"files": files}, {})
    assert (str(caught.value.where), caught.value.diagnostic.exit_code) == (where, exit_code)
    assert registry.read({"files": files}, {}).problems == (caught.value.diagnostic,)


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("", "commands"),
        ("x.toml", "compose"),
        ("x.yaml", "compose"),
        ("-", "compose"),
    ],
)
def test_each_input_has_its_reader(path: str, module: str) -> None:
    """The path "" stands for the arguments of `run`."""
    chosen = next(reader for reader in registry.READERS if reader.can_read(path, "x"))
    assert chosen.module == f"cohabit.config.readers.{module}"


def test_another_format_is_one_module_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Procfile as an example: a reader that looks at the beginning of the text."""

    def read(source: Source, _environ: Mapping[str, str]) -> Draft:
        lines = [line.split(": ") for line in source.text.splitlines()]
        where = SourceLocation(source.name)
        return Draft(where, {name: DraftService(Service(name, (command,)), where) for name, command in lines})

    module = ModuleType("procfile")
    monkeypatch.setattr(module, "read", read, raising=False)
    monkeypatch.setitem(sys.modules, "procfile", module)
    reader = registry.Reader("procfile", lambda path, head: path.endswith("Procfile") and head.startswith("web: "))
    monkeypatch.setattr(registry, "READERS", [reader, *registry.READERS])
    with open("Procfile", "w", encoding="utf-8") as file:
        file.write("web: gunicorn\nworker: celery\n")
    draft = registry.read({"files": ["Procfile"]}, {})
    assert {name: item.service.command for name, item in draft.services.items()} == {
        "web": ("gunicorn",),
        "worker": ("celery",),
    }
    with open("cohabit.yaml", "w", encoding="utf-8") as file:
        file.write("services: {web: {command: x}}")
    assert list(registry.read({}, {}).services) == ["web"]
