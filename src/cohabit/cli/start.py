"""`cohabit start`, and what `stop` and `restart` share with it: services by name, answered when it is done."""

from __future__ import annotations

from cohabit.cli import talk
from cohabit.cli.options import Option, Verb
from cohabit.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.reactor.signals import Given

ALL = Option(("--all",), "all services of the file")
NO_WAIT = Option(("--no-wait",), "do not wait until it is done")

VERB = Verb(
    "start",
    "[--no-wait] SERVICE...",
    "Start services that do not run, and wait until they are ready.",
    (ALL, NO_WAIT, *talk.ALWAYS),
    details=(
        "What a service depends on has to be there, as at the start of the container: a service whose dependency is "
        "stopped waits for it, and `cohabit why SERVICE` tells. A service that failed for good (FATAL) or that backs "
        "off is started at once. `web` means all replicas of web, `web-2` one of them."
    ),
    exits=talk.DONE,
    examples=(("cohabit start web worker", "both; returns when both are ready, or one has failed"),),
)


def main(given: Given, words: list[str]) -> int:
    """Parse, ask, return the exit code."""
    return act(given, VERB, words)


def act(given: Given, verb: Verb, words: list[str]) -> int:
    """A verb for services that have to be named."""
    values, services = verb.parse(words)
    if values["help"]:
        return verb.show_help()
    given.restore()
    named = names(verb, values, services)
    options = ["wait=no"] if values["no_wait"] else []
    return talk.tell(verb, values, talk.ask(verb, values, verb.name, [*named, *options], seconds=None))


def names(verb: Verb, values: dict[str, Any], services: list[str]) -> list[str]:
    """The services that are meant: those named, or all that there are."""
    if values["all"] and services:
        raise UsageError(f"cannot {verb.name}: --all and names exclude each other")
    if values["all"]:
        return [service["name"] for service in talk.status(verb, values)[1] if not service["gone"]]
    if not services:
        raise UsageError(f"cannot {verb.name}: no service is named (name some, or all of them: --all)")
    return services
