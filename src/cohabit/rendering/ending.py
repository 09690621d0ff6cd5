"""Describe how a run ended and what happens next, as clauses that complete "web ...". Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.errors import EXIT_KILLED
from cohabit.plan.file_words import word
from cohabit.plan.model import POST_STOP, PRE_START
from cohabit.plan.reason import EXITED, HOOKS, NOT_STARTED, OUT_OF_MEMORY, SIGNAL_REFUSED, UNHEALTHY
from cohabit.plan.reason_text import start_failure, text_of
from cohabit.rendering.formatting import clock, size, time_and_age, until
from cohabit.units import describe_exit, format_duration

if TYPE_CHECKING:
    from cohabit.api.status import ContainerStatus, ServiceStatus
    from cohabit.plan.reason import Reason

_AUTORESTART = {"always": "true", "on-failure": "unexpected", "no": "false"}


def end_clause(service: ServiceStatus, container: ContainerStatus) -> str:
    """Describe how its last run ended: "ended with exit code 1 after 2s", "was killed by SIGKILL: out of memory"."""
    reason = service.last_reason
    if reason is not None and reason.kind == SIGNAL_REFUSED:
        reason = reason.cause  # what came before
    if service.ran_out_of_memory:
        return _out_of_memory(service, container, reason)
    if reason is None:
        return "ended: exit code not known" if service.code is None else f"ended with {describe_exit(service.code)}"
    if reason.kind in NOT_STARTED:
        return f"could not be started: {start_failure(reason)}"
    if reason.kind in HOOKS:
        what = "could not be started" if reason.hook_stage == PRE_START else "was stopped"
        return f"{what}: its {text_of(reason)}"
    if reason.kind == UNHEALTHY:
        return f"was {text_of(reason)}"
    return text_of(reason)


def next_attempt(service: ServiceStatus, now: float) -> str:
    """Describe the next attempt: "next attempt: restart 3 of 5 in 1.6s, at 02:40:01Z"."""
    of = "" if service.attempts is None else f" of {service.attempts}"
    attempt = f"restart {service.restarts}{of}"
    if service.start_retries is not None:
        retries = f"start retry {service.restarts} of {service.start_retries}"
        attempt = retries if service.restarts else "restart"
    if service.next is None:
        return f"next attempt: {attempt}"
    return f"next attempt: {attempt} {until(service.next, now)}, at {clock(service.next, now)}"


def stop_progress(service: ServiceStatus, now: float) -> str:
    """Describe the stop of a service: the signal that was sent, or the hook that runs, and the time until SIGKILL."""
    if service.reason is not None and service.reason.kind == SIGNAL_REFUSED:
        return service.why
    signal = service.stop_signal or "its stop signal"
    if service.hook_stage:
        follows = "" if service.hook_stage == POST_STOP else f"; {signal} follows"
        signal = f"its {service.hook_stage} hook {service.hook_index + 1} runs{follows}"
    elif service.since is not None:
        signal = f"{signal} sent at {time_and_age(service.since, now)}"
    if service.next is None:
        return f"{signal}; SIGKILL sent"
    grace = format_duration(service.stop_grace_seconds)
    when = f"{until(service.next, now)}, at {clock(service.next, now)}"
    return f"{signal}; SIGKILL {when} ({word('grace', supervisord=service.of_supervisord)} {grace})"


def restart_policy(service: ServiceStatus) -> str:
    """Name the key of the file that decides on its restart: "restart: on-failure:5", or "on_failure: restart".

    For a program of a supervisord.conf: "startretries=3", or "autorestart=unexpected, exitcodes=0,2".
    """
    if service.on_failure == "restart" and service.state == "BACKOFF" and is_unhealthy(service.reason):
        return word("restart if unhealthy", supervisord=service.of_supervisord)
    if service.of_supervisord:
        return _supervisord_policy(service)
    attempts = "" if service.attempts is None else f":{service.attempts}"
    return f"restart: {service.restart or 'no'}{attempts}"


def _supervisord_policy(service: ServiceStatus) -> str:
    if service.state == "FATAL" or service.restarts:
        return f"startsecs={service.startup_seconds or 0.0:g}, startretries={service.start_retries}"
    written = _AUTORESTART.get(service.restart, service.restart)
    codes = ",".join(str(code) for code in service.exitcodes)
    return f"autorestart={written}" + (f", exitcodes={codes}" if written == "unexpected" else "")


def is_unhealthy(reason: Reason | None) -> bool:
    """Whether a run ended because its probe failed."""
    return reason is not None and reason.kind == UNHEALTHY


def _out_of_memory(service: ServiceStatus, container: ContainerStatus, reason: Reason | None) -> str:
    limit = f", the container's limit is {size(container.memory_limit)}" if container.memory_limit else ""
    if service.code not in (EXIT_KILLED, None):
        if reason is not None and reason.kind == OUT_OF_MEMORY:
            reason = reason.replace(kind=EXITED)
        own = text_of(reason) or f"ended with {describe_exit(service.code)}"
        return f"{own}; the kernel killed one of its processes: out of memory{limit}"
    lasted = "" if reason is None or reason.seconds is None else f" after {format_duration(reason.seconds)}"
    return f"was killed by SIGKILL{lasted}: out of memory{limit}"
