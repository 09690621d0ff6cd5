"""`cohabit start`, and what `stop` and `restart` share with it: services by name, and an answer when it is done."""

from __future__ import annotations

from cohabit.cli import client, waiting
from cohabit.cli.options import Command, Option
from cohabit.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.client import Client
    from cohabit.reactor.signals import InheritedSignals

ALL = Option(("--all",), "all services")
ALL_TO_START = Option(("--all",), "all services except those with a schedule")
_STARTING = ("start", "restart")  # commands that start services
NO_WAIT = Option(("--no-wait",), "return without waiting until it is done")

COMMAND = Command(
    "start",
    "[--no-wait | --timeout DURATION] SERVICE...",
    "Start services that are not running, and wait until they are ready.",
    (ALL_TO_START, NO_WAIT, waiting.TIMEOUT, *client.ALWAYS),
    details=(
        "The dependencies of a service are started first, as with `docker compose up`; a dependency with a schedule is "
        "not started. A service of the file that does not take part (an inactive profile, or `up` named others) is "
        "started, too: the file is read again for that. A service that has failed (FATAL) or is in back-off (BACKOFF) "
        "is started at once. `web` means all replicas of web, `web-2` one of them. When the timeout expires, the start "
        "continues."
    ),
    exit_codes=client.DONE,
    examples=(("cohabit start web worker", "return when both are ready, or one has failed"),),
)


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, return the exit code."""
    return run(inherited, COMMAND, arguments)


def run(inherited: InheritedSignals, command: Command, arguments: list[str]) -> int:
    """Run a command that acts on named services: start, stop or restart. Returns the exit code."""
    values, services = command.parse(arguments)
    if values["help"]:
        return command.show_help()
    inherited.restore()
    named = service_names(client.connect(command, values), command, values, services)
    options = ["wait=no"] if values["no_wait"] else []
    answer = waiting.request(command, values, command.name, [*named, *options], named)
    if answer is None:
        goal = "the stop" if command.name == "stop" else "readiness"
        return waiting.print_timeout(command, values, named, goal, f"it continues; see cohabit why {named[0]}")
    return client.print_result(values, answer)


def service_names(cohabit: Client, command: Command, values: dict[str, Any], services: list[str]) -> list[str]:
    """The names given, or with --all those of the running cohabit. Raises UsageError."""
    if values["all"] and services:
        raise UsageError(f"cannot {command.name}: --all and service names exclude each other")
    if values["all"]:
        found = [service for service in cohabit.status().services if not service.gone]
        return [service.name for service in found if not (service.schedule and command.name in _STARTING)]
    if not services:
        raise UsageError(f"cannot {command.name}: no service is named (name some, or all of them: --all)")
    return services
