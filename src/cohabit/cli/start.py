"""`cohabit start`, and what `stop` and `restart` share with it: services by name, and an answer when it is done."""

from __future__ import annotations

from cohabit.cli import client, waiting
from cohabit.cli.options import Command, Option
from cohabit.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.client import Client
    from cohabit.reactor.signals import InheritedSignals

_STARTING = ("start", "restart")  # commands that start services
NO_WAIT = Option(("--no-wait",), "return without waiting until it is done")

COMMAND = Command(
    "start",
    "[--no-wait | --wait-timeout DURATION] [SERVICE...]",
    "Start services that are not running, and wait until they are ready; without names, all of them.",
    (NO_WAIT, waiting.TIMEOUT, *client.ALWAYS),
    details=(
        "The dependencies of a service are started first, as with `docker compose up`; a dependency with a schedule is "
        "not started. A service of the file that does not take part (an inactive profile, or `up` named others) is "
        "started, too: the file is read again for that. A service that has failed (FATAL) or is in back-off (BACKOFF) "
        "is started at once. `web` means all replicas of web, `web-2` one of them. Without names, services with a "
        "schedule or with `autostart: false` are left out. After --wait-timeout the start continues."
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
    named = services or all_services(client.connect(command, values), command)
    options = [*waiting.grace(command, values), *(["wait=no"] if values["no_wait"] else [])]
    answer = waiting.request(command, values, command.name, [*named, *options], named)
    if answer is None:
        goal = "the stop" if command.name == "stop" else "readiness"
        return waiting.print_timeout(command, values, named, goal, f"it continues; see cohabit why {named[0]}")
    return client.print_result(values, answer)


def all_services(cohabit: Client, command: Command) -> list[str]:
    """All instances of the running cohabit; commands that start services leave out those that wait for their time.

    Raises UsageError.
    """
    found = [service for service in cohabit.status().services if not service.gone]
    if command.name in _STARTING:
        found = [service for service in found if not (service.schedule or service.dormant)]
    if not found:
        raise UsageError(f"cannot {command.name}: there are no services (cohabit ps lists them)")
    return [service.name for service in found]
