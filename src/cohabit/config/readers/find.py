"""The first step of reading: find the input, a file or the arguments of `cohabit run`. Nothing is parsed here."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cohabit.config.text.source import STDIN, UnreadableError, read_text
from cohabit.config.values.option_variables import PREFIXES, option_variable
from cohabit.errors import EXIT_FILE, EXIT_USAGE
from cohabit.plan.draft import Diagnostic, SourceLocation
from cohabit.plan.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAMES = ("cohabit.yaml", "cohabit.yml", "cohabit.toml")
COMPOSE_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
DIRECTORIES = ("", "/etc/cohabit")
_DOTENV = "cohabit.config.values.dotenv"
ARGUMENTS = ""  # in place of a path: the input is the command line of `run`


class Source(Record):
    """The input. path: "-" for standard input; name: the path for messages.

    arguments: those of `run` (path is ARGUMENTS then, and text is empty). env_files: to read instead of .env.
    """

    path: str
    name: str
    text: str = ""
    arguments: Mapping[str, Any] = {}
    env_files: tuple[str, ...] = ()


class NoInputError(Exception):
    """There is no input that can be read."""

    def __init__(self, file: str, text: str, line: int = 0, exit_code: int = EXIT_FILE) -> None:
        super().__init__(text)
        self.where = SourceLocation(file)
        self.diagnostic = Diagnostic(SourceLocation(file, line), text, exit_code=exit_code)


def find(request: Mapping[str, Any], environ: Mapping[str, str]) -> Source:
    """The input that a request names (load.py has its keys), or COMPOSE_FILE; otherwise the file that is found.

    Raises NoInputError.
    """
    if "commands" in request:
        return Source(ARGUMENTS, "cohabit run", arguments=request)
    env_files = tuple(filter(None, option_variable("ENV_FILES", environ.get).split(",")))
    files = request.get("files") or _named_files(environ, env_files)
    if len(files) > 1:
        text = "cannot read several files: merging is not supported yet (name one file)"
        raise NoInputError(files[1], text, exit_code=EXIT_USAGE)
    path = files[0] if files else first_file() or next(filter(os.path.lexists, COMPOSE_NAMES), "")
    if not path:
        directories = " or ".join(map(os.path.abspath, DIRECTORIES))
        text = f"cannot find {NAMES[0]}, {NAMES[1]} or {NAMES[2]} in {directories} (create one, or use -f FILE)"
        raise NoInputError("cohabit up", text)
    name = "standard input" if path == STDIN else path
    try:
        return Source(path, name, read_text(path), env_files=env_files)
    except FileNotFoundError as error:
        where = "after -f" if request.get("files") else "in COHABIT_FILE or COMPOSE_FILE"
        raise NoInputError(name, f"cannot read {name}: no such file (correct the path {where})") from error
    except UnreadableError as error:
        raise NoInputError(name, str(error)) from error


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
