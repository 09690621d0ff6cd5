"""A Plan -> the content of a cohabit file with the same meaning, everything resolved and important defaults added.

Environment and users are those of this machine. Every string that a reader interpolates has its `$` doubled.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cohabit.config.keys.conditions import write_conditions
from cohabit.config.writers.logging import write_logging
from cohabit.config.writers.resources import (
    kept_variables,
    literal,
    literals,
    user_and_groups,
    write_declared,
    write_resources,
    write_user,
    write_variables,
)
from cohabit.plan.model import GRANTED, HOOK_STAGES, MIXED, LogFile, Plan, Probe, Restart
from cohabit.units import format_duration, parse_duration, signal_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cohabit.plan.model import Dependency, EnvFile, Hook, Schedule, Service, Watch

_RESTART_CONDITIONS = {"no": "none", "on-failure": "on-failure", "always": "any"}
_NO_USERS: Mapping[str, str] = {}
_DEFAULT_STATUSES = Probe("http").statuses
_DEFAULT_LOGGING = Plan({}).logging


def plan_to_compose(plan: Plan, users: Mapping[str, str] = _NO_USERS) -> dict[str, Any]:
    """The file as dicts, lists, strings, numbers, booleans and None. users: the texts of `user`, by service."""
    counts: dict[str, int] = {}
    for service in plan.services.values():
        counts[service.service] = counts.get(service.service, 0) + 1
    services = {
        name: _service(plan.services[name if name in plan.services else f"{name}-1"], count, plan, users.get(name, ""))
        for name, count in counts.items()
    }
    settings: dict[str, Any] = {"stop_grace_period": _duration(plan.stop_grace_seconds)}
    if plan.control_gid is not None:
        settings["control_group"] = str(plan.control_gid)
    if plan.logging != _DEFAULT_LOGGING:
        settings["logging"] = write_logging(plan.logging, "")
    if plan.mask:
        settings["mask"] = True
    declared = {kind: write_declared(getattr(plan, kind)) for kind in GRANTED if getattr(plan, kind)}
    return {"services": services, **declared, "x-cohabit": settings}


def _service(service: Service, count: int, plan: Plan, user: str) -> dict[str, Any]:
    """One service. Replicas are one entry: they differ only in name and number."""
    keys: dict[str, Any] = {
        "command": literals(service.command),
        "scale": count if service.replica else None,
        "environment": write_variables(service, plan),
        "env_file": [_env_file(file) for file in service.env_files],
        "path_variables": kept_variables(service),
        "working_dir": None if service.working_dir is None else literal(service.working_dir),
        **write_user(service.user, user),
        **write_resources(service),
        "depends_on": {plan.services[need.service].service: _dependency(need) for need in service.depends_on},
        "conditions": {kind: literals(texts) for kind, texts in write_conditions(service.conditions).items()},
        **_restart(service.restart),
        "stop_signal": _signal(service.stop_signal),
        "stop_grace_period": _duration(service.stop_grace_seconds),
        "kill_mode": None if service.kill_mode == MIXED else service.kill_mode,
        "setsid": None if service.setsid else False,
        "autostart": None if service.autostart else False,
        "essential": None if service.essential and not service.ends_on_success else service.essential,
        "healthcheck": _probe(service.probe) if service.probe else None,
        "schedule": _schedule(service.schedule) if service.schedule else None,
        "pid_file": literal(service.pid_file),
        "remove_before_start": literals(service.stale_files),
        "tty": service.tty or None,
        "stdin_open": service.stdin or None,
        **{stage: [_hook(hook) for hook in service.hooks(stage)] for stage in HOOK_STAGES},
        "log_files": [_log_file(file) for file in service.log_files],
        "develop": {"watch": [_watch(rule) for rule in service.watch]} if service.watch else None,
        "logging": write_logging(service.logging, service.multiline_pattern),
    }
    return _written(keys)


def _written(keys: dict[str, Any]) -> dict[str, Any]:
    """Without keys that say nothing: None, an empty text, map or list."""
    return {key: value for key, value in keys.items() if value not in (None, "", {}, [])}


def _log_file(file: LogFile) -> str | dict[str, Any]:
    """The short form if it can express the stream."""
    path = literal(file.path)
    return path if file.stream == LogFile(file.path).stream else {"path": path, "stream": file.stream}


def _env_file(file: EnvFile) -> dict[str, Any]:
    keys = {"path": literal(file.path), "required": None if file.required else False, "read": "start"}
    return _written({**keys, "format": "raw" if file.raw else None})


def _dependency(dependency: Dependency) -> dict[str, Any]:
    keys: dict[str, Any] = {"condition": dependency.condition}
    if not dependency.required:
        keys["required"] = False
    if dependency.restart:
        keys["restart"] = True
    return keys


def _restart(restart: Restart) -> dict[str, Any]:
    """The short form if it can express the policy, otherwise deploy.restart_policy."""
    if restart == Restart(restart.condition, restart.attempts):
        attempts = f":{restart.attempts}" if restart.attempts is not None else ""
        if not attempts or restart.condition == "on-failure":
            return {"restart": restart.condition + attempts}
    policy = {
        "condition": _RESTART_CONDITIONS[restart.condition],
        "delay": None if restart.delay_seconds is None else _duration(restart.delay_seconds),
        "max_attempts": restart.attempts,
        "window": _duration(0.0 if restart.window_seconds == math.inf else restart.window_seconds),
    }
    return {"deploy": {"restart_policy": _written(policy)}}


def _signal(number: int) -> str | int:
    name = signal_name(number)
    return name if name.startswith("SIG") else number


def _schedule(schedule: Schedule) -> Any:
    cron = literal(schedule.cron)
    return {"cron": cron, "timezone": literal(schedule.zone)} if schedule.zone else cron


def _hook(hook: Hook) -> dict[str, Any]:
    keys = {
        "command": literals(hook.command),
        "environment": {name: literal(value) for name, value in hook.environment.items()},
        "working_dir": literal(hook.working_dir),
        "user": None if hook.user is None else literal(user_and_groups(hook.user)[0]),
    }
    return _written(keys)


def _watch(rule: Watch) -> dict[str, Any]:
    keys = {
        "path": literal(rule.path),
        "action": rule.action,
        "target": literal(rule.target),
        "ignore": literals(rule.ignore),
        "include": literals(rule.include),
        "exec": rule.command and _hook(rule.command),
        "initial_sync": rule.initial_sync or None,
    }
    return _written(keys)


def _probe(probe: Probe) -> dict[str, Any]:
    rules = {
        "interval": probe.interval_seconds if probe.kind != "notify" else probe.watchdog_seconds,
        "timeout": probe.timeout_seconds,
        "start_period": probe.start_period_seconds,
        "start_interval": probe.start_interval_seconds,
    }
    return {
        "test": literals(_test(probe)),
        **{key: _duration(seconds) for key, seconds in rules.items() if seconds},
        "retries": probe.retries,
        "on_failure": probe.on_failure,
    }


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
