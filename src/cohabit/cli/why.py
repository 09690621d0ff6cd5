"""`cohabit why`: the chain of causes behind the state of a service or of the whole container."""

from __future__ import annotations

import json

from cohabit.cli import client
from cohabit.cli.options import Command, Option
from cohabit.errors import UsageError
from cohabit.nearest import did_you_mean
from cohabit.rendering.why import why, why_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cohabit.client import ContainerStatus, ServiceStatus
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "why",
    "[-n N] [SERVICE...]",
    "Explain why a service is not running, keeps restarting, is not ready or is waiting.",
    (
        Option(("-n", "--tail"), "show at most the last N lines of output of a failed service (default: 10)", "N"),
        *client.ALWAYS,
    ),
    details=(
        "Follows the dependencies down to the cause: what happened and when, the exit code or signal, the restarts and "
        "the time of the next one, the last output, and what to do. Without a SERVICE: the whole container.\n\n"
        'With --json: [{"service", "kind", "time", "text", "facts", "output", "advice", "because", "waiting", '
        '"depth"}], in reading order.'
    ),
    exit_codes=(("0", "explained"), *client.EXIT_CODES),
    examples=(("cohabit why", "the state of the container"), ("cohabit why web", "the state of web")),
)
_TAIL_LINES = 10


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, explain, return the exit code."""
    values, names = COMMAND.parse(arguments)
    if values["help"]:
        return COMMAND.show_help()
    tail = values["tail"] or str(_TAIL_LINES)
    if not tail.isdecimal():
        raise UsageError(f"cannot why: --tail {tail!r} is not a number of lines (write --tail 20)")
    inherited.restore()
    status = client.connect(COMMAND, values).status(output=int(tail))
    container, services = status.container, status.services
    _check_names(names, container, services)
    subjects: list[str | None] = [*names] or [None]
    if values["json"]:
        causes = [cause for name in subjects for cause in why_json(container, services, name)]
        client.write(json.dumps(causes) + "\n")
        return 0
    for index, name in enumerate(subjects):
        lines = why(container, services, name, width=client.terminal_size()[0], colour=client.uses_colour())
        client.write_lines(["", *lines] if index else lines)
    return 0


def _check_names(names: list[str], container: ContainerStatus, services: Sequence[ServiceStatus]) -> None:
    """Raises UsageError for an unknown name. The server cannot check: the request is for all services."""
    known = dict.fromkeys(name for service in services for name in (service.name, service.service))
    for name in names if container.phase != "loading" else []:
        if name not in known:
            hint = did_you_mean(name, known) or " (cohabit ps -q lists them)"
            raise UsageError(f"cannot why: there is no service {name!r}{hint}")
