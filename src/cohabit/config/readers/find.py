"""The first step of reading: find the input, a file or the arguments of `cohabit run`. Nothing is parsed here.

A file that is found without being named decides what root runs, and a service that can change the directory could write
it there. So root refuses an override file, and COMPOSE_FILE in .env, that such a user could write and who could not
replace the file itself: it may be a mount, or in /tmp. For the same reason, a file of such a working directory is not
preferred to one in /etc/cohabit.
"""

from __future__ import annotations

import os
import stat
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cohabit import paths
from cohabit.config.text.source import STDIN, UnreadableError, read_text
from cohabit.config.values.option_variables import PREFIXES, option_variable
from cohabit.errors import EXIT_FILE
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
_SUPERVISORD = "cohabit.config.readers.supervisord"
_DOTENV = "cohabit.config.values.dotenv"
ARGUMENTS = ""  # in place of a path: the input is the command line of `run`


class Source(Record):
    """The input. path: "-" for standard input; name: the path for messages.

    arguments: those of `run` (path is ARGUMENTS then, and text is empty). env_files: to read instead of .env.
    others: the files after it, each of which overrides those before it. warnings: about the choice of files.
    project_directory: "" for that of the first file. format: the name of its reader, "" for the first that can read it.
    """

    path: str
    name: str
    text: str = ""
    arguments: Mapping[str, Any] = {}
    env_files: tuple[str, ...] = ()
    others: tuple[Source, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()
    project_directory: str = ""
    format: str = ""

    @property
    def directory(self) -> str:
        """The project directory, or that of the first file with a path, for relative paths; "" for the working one."""
        directories = (os.path.dirname(one.path) for one in (self, *self.others) if one.path != STDIN)
        return self.project_directory or next(directories, "")


class NoInputError(Exception):
    """There is no input that can be read."""

    def __init__(self, where: SourceLocation, text: str, exit_code: int = EXIT_FILE) -> None:
        super().__init__(text)
        self.where = SourceLocation(where.file)
        self.diagnostic = Diagnostic(where, text, exit_code=exit_code)


def find(request: Mapping[str, Any], environ: Mapping[str, str]) -> Source:
    """The input that a request names (load.py has its keys), or COMPOSE_FILE; otherwise what is found.

    Raises NoInputError.
    """
    if "supervisord" in request:
        found: Source = import_module(_SUPERVISORD).find_conf(request["supervisord"])
        return found
    if "commands" in request:
        return Source(ARGUMENTS, "cohabit run", arguments=request)
    env_files = tuple(request.get("env_files") or filter(None, option_variable("ENV_FILES", environ.get).split(",")))
    project = request.get("project_directory") or ""
    if project and not os.path.isdir(project):
        where = SourceLocation("cohabit")
        raise NoInputError(where, f"cannot use --project-directory {project}: no such directory (correct the path)")
    searched = (project,) if project else DIRECTORIES
    files = request.get("files") or _named_files(environ, env_files, searched)
    warnings: tuple[Diagnostic, ...] = ()
    overrides: list[str] = []
    if not files:
        files, overrides, warnings = _found(searched)
    if not files:
        directories = " or ".join(map(os.path.abspath, searched))
        text = f"cannot find {NAMES[0]}, {NAMES[1]} or {NAMES[2]} in {directories} (create one, or use -f FILE)"
        raise NoInputError(SourceLocation("cohabit"), text)
    after = "after -f" if request.get("files") else "in COHABIT_FILE or COMPOSE_FILE"
    first, *others = (_read(path, after) for path in files)
    for path in overrides:
        _check_beside(path, files[0])
        others.append(_read(path, after))
    return first.replace(env_files=env_files, others=tuple(others), warnings=warnings, project_directory=project)


def _only_root_wrote(path: str) -> bool:
    """Whether only root could put a file at this path. True if we are not root: other users gain nothing."""
    try:
        return os.geteuid() != 0 or paths.is_private(path)
    except OSError:
        return False


def _check_beside(path: str, main: str) -> None:
    """Raise NoInputError if a user can change a file or its directory, and not the main file."""
    if _only_root_wrote(path):
        return
    try:
        may = _writers(os.stat(main))
        able = _writers(os.lstat(path)) | _writers(os.stat(os.path.dirname(path) or "."))
    except OSError as error:
        raise NoInputError(SourceLocation(path), f"cannot read {path}: {error.strerror} (use -f FILE)") from error
    if "any user" not in may and able - may:
        who = ", ".join(sorted(able - may))
        text = f"cannot read {path}: {who} can change it or its directory, and not {main}"
        raise NoInputError(SourceLocation(path), f"{text} (chown root and chmod go-w both, or use -f FILE)")


def _writers(status: os.stat_result) -> set[str]:
    """Who but root can write to a file or directory."""
    if status.st_mode & stat.S_IWOTH:
        return {"any user"}
    found = {f"user {status.st_uid}"} if status.st_uid else set()
    return found | ({f"group {status.st_gid}"} if status.st_mode & stat.S_IWGRP else set())


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


def _found(searched: Sequence[str]) -> tuple[list[str], list[str], tuple[Diagnostic, ...]]:
    """The file that is read without -f, the override file beside it, and warnings. searched: directories."""
    path = _main_file(searched)
    if not path:
        return [], [], ()
    names = COMPOSE_OVERRIDE_NAMES if os.path.basename(path) in COMPOSE_NAMES else OVERRIDE_NAMES
    in_etc = first_file(searched[1:])
    passed_over = path if in_etc and path != in_etc and not _only_root_wrote(path) else ""
    path = in_etc if passed_over else path
    directory = os.path.dirname(path)
    overrides = [one for name in names if os.path.lexists(one := os.path.join(directory, name))]
    ignored = [
        Diagnostic(SourceLocation(one), f"ignored: {overrides[0]} is read (keep one of them)", warning=True)
        for one in overrides[1:]
    ]
    if passed_over:
        text = f"ignored: other users can change its directory, and {in_etc} is read (chmod go-w, or use -f FILE)"
        ignored.append(Diagnostic(SourceLocation(passed_over), text, warning=True))
    return [path], overrides[:1], tuple(ignored)


def _named_files(environ: Mapping[str, str], env_files: Sequence[str], searched: Sequence[str]) -> list[str]:
    """The files in COHABIT_FILE or COMPOSE_FILE: of the environment, of these files with variables, or of .env."""
    if not any(f"{prefix}FILE" in environ for prefix in PREFIXES):
        for path in filter(os.path.isfile, env_files or [os.path.join(searched[0], ".env")]):
            try:  # by name: without such a file nothing is imported
                found = import_module(_DOTENV).parse(read_text(path), environ.get).values
            except (FileNotFoundError, UnreadableError):
                continue  # reported with the file's other problems
            names_files = any(f"{prefix}FILE" in found for prefix in PREFIXES)
            if names_files and not env_files and (main := _main_file(searched)):
                _check_beside(path, main)
            environ = {**found, **environ}
    separator = environ.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
    return list(filter(None, option_variable("FILE", environ.get).split(separator)))


def _main_file(searched: Sequence[str]) -> str:
    """The file that is read if none is named; "" if there is none."""
    others = (os.path.join(searched[0], name) for name in COMPOSE_NAMES)
    return first_file(searched) or next(filter(os.path.lexists, others), "")


def first_file(directories: Sequence[str] = DIRECTORIES) -> str:
    """The first existing file: by directory, then by name; "" if there is none."""
    paths = (os.path.join(directory, name) for directory in directories for name in NAMES)
    return next(filter(os.path.lexists, paths), "")
