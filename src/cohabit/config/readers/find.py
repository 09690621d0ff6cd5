"""The first step of reading: find the input, a file or the arguments of `cohabit run`. Nothing is parsed here."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cohabit.config.text.source import STDIN, UnreadableError, read_text
from cohabit.config.values.option_variables import PREFIXES, option_variable
from cohabit.plan.draft import Diagnostic, SourceLocation
from cohabit.plan.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAMES = ("cohabit.yaml", "cohabit.yml", "cohabit.toml")
OVERRIDE_NAMES = ("cohabit.override.yaml", "cohabit.override.yml", "cohabit.override.toml")
# In Compose's order.
COMPOSE_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
COMPOSE_OVERRIDE_NAMES = (
    *("compose.override.yml", "compose.override.yaml"),
    *("docker-compose.override.yml", "docker-compose.override.yaml"),
)
DIRECTORIES = ("", "/etc/cohabit")
_DOTENV = "cohabit.config.values.dotenv"
ARGUMENTS = ""  # in place of a path: the input is the command line of `run`


class Source(Record):
    """The input. path: "-" for standard input; name: the path for messages.

    arguments: those of `run` (path is ARGUMENTS then, and text is empty). env_files: to read instead of .env.
    others: the files after it, each of which overrides those before it. warnings: about the choice of files.
    """

    path: str
    name: str
    text: str = ""
    arguments: Mapping[str, Any] = {}
    env_files: tuple[str, ...] = ()
    others: tuple[Source, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()

    @property
    def directory(self) -> str:
        """The directory of the first file with a path, for relative paths; "" for the working directory."""
        return next((os.path.dirname(one.path) for one in (self, *self.others) if one.path != STDIN), "")


class NoInputError(Exception):
    """There is no input that can be read."""

    def __init__(self, where: SourceLocation, text: str) -> None:
        super().__init__(text)
        self.where = SourceLocation(where.file)
        self.diagnostic = Diagnostic(where, text)


def find(request: Mapping[str, Any], environ: Mapping[str, str]) -> Source:
    """The input that a request names (load.py has its keys), or COMPOSE_FILE; otherwise what is found.

    Raises NoInputError.
    """
    if "commands" in request:
        return Source(ARGUMENTS, "cohabit run", arguments=request)
    env_files = tuple(request.get("env_files") or filter(None, option_variable("ENV_FILES", environ.get).split(",")))
    files = request.get("files") or _named_files(environ, env_files)
    warnings: tuple[Diagnostic, ...] = ()
    if not files:
        files, warnings = _found()
    if not files:
        directories = " or ".join(map(os.path.abspath, DIRECTORIES))
        text = f"cannot find {NAMES[0]}, {NAMES[1]} or {NAMES[2]} in {directories} (create one, or use -f FILE)"
        raise NoInputError(SourceLocation("cohabit"), text)
    after = "after -f" if request.get("files") else "in COHABIT_FILE or COMPOSE_FILE"
    first, *others = (_read(path, after) for path in files)
    return first.replace(env_files=env_files, others=tuple(others), warnings=warnings)


def _read(path: str, after: str) -> Source:
    """One file. after: where its path is written. Raises NoInputError."""
    name = "standard input" if path == STDIN else path
    try:
        return Source(path, name, read_text(path))
    except FileNotFoundError as error:
        text = f"cannot read {name}: no such file (correct the path {after})"
        raise NoInputError(SourceLocation(name), text) from error
    except UnreadableError as error:
        raise NoInputError(SourceLocation(name), str(error)) from error


def _found() -> tuple[list[str], tuple[Diagnostic, ...]]:
    """The file that is read without -f, with the override file beside it, and warnings."""
    path = first_file()
    names: tuple[str, ...] = OVERRIDE_NAMES
    if not path:
        path, names = next(filter(os.path.lexists, COMPOSE_NAMES), ""), COMPOSE_OVERRIDE_NAMES
    if not path:
        return [], ()
    directory = os.path.dirname(path)
    overrides = [one for name in names if os.path.lexists(one := os.path.join(directory, name))]
    ignored = [
        Diagnostic(SourceLocation(one), f"ignored: {overrides[0]} is read (keep one of them)", warning=True)
        for one in overrides[1:]
    ]
    return [path, *overrides[:1]], tuple(ignored)


def _named_files(environ: Mapping[str, str], env_files: Sequence[str]) -> list[str]:
    """The files in COHABIT_FILE or COMPOSE_FILE, of the environment or of .env in the working directory."""
    if not any(f"{prefix}FILE" in environ for prefix in PREFIXES):
        for path in filter(os.path.isfile, env_files or [".env"]):
            try:  # by name: without such a file nothing is imported
                environ = {**import_module(_DOTENV).parse(read_text(path), environ.get).values, **environ}
            except (FileNotFoundError, UnreadableError):
                continue  # reported with the file's other problems
    separator = environ.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
    return list(filter(None, option_variable("FILE", environ.get).split(separator)))


def first_file(directories: Sequence[str] = DIRECTORIES) -> str:
    """The first existing file: by directory, then by name; "" if there is none."""
    paths = (os.path.join(directory, name) for directory in directories for name in NAMES)
    return next(filter(os.path.lexists, paths), "")
