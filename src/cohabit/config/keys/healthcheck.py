"""A service's `healthcheck` -> plan.model.Probe: what is asked, and when.

Keys and rules of time are Docker's, kinds beside CMD and CMD-SHELL are Kubernetes', systemd's and s6's
(docs/reference/health.md). Where a probe knocks is address.py's. Pure; what is wrong is told to `tell`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cohabit.config.values.address import http_probe, tcp_probe, unix_probe
from cohabit.config.values.pattern import check_pattern
from cohabit.plan.model import Probe
from cohabit.plan.nearest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cohabit.config.keys.fields import HealthcheckKeys

SHELL = ("/bin/sh", "-c")
_COMMAND_START_INTERVAL_SECONDS = 0.5  # a process each time is dearer than a connection
_SHORTEST_SECONDS = 0.001  # Docker's, too
_FIRST_FD, _LAST_FD = 3, 1023
_STATUS = re.compile(r"([1-5][0-9][0-9])(?:-([1-5][0-9][0-9]))?", re.ASCII)
# RFC 9110: a name is a token, a value has no control characters; kept to ASCII, as the request is.
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([!-~](?:[ \t!-~]*[!-~])?)?[ \t]*", re.ASCII)


def read_probe(check: HealthcheckKeys | None, tell: Callable[[str, str], None]) -> Probe | None:
    """The probe, None if there is none (or what stands there makes none). tell(key, problem)."""
    if check is None or check.disable or check.test is None:
        return None
    words = ["CMD-SHELL", check.test] if isinstance(check.test, str) else check.test
    kind = "NONE" if check.test == "NONE" else words[0] if words else ""
    if kind == "NONE":
        return None
    if kind not in _KINDS:
        hint = did_you_mean(kind, (*_KINDS, "NONE"))
        tell("test", f"begins with {kind[:40]!r}, not with {', '.join(_KINDS)} or NONE{hint}")
        return None
    try:
        probe = _KINDS[kind](words[1:])
    except ValueError as error:
        tell("test", str(error))
        return None
    return probe.replace(**_rules(probe, check, tell))


def _rules(probe: Probe, check: HealthcheckKeys, tell: Callable[[str, str], None]) -> dict[str, Any]:
    """The fields that say when, as far as they were written: zero stands for the default, as in Docker."""
    rules: dict[str, Any] = {}
    for key in ("interval", "timeout", "start_interval", "start_period"):
        seconds = getattr(check, key)
        if seconds and seconds < _SHORTEST_SECONDS:
            tell(key, "must be at least 1ms")
        elif seconds:
            rules[f"{key}_seconds"] = float(seconds)
    if probe.kind == "notify" and "interval_seconds" in rules:
        rules["watchdog_seconds"] = rules["interval_seconds"]
    if check.retries:
        rules["retries"] = int(check.retries)
    if check.on_failure:
        rules["on_failure"] = check.on_failure
    return rules


def _exec(words: Sequence[str]) -> Probe:
    if not words or not words[0]:
        raise ValueError("CMD takes a program and its arguments")
    return Probe("exec", command=tuple(words), start_interval_seconds=_COMMAND_START_INTERVAL_SECONDS)


def _shell(words: Sequence[str]) -> Probe:
    text = _one("CMD-SHELL", "one string (a program and its arguments are CMD)", words)
    if not text.strip():
        raise ValueError("the command is empty")
    return _exec((*SHELL, text))


def _tcp(words: Sequence[str]) -> Probe:
    return tcp_probe(_one("TCP", "one address", words))


def _unix(words: Sequence[str]) -> Probe:
    return unix_probe(_one("UNIX", "one path", words))


def _http(words: Sequence[str]) -> Probe:
    """The address, and further words: "status=200-204,401", "Header: value"."""
    probe = http_probe(_one("HTTP", "one address", words[:1]))
    headers: list[tuple[str, str]] = []
    statuses: list[tuple[int, int]] = []
    for word in words[1:]:
        if word.startswith("status="):
            statuses += [_status(part.strip()) for part in word.removeprefix("status=").split(",")]
        elif found := _HEADER.fullmatch(word):
            headers.append((found[1], found[2] or ""))
        else:
            raise ValueError(f"{word[:60]!r} is neither a header (Name: value) nor status=200-399")
    return probe.replace(headers=tuple(headers), statuses=tuple(statuses) or probe.statuses)


def _status(text: str) -> tuple[int, int]:
    found = _STATUS.fullmatch(text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if first > last:
        raise ValueError(f"{text[:40]!r} is no status code or range (write status=200-399,401)")
    return first, last


def _log(words: Sequence[str]) -> Probe:
    pattern = check_pattern(_one("LOG", "one regular expression", words), "any output would do")
    return Probe("log", pattern=pattern)


def _notify(words: Sequence[str]) -> Probe:
    if words:
        raise ValueError(f"NOTIFY stands alone, got {len(words)} more")
    return Probe("notify")


def _fd(words: Sequence[str]) -> Probe:
    digits = _one("FD", "one number", words)
    number = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= len(str(_LAST_FD)) else 0
    if not _FIRST_FD <= number <= _LAST_FD:
        raise ValueError(f"FD takes a descriptor's number from {_FIRST_FD} to {_LAST_FD}, got {digits[:20]!r}")
    return Probe("fd", fd=number)


def _one(kind: str, what: str, words: Sequence[str]) -> str:
    """The one word that a kind takes."""
    if len(words) != 1:
        raise ValueError(f"{kind} takes {what}, got {len(words)}")
    return words[0]


_KINDS: dict[str, Callable[[Sequence[str]], Probe]] = {
    "CMD": _exec,
    "CMD-SHELL": _shell,
    "HTTP": _http,
    "TCP": _tcp,
    "UNIX": _unix,
    "LOG": _log,
    "NOTIFY": _notify,
    "FD": _fd,
}
