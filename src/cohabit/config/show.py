"""A Plan -> the lines of a cohabit file that means the same, with everything resolved and nothing implied.

For `cohabit config`. Every string is in double quotes, so that no value can turn into another on its way
back; environment and users are shown as they were found here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cohabit.config.user import identity
from cohabit.plan.model import Restart
from cohabit.units import format_duration, parse_duration, signal_name

if TYPE_CHECKING:
    from cohabit.plan.model import Identity, Plan, Probe, Service

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "$": "$$"}
_RESTART_CONDITIONS = {"no": "none", "on-failure": "on-failure", "always": "any"}


def lines(plan: Plan) -> list[str]:
    """The whole file, line by line."""
    shown = [] if plan.services else ["services: {}"]
    if plan.services:
        shown.append("services:")
        for service in plan.services.values():
            shown += _service(service)
    return [*shown, "x-cohabit:", f"  stop_grace_period: {_duration(plan.stop_grace_seconds)}"]


def _service(service: Service) -> list[str]:
    shown = [f"  {_quote(service.name)}:", f"    command: {_list(service.command)}"]
    if service.environment:
        shown.append("    environment:")
        shown += [
            f"      {_quote(name, interpolated=False)}: {'null' if value is None else _quote(value)}"
            for name, value in service.environment.items()
        ]
    if service.working_dir is not None:
        shown.append(f"    working_dir: {_quote(service.working_dir)}")
    if service.user is not None:
        shown.append(f"    user: {_quote(_user(service.user))}")
    if service.depends_on:
        shown.append("    depends_on:")
        for dependency in service.depends_on:
            shown += [f"      {_quote(dependency.service)}:", f"        condition: {dependency.condition}"]
            shown += [] if dependency.required else ["        required: false"]
    shown += _restart(service.restart)
    shown.append(f"    stop_signal: {signal_name(service.stop_signal).replace('signal ', '')}")
    shown.append(f"    stop_grace_period: {_duration(service.stop_grace_seconds)}")
    shown.append(f"    essential: {'true' if service.essential else 'false'}")
    if service.probe:
        shown += _probe(service.probe)
    return [*shown, f"    logging: {{driver: {service.driver}}}"]


def _restart(restart: Restart) -> list[str]:
    """The short form where it can say it all."""
    if restart == Restart(restart.condition, restart.attempts):
        attempts = f":{restart.attempts}" if restart.attempts is not None else ""
        if not attempts or restart.condition == "on-failure":
            return [f"    restart: {_quote(restart.condition + attempts)}"]
    shown = ["    deploy:", "      restart_policy:"]
    shown.append(f"        condition: {_RESTART_CONDITIONS[restart.condition]}")
    if restart.delay_seconds is not None:
        shown.append(f"        delay: {_duration(restart.delay_seconds)}")
    if restart.attempts is not None:
        shown.append(f"        max_attempts: {restart.attempts}")
    window = 0.0 if restart.window_seconds == math.inf else restart.window_seconds
    return [*shown, f"        window: {_duration(window)}"]


def _probe(probe: Probe) -> list[str]:
    address = f"[{probe.host}]:{probe.port}" if ":" in probe.host else f"{probe.host}:{probe.port}"
    where = address if probe.kind == "tcp" else f"http://{address}{probe.path}"
    return [
        "    healthcheck:",
        f"      test: {_list((probe.kind.upper(), where))}",
        f"      timeout: {_duration(probe.timeout_seconds)}",
        f"      start_interval: {_duration(probe.start_interval_seconds)}",
    ]


def _user(user: Identity) -> str:
    """The first way to write a user that leads back to it."""
    for written in (user.name, str(user.uid), f"{user.name}:{user.gid}", f"{user.uid}:{user.gid}"):
        try:
            if written and identity(written) == user:
                return written
        except LookupError:
            continue
    return f"{user.uid}:{user.gid}"


def _duration(seconds: float) -> str:
    """A duration that reads back as exactly the same number."""
    short = format_duration(seconds)
    if short and parse_duration(short) == seconds:
        return short
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def _list(words: tuple[str, ...]) -> str:
    return f"[{', '.join(map(_quote, words))}]"


def _quote(text: str, *, interpolated: bool = True) -> str:
    """A YAML string in double quotes; what cannot be seen is escaped, and $ is doubled where it would count."""
    shown = []
    for letter in text:
        if letter in _ESCAPES and (interpolated or letter != "$"):
            shown.append(_ESCAPES[letter])
        elif letter.isprintable() or "\udc80" <= letter <= "\udcff":  # a byte that is no UTF-8 stays what it is
            shown.append(letter)
        else:
            number = ord(letter)
            shown.append(f"\\x{number:02x}" if number < 0x100 else f"\\U{number:08x}")  # noqa: PLR2004 - two digits
    return f'"{"".join(shown)}"'
