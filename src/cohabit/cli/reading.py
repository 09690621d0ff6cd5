"""How the file is found and read: the options that `up`, `check` and `config` share, and their part of a request."""

from __future__ import annotations

from cohabit.cli.options import Command, Option
from cohabit.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE = Option(
    ("-f", "--file"),
    (
        "the file; a further one overrides those before it (default: COHABIT_FILE, otherwise cohabit.yaml, .yml or "
        ".toml here, then in /etc/cohabit, with cohabit.override.yaml beside it; otherwise compose.yaml here)"
    ),
    "FILE",
    repeat=True,
)
PROFILE = Option(
    ("--profile",), "also use the services of this profile (default: COHABIT_PROFILES)", "NAME", repeat=True
)
ENV_FILE = Option(("--env-file",), "read the variables of this file instead of those in .env", "FILE", repeat=True)
PROJECT_DIRECTORY = Option(
    ("--project-directory",),
    "the directory for relative paths, .env and the default file (default: that of the first file)",
    "DIR",
)
PROJECT_NAME = Option(
    ("-p", "--project-name"), "the value of COMPOSE_PROJECT_NAME for variables in the file, and nothing else", "NAME"
)
# How the file is found and read; the options of docker compose before the command.
READING = (FILE, PROFILE, ENV_FILE, PROJECT_DIRECTORY, PROJECT_NAME)
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")


def read_request(command: Command, values: dict[str, Any]) -> dict[str, Any]:
    """The keys of a request for the loader that are about how the file is read. Raises UsageError."""
    name = values["project_name"]
    if name is not None and not (name and set(name) <= _NAME_CHARACTERS and name[0] not in "_-"):
        rule = "it consists of a-z, 0-9, _ and -, and begins with a letter or a digit, as in Compose"
        raise UsageError(f"cannot {command.name}: --project-name: {name!r} is not the name of a project ({rule})")
    found = {"files": values["file"], "profiles": values["profile"], "env_files": values["env_file"]}
    return found | {"project_directory": values["project_directory"], "project_name": name}
