"""`cohabit exec`: a command with the environment, the user and the directory that a service has.

Where `docker exec` gives the container's, and a shell has to guess the rest. No process of ours stays in between:
this one becomes the command, as a child of process 1 becomes its service (reactor/processes/child.py), but with our
own stdin, stdout, stderr and terminal, and without the service's limits.
"""

from __future__ import annotations

import json

from cohabit.cli import client
from cohabit.cli.options import CommandVerb, Option
from cohabit.config.values.user import identity
from cohabit.errors import EXIT_NO_PERMISSION, CommandError, UsageError
from cohabit.plan.model import Credentials
from cohabit.reactor.linux import environment, os
from cohabit.reactor.processes import child, spawn
from cohabit.reactor.processes.secrets import SecretFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

    from cohabit.reactor.processes.child import SpawnSpec
    from cohabit.reactor.signals import InheritedSignals

COMMAND = CommandVerb(
    "exec",
    "[-u USER] [-w DIR] [-e NAME=VALUE] SERVICE [--] COMMAND [ARG...]",
    "Run a command as a service would: its environment, its user, its directory.",
    (
        Option(("-u", "--user"), "another user, name or number, :group behind it", "USER"),
        Option(("-w", "--workdir"), "another directory", "DIR"),
        Option(("-e", "--env"), "one more variable; without = the value that we have", "NAME=VALUE", repeat=True),
        *client.ALWAYS,
    ),
    details=(
        "The command replaces this program, so that it has our terminal and its signals, and its exit code is ours. It "
        "is no part of the service: it is not stopped with it. Secrets that the service gets as variables are read "
        "from their files. --json prints what the command would get, and runs nothing."
    ),
    exits=(
        ("n", "the command's own exit code"),
        ("126", "the command cannot be executed"),
        ("127", "the command is not found"),
        *client.EXITS,
    ),
    examples=(
        ("cohabit exec web -- sh", "a shell in which everything is as it is for web"),
        ("cohabit exec -u root db -- psql -l", "as another user"),
        ("docker exec -it CONTAINER cohabit exec web bash", "from outside"),
    ),
)
_KEPT = ("TERM", "COLORTERM", "NO_COLOR")  # of ours, where the service has none: they are the terminal's


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, ask, become the command; returns only for --help and --json."""
    values, arguments = COMMAND.parse(words)
    if values["help"]:
        return COMMAND.show_help()
    service, command = arguments[0] if arguments else "", arguments[1:]
    if command[:1] == ["--"]:
        command = command[1:]
    if not service:
        raise UsageError("cannot exec: no service is named (write: cohabit exec SERVICE -- COMMAND)")
    if not values["json"] and not (command and command[0]):
        raise UsageError(f"cannot exec: no command is given (write: cohabit exec {service} -- COMMAND)")
    answer = client.body(COMMAND, values, "service", [service])
    if not answer.is_trusted:
        raise client.RefusedError(
            "cannot exec: neither root nor this user listens at this socket, so its answer is not acted on "
            "(become the user that cohabit runs as)",
            EXIT_NO_PERMISSION,
        )
    listener = answer.listener
    told: dict[str, Any] = json.loads(answer.line())
    start = _start(values, told, command, given)
    if values["json"]:
        shown = {
            **told,
            "environment": start.environment,
            "working_dir": start.directory or _working_directory(listener),
        }
        if start.identity:
            shown["user"] = {name: getattr(start.identity, name) for name in ("uid", "gid", "groups", "name", "home")}
        client.write(json.dumps(shown) + "\n")
        return 0
    if not values["workdir"]:
        _go_where_it_is(listener)
    return _become(start, told.get("umask"))


def _start(values: dict[str, Any], told: dict[str, Any], command: list[str], given: InheritedSignals) -> SpawnSpec:
    """What child.py wants to know of a start, of what the server has told and what was typed."""
    ours = environment()
    variables: dict[str, str] = {name: ours[name] for name in _KEPT if name in ours} | told["environment"]
    user = _user(told["user"])
    if values["user"]:
        try:
            user = identity(values["user"])
        except LookupError as error:
            raise UsageError(client.sentence(COMMAND, str(error.args[0]))) from error
        variables |= {"HOME": user.home} if user.home else {}
        variables |= {"USER": user.name, "LOGNAME": user.name} if user.name else {}
    variables |= dict(_added(values["env"], ours))
    start = child.SpawnSpec(tuple(command), variables, given)
    start.identity = user if user and not _is_us(user) else None
    start.directory = values["workdir"] or told["working_dir"]
    start.secrets = SecretFiles(told["secret_files"])
    return start


def _user(told: dict[str, Any] | None) -> Credentials | None:
    if told is None:
        return None
    groups = tuple(map(int, told["groups"]))
    return Credentials(int(told["uid"]), int(told["gid"]), groups, str(told["name"]), str(told["home"]))


def _is_us(user: Credentials) -> bool:
    """Whether there is nothing to change, for which one would need to be root."""
    if user.uid == os.geteuid() != 0:
        return True  # and whatever else is different cannot be changed
    groups = {os.getegid(), *os.getgroups()}
    return (user.uid, user.gid) == (os.geteuid(), os.getegid()) and groups == {user.gid, *user.groups}


def _added(words: list[str], ours: dict[str, str]) -> Iterator[tuple[str, str]]:
    """The variables of --env; a name alone is ours, as with docker exec."""
    for word in words:
        name, equals, value = word.partition("=")
        if not name:
            raise UsageError("cannot exec: --env without a name (write NAME=VALUE)")
        if equals or name in ours:
            yield name, value if equals else ours[name]


def _working_directory(supervisor: int) -> str | None:
    """Where a service is that has no working_dir: where its cohabit is; None if that cannot be seen."""
    try:
        return os.readlink(f"/proc/{supervisor}/cwd")
    except OSError:
        return None


def _go_where_it_is(supervisor: int) -> None:
    """Be in its working directory, from which others are reckoned; where we may not, stay."""
    try:
        os.chdir(f"/proc/{supervisor}/cwd")
    except OSError:
        return


def _become(start: SpawnSpec, umask: int | None) -> NoReturn:
    """child.become without a session, a cgroup and descriptors of its own, and with words for people."""
    step = child.STEP_SECRETS
    try:
        secrets = start.secrets or SecretFiles({})
        secrets.read(start.environment, start.identity)
        step = child.STEP_USER
        if start.identity is not None:
            child.switch(start.identity, terminal=False)
        step = child.STEP_SECRETS
        secrets.read_as_user(start.environment)
        if umask is not None:
            os.umask(umask)
        step = child.STEP_DIRECTORY
        if start.directory is not None:
            os.chdir(start.directory)
        step = child.STEP_EXEC
        start.given.restore()
        child.execute(start.argv, start.environment)
    except OSError as error:
        message = child.describe(step, error).encode("utf-8", "surrogateescape")
        why, code = spawn.failure(start, message)
        raise CommandError(f"cannot exec: {why}", code) from None
