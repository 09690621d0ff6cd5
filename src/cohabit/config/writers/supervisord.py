"""What a Plan of a supervisord.conf loses as a cohabit.yaml: names that are valid there, and a note for each loss."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cohabit.config.values.service_name import VALID, free_name
from cohabit.plan.model import Logging, Restart, Startup

if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.plan.model import Plan, Service

_SEPARATOR = re.compile("[:/]")
# What has no key in a cohabit.yaml, and how to see that a service has it.
_LOST: dict[str, Callable[[Service], bool]] = {
    "startsecs and startretries": lambda service: service.startup not in (None, Startup(0.0)),
    "exitcodes": lambda service: service.restart.expected_codes != Restart.expected_codes,
    "redirect_stderr": lambda service: service.stderr_to_stdout,
    "the socket as standard input (fcgi-program)": lambda service: service.socket_as_stdin,
    "the stream of a log (stdout and stderr are separate)": lambda service: any(
        one.stream or one.output for one in service.logging
    ),
}


def as_compose(plan: Plan) -> tuple[Plan, list[str]]:
    """The Plan with names for a cohabit.yaml, and the notes: "startsecs has no key here: web, app".

    Event listeners and the gateway are left out: they serve supervisorctl and its like only.
    """
    kept = {name: service for name, service in plan.services.items() if name not in plan.beside}
    names: dict[str, str] = {}
    for name in kept:
        valid = name if VALID.fullmatch(name) else free_name(_SEPARATOR.sub("-", name), names.values())
        names[name] = valid
    services = {
        names[name]: service.replace(
            name=names[name],
            service=names[name],
            depends_on=tuple(
                need.replace(service=names[need.service]) for need in service.depends_on if need.service in kept
            ),
        )
        for name, service in kept.items()
    }
    notes = []
    if plan.beside:
        left_out = ", ".join(plan.beside)
        notes.append(f"event listeners, and the servers for supervisorctl, are left out: {left_out}")
    if len({service.priority for service in services.values()}) > 1:
        notes.append("priority has no key here: all services start, and stop, together")
    for what, is_lost in _LOST.items():
        owners = [name for name, service in services.items() if is_lost(service)]
        if owners:
            notes.append(f"{what}: no key here: {', '.join(owners)}")
    if plan.stays:
        notes.append("the container ends when all services have ended, not on request only")
    own = (Logging(),) if plan.main_log else plan.logging
    return plan.replace(services=services, beside=(), logging=own), notes
