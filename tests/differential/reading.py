"""The two readings of a case in one form: {"service": {"command": […], "environment": {…}, …}}, None for an error."""

import contextlib
import os
import re
import tempfile
from collections.abc import Sequence
from typing import Any

from cohabit.config.readers.registry import read
from cohabit.plan.build import build
from cohabit.plan.draft import Draft, DraftService
from cohabit.units import parse_duration, parse_signal
from differential.oracle import Case

# The defaults of what Compose leaves out.
_GRACE, _SIGNAL = 10.0, "SIGTERM"
# Compose does not know what the image has, and not the users of the machine.
_NOT_COMPARED = ("no command", "command is empty", "the program name is empty", "unknown user", "unknown group")


def theirs(answer: dict[str, Any] | None) -> dict[str, dict[str, Any]] | None:
    """Compose's answer."""
    return None if answer is None else {name: _their_service(one) for name, one in answer["services"].items()}


def ours(case: Case, files: Sequence[str] = ("compose.yaml",)) -> dict[str, dict[str, Any]] | None:
    """What cohabit makes of a case. files: none for those that are found."""
    draft, errors = drafted(case, files)
    return None if errors else {name: _our_service(one) for name, one in draft.services.items()}


def active(case: Case, files: Sequence[str] = ("compose.yaml",)) -> dict[str, dict[str, Any]] | None:
    """What cohabit makes of the services that take part in a case. files: none for those of the environment."""
    draft, errors = drafted(case, files)
    plan = None if errors else build(draft, (), draft.profiles)[0]
    return {name: _our_service(draft.services[name]) for name in plan.services} if plan else None


def drafted(case: Case, files: Sequence[str] = ("compose.yaml",)) -> tuple[Draft, list[str]]:
    """The Draft of a case, and its errors."""
    with tempfile.TemporaryDirectory() as directory, contextlib.chdir(directory):
        case.write(directory)
        draft = read({"files": files}, {"HOME": "/root", "PATH": os.defpath, **case.environ})
    problems = [problem.text for problem in draft.problems if not problem.warning]
    return draft, [text for text in problems if not any(part in text for part in _NOT_COMPARED)]


def _their_service(one: dict[str, Any]) -> dict[str, Any]:
    keys = {
        "command": _literal((one.get("entrypoint") or []) + (one.get("command") or [])),
        "environment": _literal(one.get("environment") or {}),
        "working_dir": _literal(one.get("working_dir") or ""),
        "restart": _their_restart(one),
        "signal": parse_signal(one.get("stop_signal") or _SIGNAL),
        "grace": parse_duration(one["stop_grace_period"]) if one.get("stop_grace_period") else _GRACE,
        "depends_on": {
            name: (need["condition"], need.get("required", True), need.get("restart", False))
            for name, need in (one.get("depends_on") or {}).items()
        },
        "test": _their_test(one.get("healthcheck") or {}),
        "replicas": one.get("scale", (one.get("deploy") or {}).get("replicas")),
        "profiles": one.get("profiles") or [],
        "flags": (bool(one.get("tty")), bool(one.get("stdin_open"))),
        "watch": [_their_rule(rule) for rule in (one.get("develop") or {}).get("watch") or ()],
    }
    for kind, mode in (("secrets", "/run/secrets/"), ("configs", "/")):
        keys[kind] = [
            (mount["source"], os.path.join(mode, mount.get("target") or mount["source"]), mount.get("mode"))
            for mount in one.get(kind) or ()
        ]
    return keys


def _their_rule(rule: dict[str, Any]) -> tuple[Any, ...]:
    """Its path is below the directory of the case, which differs; Compose does not clean paths."""
    rule = _literal(rule)
    target = os.path.normpath(f"/{rule['target'].lstrip('/')}") if rule.get("target") else ""
    return (
        rule["action"],
        _place(rule["path"]),
        target,
        rule.get("ignore") or [],
        (rule.get("exec") or {}).get("command"),
    )


def _place(path: str) -> str:
    """A path without the directory of the case."""
    return re.sub(r"^/tmp/tmp[^/]*(/\d{4}(?=/|$))?", "", os.path.normpath(path))


def _literal(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_literal(item) for item in value]
    return value.replace("$$", "$") if isinstance(value, str) else value


def _their_restart(one: dict[str, Any]) -> tuple[str, int | None]:
    policy = (one.get("deploy") or {}).get("restart_policy")
    words = {"none": "no", "any": "always", "unless-stopped": "always"}
    if policy:
        condition = policy.get("condition") or "any"
        return words.get(condition, condition), policy.get("max_attempts")
    condition, _, attempts = (one.get("restart") or "no").partition(":")
    return words.get(condition, condition), int(attempts) if attempts else None


def _their_test(check: dict[str, Any]) -> Any:
    test = _literal(check.get("test") or [])
    if check.get("disable") or test[:1] in ([], ["NONE"]):
        return None
    times = {key: parse_duration(check[key]) for key in ("interval", "timeout", "start_period") if check.get(key)}
    command = test[1:] if test[0] == "CMD" else ["/bin/sh", "-c", *test[1:]]
    return command, {"interval": 30.0, "timeout": 30.0, "start_period": 0.0, **times}, check.get("retries") or 3


def _our_service(item: DraftService) -> dict[str, Any]:
    one = item.service
    probe = one.probe
    keys: dict[str, Any] = {
        "command": list(one.command),
        "environment": dict(one.environment),
        "working_dir": one.working_dir or "",
        "restart": (one.restart.condition, one.restart.attempts),
        "signal": one.stop_signal,
        "grace": one.stop_grace_seconds,
        "depends_on": {need.service: (need.condition, need.required, need.restart) for need in one.depends_on},
        "test": probe
        and (
            list(probe.command),
            {
                "interval": probe.interval_seconds,
                "timeout": probe.timeout_seconds,
                "start_period": probe.start_period_seconds,
            },
            probe.retries,
        ),
        "replicas": item.replicas,
        "profiles": list(item.profiles),
        "flags": (one.tty, one.stdin),
        "watch": [
            (
                rule.action,
                _place(rule.path),
                rule.target,
                list(rule.ignore),
                rule.command and list(rule.command.command),
            )
            for rule in one.watch
        ],
    }
    for kind in ("secrets", "configs"):
        keys[kind] = [(mount.source, mount.target, mount.mode) for mount in getattr(one, kind)]
    return keys
