"""`cohabit why`: the chain of causes that explains how a service, or the whole container, is."""

from __future__ import annotations

import json

from cohabit.cli import client
from cohabit.cli.options import Command, Option
from cohabit.errors import UsageError
from cohabit.plan.nearest import did_you_mean
from cohabit.rendering.why import why, why_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "why",
    "[-n N] [SERVICE...]",
    "Explain why a service does not run, keeps restarting or is not ready, or what everybody waits for.",
    (
        Option(("-n", "--tail"), "show at most N last lines of output of whoever failed (default: 10)", "N"),
        *client.ALWAYS,
    ),
    details=(
        "Follows who waits for whom down to whoever is to blame: what happened and when, exit code or signal in words, "
        "attempts and the next one, its last lines, and what to do. Without a SERVICE: the whole container.\n\n"
        'With --json: [{"service", "kind", "time", "text", "facts", "output", "advice", "because", "waiting", '
        '"depth"}], in the order in which people would read it.'
    ),
    exits=(("0", "explained"), *client.EXITS),
    examples=(("cohabit why", "what is up with this container"), ("cohabit why web", "what is up with web")),
)
_LINES = 10


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, ask, explain, return the exit code."""
    values, names = COMMAND.parse(words)
    if values["help"]:
        return COMMAND.show_help()
    tail = values["tail"] or str(_LINES)
    if not tail.isdecimal():
        raise UsageError(f"cannot why: --tail {tail!r} is no number of lines (write --tail 20)")
    given.restore()
    container, services = client.status(COMMAND, values, output=int(tail))
    _must_be_there(names, container, services)
    asked: list[str | None] = [*names] or [None]
    if values["json"]:
        client.write(json.dumps([cause for name in asked for cause in why_json(container, services, name)]) + "\n")
        return 0
    for index, name in enumerate(asked):
        lines = why(container, services, name, width=client.size()[0], colour=client.shows_colour())
        client.write_lines(["", *lines] if index else lines)
    return 0


def _must_be_there(names: list[str], container: dict[str, Any], services: list[dict[str, Any]]) -> None:
    """As the server says it of other verbs; here it is asked for all, since causes may be anywhere."""
    known = dict.fromkeys(name for service in services for name in (service["name"], service["service"]))
    for name in names if container["phase"] != "loading" else []:
        if name not in known:
            hint = did_you_mean(name, known) or " (cohabit ps -q lists them)"
            raise UsageError(f"cannot why: there is no service {name!r}{hint}")
