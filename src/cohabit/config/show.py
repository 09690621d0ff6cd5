"""A Plan -> the lines of a cohabit file with the same meaning, everything resolved and every default written out.

For `cohabit config`. Every string is in double quotes, so that each value is read back unchanged. Environment and users
are those of this machine.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cohabit.config.quote import quote, quoted_list
from cohabit.config.show_logging import logging_lines
from cohabit.config.show_resources import identity_lines, resource_lines, top_lines, user_and_groups, variables
from cohabit.plan.model import POST_START, PRE_START, PRE_STOP, Plan, Probe, Restart
from cohabit.plan.replicas import REPLICA_VARIABLE
from cohabit.units import format_duration, parse_duration, signal_name

if TYPE_CHECKING:
    from cohabit.plan.model import Hook, Service

_RESTART_CONDITIONS = {"no": "none", "on-failure": "on-failure", "always": "any"}
_DEFAULT_STATUSES = Probe("http").statuses
_DEFAULT_LOGGING = Plan({}).logging


def lines(plan: Plan) -> list[str]:
    """The lines of the file, without line ends."""
    shown = [] if plan.services else ["services: {}"]
    if plan.services:
        shown.append("services:")
        counts: dict[str, int] = {}
        for service in plan.services.values():
            counts[service.service] = counts.get(service.service, 0) + 1
        for name, count in counts.items():
            shown += _service(plan.services[name if name in plan.services else f"{name}-1"], count, plan)
    shown += [*top_lines(plan), "x-cohabit:", f"  stop_grace_period: {_duration(plan.stop_grace_seconds)}"]
    shown += [] if plan.control_gid is None else [f'  control_group: "{plan.control_gid}"']
    shown += [] if plan.logging == _DEFAULT_LOGGING else logging_lines(plan.logging, "", "  ")
    return shown + (["  mask: true"] if plan.mask else [])


def _service(service: Service, count: int, plan: Plan) -> list[str]:
    """The lines of one service. Replicas are one entry: they differ only in name and number."""
    shown = [f"  {quote(service.service)}:", f"    command: {quoted_list(service.command)}"]
    environment = variables(service, plan)
    if service.replica:
        shown.append(f"    scale: {count}")
        environment.pop(REPLICA_VARIABLE, None)
    shown += _environment(environment, "    ")
    if service.working_dir is not None:
        shown.append(f"    working_dir: {quote(service.working_dir)}")
    shown += identity_lines(service.user)
    shown += resource_lines(service)
    if service.depends_on:
        shown.append("    depends_on:")
        needs = {plan.services[need.service].service: need for need in service.depends_on}
        for name, dependency in needs.items():
            shown += [f"      {quote(name)}:", f"        condition: {dependency.condition}"]
            shown += [] if dependency.required else ["        required: false"]
            shown += ["        restart: true"] if dependency.restart else []
    shown += _restart(service.restart)
    shown.append(f"    stop_signal: {signal_name(service.stop_signal).replace('signal ', '')}")
    shown.append(f"    stop_grace_period: {_duration(service.stop_grace_seconds)}")
    shown.append(f"    essential: {'true' if service.essential else 'false'}")
    if service.probe:
        shown += _probe(service.probe)
    shown += _job(service)
    for stage in (PRE_START, POST_START, PRE_STOP):
        shown += [f"    {stage}:"] if service.hooks(stage) else []
        for hook in service.hooks(stage):
            shown += _hook(hook)
    return shown + logging_lines(service.logging, service.multiline_pattern, "    ")


def _restart(restart: Restart) -> list[str]:
    """The short form if it can express the policy, otherwise deploy.restart_policy."""
    if restart == Restart(restart.condition, restart.attempts):
        attempts = f":{restart.attempts}" if restart.attempts is not None else ""
        if not attempts or restart.condition == "on-failure":
            return [f"    restart: {quote(restart.condition + attempts)}"]
    shown = ["    deploy:", "      restart_policy:"]
    shown.append(f"        condition: {_RESTART_CONDITIONS[restart.condition]}")
    if restart.delay_seconds is not None:
        shown.append(f"        delay: {_duration(restart.delay_seconds)}")
    if restart.attempts is not None:
        shown.append(f"        max_attempts: {restart.attempts}")
    window = 0.0 if restart.window_seconds == math.inf else restart.window_seconds
    return [*shown, f"        window: {_duration(window)}"]


def _environment(variables: dict[str, str | None], indent: str) -> list[str]:
    shown = [
        f"{indent}  {quote(name, interpolated=False)}: {'null' if value is None else quote(value)}"
        for name, value in variables.items()
    ]
    return [f"{indent}environment:", *shown] if shown else []


def _job(service: Service) -> list[str]:
    shown = []
    if service.schedule:
        cron, zone = quote(service.schedule.cron), service.schedule.zone
        shown.append(f"    schedule: {f'{{cron: {cron}, timezone: {quote(zone)}}}' if zone else cron}")
    if service.pid_file:
        shown.append(f"    pid_file: {quote(service.pid_file)}")
    shown += ["    tty: true"] if service.tty else []
    return shown + (["    stdin_open: true"] if service.stdin else [])


def _hook(hook: Hook) -> list[str]:
    shown = [f"      - command: {quoted_list(hook.command)}", *_environment(hook.environment, "        ")]
    if hook.working_dir is not None:
        shown.append(f"        working_dir: {quote(hook.working_dir)}")
    if hook.user is not None:
        shown.append(f"        user: {quote(user_and_groups(hook.user)[0])}")
    return shown


def _probe(probe: Probe) -> list[str]:
    rules = {
        "interval": probe.interval_seconds if probe.kind != "notify" else probe.watchdog_seconds,
        "timeout": probe.timeout_seconds,
        "start_period": probe.start_period_seconds,
        "start_interval": probe.start_interval_seconds,
    }
    return [
        "    healthcheck:",
        f"      test: {quoted_list(_test(probe))}",
        *(f"      {key}: {_duration(seconds)}" for key, seconds in rules.items() if seconds),
        f"      retries: {probe.retries}",
        f"      on_failure: {probe.on_failure}",
    ]


def _test(probe: Probe) -> tuple[str, ...]:
    """The elements of healthcheck.test."""
    match probe.kind:
        case "exec":
            return ("CMD", *probe.command)
        case "unix":
            return ("UNIX", probe.socket)
        case "log":
            return ("LOG", probe.pattern)
        case "notify":
            return ("NOTIFY",)
        case "fd":
            return ("FD", str(probe.fd))
    address = f"[{probe.host}]:{probe.port}" if ":" in probe.host else f"{probe.host}:{probe.port}"
    if probe.kind == "tcp":
        return ("TCP", address)
    target = f"unix:{probe.socket}:{probe.path}" if probe.socket else f"http://{address}{probe.path}"
    statuses = ",".join(f"{first}-{last}" if first != last else str(first) for first, last in probe.statuses)
    status = () if probe.statuses == _DEFAULT_STATUSES else (f"status={statuses}",)
    return ("HTTP", target, *status, *(f"{name}: {value}" for name, value in probe.headers))


def _duration(seconds: float) -> str:
    """A duration that is read back as exactly the same number."""
    short = format_duration(seconds)
    if short and parse_duration(short) == seconds:
        return short
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"
