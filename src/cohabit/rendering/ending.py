"""Describe how a run ended and what happens next, as clauses that complete "web ...". Pure.

The engine's reason (`why`) is used where it is complete. This module adds the kernel's out-of-memory kill.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.errors import EXIT_KILLED
from cohabit.rendering.formatting import clock, size, time_and_age, until
from cohabit.units import describe_exit, format_duration

if TYPE_CHECKING:
    from cohabit.api.status import ContainerStatus as Container
    from cohabit.api.status import ServiceStatus as Service

_CANNOT_START = "cannot start: "
_AFTER = " after "
_GIVEN_UP = "; given up after"  # callers add this themselves
_MEMORY = ", out of memory,"


def end_clause(service: Service, container: Container) -> str:
    """Describe how its last run ended: "ended with exit code 1 after 2s", "was killed by SIGKILL: out of memory"."""
    why = (service.why or last_reason(service)).partition(_GIVEN_UP)[0]
    if service.out_of_memory:
        return _out_of_memory(service, container, why)
    if why.startswith(_CANNOT_START):
        return f"could not be started: {why.removeprefix(_CANNOT_START)}"
    if why.startswith("pre_start"):
        return f"could not be started: its {why}"
    if why.startswith("post_start"):
        return f"was stopped: its {why}"
    if why.startswith("unhealthy"):
        return f"was {why}"
    if why:
        return why
    return "ended: exit code not known" if service.code is None else f"ended with {describe_exit(service.code)}"


def next_attempt(service: Service, now: float) -> str:
    """Describe the next attempt: "next attempt: restart 3 of 5 in 1.6s, at 02:40:01Z"."""
    of = "" if service.attempts is None else f" of {service.attempts}"
    if service.next is None:
        return f"next attempt: restart {service.restarts}{of}"
    return f"next attempt: restart {service.restarts}{of} {until(service.next, now)}, at {clock(service.next, now)}"


def stop_progress(service: Service, now: float) -> str:
    """Describe the stop of a service: the signal that was sent, and the time until SIGKILL."""
    signal = service.stop_signal or "its stop signal"
    if service.hook_stage:
        signal = f"its {service.hook_stage} hook {service.hook_index + 1} runs; {signal} follows"
    elif service.since is not None:
        signal = f"{signal} sent at {time_and_age(service.since, now)}"
    if service.next is None:
        return f"{signal}; SIGKILL sent"
    grace = format_duration(service.stop_grace_seconds)
    when = f"{until(service.next, now)}, at {clock(service.next, now)}"
    return f"{signal}; SIGKILL {when} (stop_grace_period {grace})"


def restart_policy(service: Service) -> str:
    """Name the key of the file that decides on its restart: "restart: on-failure:5", or "on_failure: restart"."""
    if service.on_failure == "restart" and service.why.startswith("unhealthy") and service.state == "BACKOFF":
        return "on_failure: restart"
    attempts = "" if service.attempts is None else f":{service.attempts}"
    return f"restart: {service.restart or 'no'}{attempts}"


def last_reason(service: Service) -> str:
    """Return the reason of the last end in the history; a service's own `why` is cleared at its next start."""
    found = next((entry.text for entry in reversed(service.history) if entry.code is not None and entry.text), "")
    return found.partition(_GIVEN_UP)[0]


def _out_of_memory(service: Service, container: Container, why: str) -> str:
    limit = f", the container's limit is {size(container.memory_limit)}" if container.memory_limit else ""
    if service.code not in (EXIT_KILLED, None):
        own = why.replace(_MEMORY, "") or f"ended with {describe_exit(service.code)}"
        return f"{own}; the kernel killed one of its processes: out of memory{limit}"
    lasted = f"{_AFTER}{why.partition(_AFTER)[2].partition(',')[0]}" if _AFTER in why else ""
    return f"was killed by SIGKILL{lasted}: out of memory{limit}"
