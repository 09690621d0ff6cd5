"""`cohabit start`, and what `stop` and `restart` share with it: services by name, answered when it is done."""

from __future__ import annotations

from cohabit.cli import client, waiting
from cohabit.cli.options import Command, Option
from cohabit.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.reactor.signals import InheritedSignals

ALL = Option(("--all",), "all services of the file (a job on a schedule is not started for that)")
_AT_ONCE = ("start", "restart")
NO_WAIT = Option(("--no-wait",), "do not wait until it is done")

COMMAND = Command(
    "start",
    "[--no-wait | --timeout DURATION] SERVICE...",
    "Start services that do not run, and wait until they are ready.",
    (ALL, NO_WAIT, waiting.TIMEOUT, *client.ALWAYS),
    details=(
        "What a service depends on is started, too, and first, as with `docker compose up`. A service that failed for "
        "good (FATAL) or that backs off is started at once. `web` means all replicas of web, `web-2` one of them. When "
        "--timeout is over, the start goes on; only the waiting ends."
    ),
    exits=client.DONE,
    examples=(("cohabit start web worker", "both; returns when both are ready, or one has failed"),),
)


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, ask, return the exit code."""
    return act(given, COMMAND, words)


def act(given: InheritedSignals, verb: Command, words: list[str]) -> int:
    """A verb for services that have to be named."""
    values, services = verb.parse(words)
    if values["help"]:
        return verb.show_help()
    given.restore()
    named = names(verb, values, services)
    options = ["wait=no"] if values["no_wait"] else []
    answer = waiting.ask(verb, values, verb.name, [*named, *options], named)
    if answer is None:
        what = "not stopped" if verb.name == "stop" else "not ready"
        return waiting.time_is_up(verb, values, named, what, f"it goes on; cohabit why {named[0]}")
    return client.tell(verb, values, answer)


def names(verb: Command, values: dict[str, Any], services: list[str]) -> list[str]:
    """The services that are meant: those named, or all that there are."""
    if values["all"] and services:
        raise UsageError(f"cannot {verb.name}: --all and names exclude each other")
    if values["all"]:
        there = [service for service in client.status(verb, values)[1] if not service["gone"]]
        return [service["name"] for service in there if not (service["schedule"] and verb.name in _AT_ONCE)]
    if not services:
        raise UsageError(f"cannot {verb.name}: no service is named (name some, or all of them: --all)")
    return services
