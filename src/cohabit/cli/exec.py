"""`cohabit exec`: run a command with the environment, the user and the working directory of a service.

`docker exec` uses the container's instead. This process is replaced by the command in the same way as a child of
process 1 by its service (reactor/processes/child.py), but it keeps its own stdin, stdout, stderr and terminal. As the
service's user it has the service's ambient capabilities; the service's limits are not applied.
"""

from __future__ import annotations

import json

from cohabit.cli import client
from cohabit.cli.logs import replica
from cohabit.cli.options import Option, WrapperCommand
from cohabit.config.values.user import identity
from cohabit.errors import EXIT_SYSTEM, CommandError, UsageError
from cohabit.plan.model import Credentials
from cohabit.plan.reason_text import text_of
from cohabit.reactor.linux import environment, os
from cohabit.reactor.processes import child, limits, privileges, start_failure
from cohabit.reactor.processes.secrets import SecretFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

    from cohabit.reactor.processes.child import SpawnSpec
    from cohabit.reactor.signals import InheritedSignals

COMMAND = WrapperCommand(
    "exec",
    "[-u USER] [-w DIR] [-e NAME=VALUE] SERVICE [--] COMMAND [ARG...]",
    "Run a command with the environment, the user and the working directory of a service.",
    (
        Option(("-u", "--user"), "run as this user instead: name or number, optionally :group", "USER"),
        Option(("-w", "--workdir"), "use this working directory instead", "DIR"),
        Option(
            ("-e", "--env"), "set a variable; NAME alone copies its value from this process", "NAME=VALUE", repeat=True
        ),
        Option(("--index",), "the number of the replica: --index 2 web is web-2", "N"),
        Option(("-i", "--interactive"), "no effect: the command has the standard input of this program"),
        Option(("-t", "--tty"), "no effect: the command has the terminal of this program (docker exec -it)"),
        Option(("-T", "--no-tty", "--no-TTY"), "no effect: no terminal is made (for scripts of docker compose)"),
        *client.ALWAYS,
    ),
    details=(
        "The command replaces this program: it keeps the terminal, and its exit code is the one returned. It is not "
        "part of the service and is not stopped with it; the service's limits are not applied. Without -u it has the "
        "service's ambient capabilities. Secrets that the service gets as variables are read from their files. --json "
        "prints what the command would get, and runs nothing. Only the user that cohabit runs as may use this command."
    ),
    exit_codes=(
        ("n", "the command's own exit code"),
        ("126", "the command cannot be executed"),
        ("127", "the command is not found"),
        *client.EXIT_CODES,
    ),
    examples=(
        ("cohabit exec web -- sh", "a shell with the environment of web"),
        ("cohabit exec -u root db -- psql -l", "as another user"),
        ("docker exec -it CONTAINER cohabit exec web bash", "from outside the container"),
    ),
)
_TERMINAL_VARIABLES = ("TERM", "COLORTERM", "NO_COLOR")  # kept from this process if the service has none


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, become the command; returns only for --help and --json."""
    values, positional = COMMAND.parse(arguments)
    if values["help"]:
        return COMMAND.show_help()
    service, command = positional[0] if positional else "", positional[1:]
    if command[:1] == ["--"]:
        command = command[1:]
    if not service:
        raise UsageError("cannot exec: no service is named (write: cohabit exec SERVICE -- COMMAND)")
    if not values["json"] and not (command and command[0]):
        raise UsageError(f"cannot exec: no command is given (write: cohabit exec {service} -- COMMAND)")
    description = client.connect(COMMAND, values).service(replica("exec", [service], values["index"])[0])
    supervisor = description.pop("supervisor")
    spec = _spawn_spec(values, description, command, inherited)
    if values["json"]:
        shown = {
            **description,
            "environment": spec.environment,
            "working_dir": spec.directory or _working_directory(supervisor),
        }
        if spec.identity:
            shown["user"] = {name: getattr(spec.identity, name) for name in ("uid", "gid", "groups", "name", "home")}
        client.write(json.dumps(shown) + "\n")
        return 0
    if not values["workdir"]:
        _change_to_working_directory(supervisor)
    ambient = [] if values["user"] else [(str(name), int(number)) for name, number in description.get("ambient", ())]
    return _become(spec, description.get("umask"), ambient)


def _spawn_spec(
    values: dict[str, Any], description: dict[str, Any], command: list[str], inherited: InheritedSignals
) -> SpawnSpec:
    """The description that the server sent, changed by the options."""
    own = environment()
    variables: dict[str, str] = {name: own[name] for name in _TERMINAL_VARIABLES if name in own}
    variables |= description["environment"]
    user = _credentials(description["user"])
    if values["user"]:
        try:
            user = identity(values["user"])
        except LookupError as error:
            raise UsageError(f"cannot exec: {error.args[0]}") from error
        variables |= {"HOME": user.home} if user.home else {}
        variables |= {"USER": user.name, "LOGNAME": user.name} if user.name else {}
    variables |= dict(_options_env(values["env"], own))
    spec = child.SpawnSpec(tuple(command), variables, inherited)
    spec.identity = user if user and not _is_current_user(user) else None
    spec.directory = values["workdir"] or description["working_dir"]
    spec.secrets = SecretFiles(description["secret_files"])
    return spec


def _credentials(user: dict[str, Any] | None) -> Credentials | None:
    if user is None:
        return None
    groups = tuple(map(int, user["groups"]))
    return Credentials(int(user["uid"]), int(user["gid"]), groups, str(user["name"]), str(user["home"]))


def _is_current_user(user: Credentials) -> bool:
    """Whether this process has these credentials already, or has this uid and may not change its groups."""
    if user.uid == os.geteuid() != 0:
        return True
    groups = {os.getegid(), *os.getgroups()}
    return (user.uid, user.gid) == (os.geteuid(), os.getegid()) and groups == {user.gid, *user.groups}


def _options_env(assignments: list[str], own: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The variables of --env; a name alone has its value in this process, as with docker exec."""
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not name:
            raise UsageError("cannot exec: --env without a name (write NAME=VALUE)")
        if equals or name in own:
            yield name, value if equals else own[name]


def _working_directory(supervisor: int) -> str | None:
    """The directory of a service without working_dir: the supervisor's; None if it cannot be read."""
    try:
        return os.readlink(f"/proc/{supervisor}/cwd")
    except OSError:
        return None


def _change_to_working_directory(supervisor: int) -> None:
    """Change to the supervisor's directory, which relative paths refer to; without permission, stay."""
    try:
        os.chdir(f"/proc/{supervisor}/cwd")
    except OSError:
        return


def _become(spec: SpawnSpec, umask: int | None, ambient: list[tuple[str, int]]) -> NoReturn:
    """Like child.become, without a session, a cgroup and descriptors of its own, and with error messages for people."""
    step = child.STEP_SECRETS
    try:
        secrets = spec.secrets or SecretFiles({})
        secrets.read(spec.environment, spec.identity)
        step = limits.STEP_AMBIENT
        if ambient:
            privileges.keep_for_user()
        step = child.STEP_USER
        if spec.identity is not None:
            child.switch(spec.identity, terminal=False)
        step = child.STEP_SECRETS
        secrets.read_as_user(spec.environment)
        step = limits.STEP_AMBIENT
        if ambient:
            privileges.make_ambient(ambient)
        if umask is not None:
            os.umask(umask)
        step = child.STEP_DIRECTORY
        if spec.directory is not None:
            os.chdir(spec.directory)
        step = child.STEP_EXEC
        spec.given.restore()
        child.execute(spec.argv, spec.environment)
    except OSError as error:
        message = child.describe(step, error).encode("utf-8", "surrogateescape")
        failure = start_failure.exec_failure(spec, message)
        raise CommandError(f"cannot exec: {text_of(failure)}", failure.code or EXIT_SYSTEM) from None
