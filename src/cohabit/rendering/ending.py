"""How a run ended and what its service still has in hand, as clauses that complete "web ...". Pure wording.

The engine's own reason (`why`) is kept wherever it says all; the words here add what it cannot know: that it was the
kernel, for want of memory, who sent the SIGKILL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.errors import EXIT_KILLED
from cohabit.rendering.words import clock, size, stamp, until
from cohabit.units import describe_exit, format_duration

if TYPE_CHECKING:
    from cohabit.rendering.status import Container, Service

_CANNOT_START = "cannot start: "
_AFTER = " after "
_GIVEN_UP = "; given up after"  # whoever tells that it was given up says so himself
_MEMORY = ", out of memory,"


def ended(service: Service, container: Container) -> str:
    """How its last run ended: "ended with exit code 1 after 2s", "was killed by SIGKILL: out of memory"."""
    why = (service.why or last_reason(service)).partition(_GIVEN_UP)[0]
    if service.out_of_memory:
        return _out_of_memory(service, container, why)
    if why.startswith(_CANNOT_START):
        return f"could not be started: {why.removeprefix(_CANNOT_START)}"
    if why.startswith("pre_start"):
        return f"could not be started: its {why}"
    if why.startswith("post_start"):
        return f"was ended, because its {why}"
    if why.startswith("unhealthy"):
        return f"was {why}"
    if why:
        return why
    return "ended, nobody knows how" if service.code is None else f"ended with {describe_exit(service.code)}"


def attempt(service: Service, now: float) -> str:
    """Which attempt comes, and when: "restart 3 of 5 in a row comes in 1.6s, at 02:40:01Z"."""
    of = "" if service.attempts is None else f" of {service.attempts}"
    if service.next is None:
        return f"restart {service.restarts}{of} in a row is to come"
    return f"restart {service.restarts}{of} in a row comes {until(service.next, now)}, at {clock(service.next, now)}"


def patience(service: Service, now: float) -> str:
    """What was sent to a service that is being stopped, and when SIGKILL comes."""
    signal = service.stop_signal or "its stop signal"
    if service.hook_stage:
        signal = f"its {service.hook_stage} hook {service.hook_index + 1} runs first, then comes {signal}"
    elif service.since is not None:
        signal = f"it got {signal} at {stamp(service.since, now)}"
    if service.next is None:
        return f"{signal}; SIGKILL was sent, too"
    grace = format_duration(service.stop_grace_seconds)
    when = f"{until(service.next, now)}, at {clock(service.next, now)}"
    return f"{signal}; SIGKILL comes {when} (stop_grace_period {grace})"


def policy(service: Service) -> str:
    """What it was restarted for, as Compose writes it: "restart: on-failure:5", or "on_failure: restart"."""
    if service.on_failure == "restart" and service.why.startswith("unhealthy") and service.state == "BACKOFF":
        return "on_failure: restart"
    attempts = "" if service.attempts is None else f":{service.attempts}"
    return f"restart: {service.restart or 'no'}{attempts}"


def last_reason(service: Service) -> str:
    """The reason of the last end that the history knows; the service itself forgets it at its next start."""
    found = next((entry.text for entry in reversed(service.history) if entry.code is not None and entry.text), "")
    return found.partition(_GIVEN_UP)[0]


def _out_of_memory(service: Service, container: Container, why: str) -> str:
    limit = f", the container's limit is {size(container.memory_limit)}" if container.memory_limit else ""
    if service.code not in (EXIT_KILLED, None):
        own = why.replace(_MEMORY, "") or f"ended with {describe_exit(service.code)}"
        return f"{own}; the kernel had killed a process of it: out of memory{limit}"
    lasted = f"{_AFTER}{why.partition(_AFTER)[2].partition(',')[0]}" if _AFTER in why else ""
    return f"was killed by SIGKILL{lasted}: out of memory{limit}"
