"""A service's `healthcheck` -> plan.model.Probe. Pure.

Keys and timing are Docker's. The kinds of probe other than CMD and CMD-SHELL are those of Kubernetes, systemd and s6
(docs/reference/health.md). address.py parses the addresses.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cohabit.config.values.address import http_probe, tcp_probe, unix_probe
from cohabit.config.values.pattern import check_pattern
from cohabit.lazy_pattern import lazy_pattern
from cohabit.nearest import did_you_mean
from cohabit.plan.model import Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from cohabit.config.keys.fields import HealthcheckKeys

    class Report(Protocol):
        """A function that receives diagnostics of keys."""

        def __call__(self, key: str, text: str, *, warning: bool = False) -> None:
            """Add one diagnostic."""


SHELL = ("/bin/sh", "-c")
_COMMAND_START_INTERVAL_SECONDS = 0.5  # starting a process costs more than a connection
_SHORTEST_SECONDS = 0.001  # as in Docker
_FIRST_FD, _LAST_FD = 3, 1023
_STATUS = lazy_pattern(r"([1-5][0-9][0-9])(?:-([1-5][0-9][0-9]))?", re.ASCII)
# RFC 9110: a name is a token, a value has no control characters; kept to ASCII, as the request is.
_HEADER = lazy_pattern(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([!-~](?:[ \t!-~]*[!-~])?)?[ \t]*", re.ASCII)


def read_probe(check: HealthcheckKeys | None, report: Report) -> Probe | None:
    """The probe; None if there is none or it is invalid. report(key, text) receives each diagnostic."""
    if check is None or check.disable or not check.test:
        return None
    test = ["CMD-SHELL", check.test] if isinstance(check.test, str) else check.test
    kind = "NONE" if check.test == "NONE" else test[0] if test else ""
    if kind == "NONE":
        return None
    if kind not in KINDS:
        hint = did_you_mean(kind, (*KINDS, "NONE"))
        report("test", f"unknown kind {kind[:40]!r}: expected {', '.join(KINDS)} or NONE{hint}")
        return None
    try:
        probe = KINDS[kind](test[1:])
    except ValueError as error:
        report("test", str(error))
        return None
    if kind == "CMD-SHELL" and len(test) > len(("CMD-SHELL", "text")):
        text = "the shell runs only the first text, the others are its $0, $1 and so on, as in Docker"
        report("test", f"{text} (write one text, or CMD)", warning=True)
    return probe.replace(**_rules(probe, check, report))


def _rules(probe: Probe, check: HealthcheckKeys, report: Report) -> dict[str, Any]:
    """The timing fields that are written; zero means the default, as in Docker."""
    rules: dict[str, Any] = {}
    for key in ("interval", "timeout", "start_interval", "start_period"):
        seconds = getattr(check, key)
        if seconds and seconds < _SHORTEST_SECONDS:
            report(key, "must be at least 1ms")
        elif seconds:
            rules[f"{key}_seconds"] = float(seconds)
    if probe.kind == "notify" and "interval_seconds" in rules:
        rules["watchdog_seconds"] = rules["interval_seconds"]
    if check.retries:
        rules["retries"] = int(check.retries)
    if check.on_failure:
        rules["on_failure"] = check.on_failure
    return rules


def _exec(arguments: Sequence[str]) -> Probe:
    if not arguments or not arguments[0]:
        raise ValueError("CMD needs a program and its arguments")
    return Probe("exec", command=tuple(arguments), start_interval_seconds=_COMMAND_START_INTERVAL_SECONDS)


def _shell(arguments: Sequence[str]) -> Probe:
    if not arguments or not arguments[0].strip():
        raise ValueError("the command is empty")
    return _exec((*SHELL, *arguments))


def _tcp(arguments: Sequence[str]) -> Probe:
    return tcp_probe(_one("TCP", "one address", arguments))


def _unix(arguments: Sequence[str]) -> Probe:
    return unix_probe(_one("UNIX", "one path", arguments))


def _http(arguments: Sequence[str]) -> Probe:
    """arguments: the address, then any of "status=200-204,401" and "Header: value"."""
    probe = http_probe(_one("HTTP", "one address", arguments[:1]))
    headers: list[tuple[str, str]] = []
    statuses: list[tuple[int, int]] = []
    for argument in arguments[1:]:
        if argument.startswith("status="):
            statuses += [_status(part.strip()) for part in argument.removeprefix("status=").split(",")]
        elif found := _HEADER.fullmatch(argument):
            headers.append((found[1], found[2] or ""))
        else:
            raise ValueError(f"{argument[:60]!r} is neither a header (Name: value) nor status=200-399")
    return probe.replace(headers=tuple(headers), statuses=tuple(statuses) or probe.statuses)


def _status(text: str) -> tuple[int, int]:
    found = _STATUS.fullmatch(text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if first > last:
        raise ValueError(f"{text[:40]!r} is not a status code or range (write status=200-399,401)")
    return first, last


def _log(arguments: Sequence[str]) -> Probe:
    pattern = check_pattern(_one("LOG", "one regular expression", arguments), "any output would match")
    return Probe("log", pattern=pattern)


def _notify(arguments: Sequence[str]) -> Probe:
    if arguments:
        raise ValueError(f"NOTIFY takes no arguments, got {len(arguments)}")
    return Probe("notify")


def _fd(arguments: Sequence[str]) -> Probe:
    digits = _one("FD", "one number", arguments)
    number = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= len(str(_LAST_FD)) else 0
    if not _FIRST_FD <= number <= _LAST_FD:
        raise ValueError(f"FD takes a descriptor number from {_FIRST_FD} to {_LAST_FD}, got {digits[:20]!r}")
    return Probe("fd", fd=number)


def _one(kind: str, what: str, arguments: Sequence[str]) -> str:
    """The single argument of a kind."""
    if len(arguments) != 1:
        raise ValueError(f"{kind} takes {what}, got {len(arguments)}")
    return arguments[0]


KINDS: dict[str, Callable[[Sequence[str]], Probe]] = {
    "CMD": _exec,
    "CMD-SHELL": _shell,
    "HTTP": _http,
    "TCP": _tcp,
    "UNIX": _unix,
    "LOG": _log,
    "NOTIFY": _notify,
    "FD": _fd,
}
