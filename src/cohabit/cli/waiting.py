"""Shared by the commands whose answer comes when something is done: the timeout, and a notice about what is pending.

The timeout is the client's own: when it expires, the running cohabit carries on with the request.
"""

from __future__ import annotations

import json

from cohabit.cli import client
from cohabit.cli.options import Option, whole_seconds
from cohabit.client import NoAnswerError
from cohabit.errors import CohabitError, UsageError
from cohabit.reactor.linux import os
from cohabit.units import format_duration, parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from cohabit.cli.options import Command
    from cohabit.client import Answer

TIMEOUT = Option(("--wait-timeout",), "wait at most this long (30s, 5m; 0: do not wait; default: no limit)", "DURATION")
GRACE = Option(("-t", "--timeout"), "the grace period, in whole seconds, instead of that in the file", "SECONDS")
EXIT_TIMEOUT = 1
_TIMEOUT_MAX_SECONDS = 2_000_000.0  # poll(2) counts milliseconds in an int
_IMMEDIATE_SECONDS = 1.0  # --wait-timeout 0: time for an answer that needs no waiting
_SHOWN = 3  # services in a line


def parse_timeout(command: Command, values: dict[str, Any]) -> float | None:
    """Seconds of --wait-timeout, None for no limit. Raises UsageError."""
    if values["wait_timeout"] is None:
        return None
    try:
        return min(parse_duration(values["wait_timeout"]), _TIMEOUT_MAX_SECONDS)
    except ValueError as error:
        raise UsageError(f"cannot {command.name}: {error}") from error


def grace(command: Command, values: dict[str, Any]) -> list[str]:
    """The option of the request for -t. Raises UsageError."""
    text = values.get("timeout")
    return [] if text is None else [f"grace={whole_seconds(command, text):g}"]


def request(
    command: Command, values: dict[str, Any], name: str, arguments: Sequence[str], services: Sequence[str]
) -> Answer | None:
    """Send a request and wait; returns the answer, None when the timeout expired first.

    services: those that are waited for, [] for all of them (`wait`), or for the reading of the file. If stderr is a
    terminal, one line says what is pending when the answer takes long. Raises UsageError, ConnectionFailedError.
    """
    seconds = parse_timeout(command, values)

    def notice() -> None:
        client.write(f"cohabit: still waiting: {_pending_text(command, values, services)}\n", 2)

    interactive = os.isatty(2) and not values["json"]
    try:
        return client.connect(command, values).request(
            name,
            arguments,
            timeout=_IMMEDIATE_SECONDS if seconds == 0 else seconds,
            notice=notice if interactive else None,
        )
    except NoAnswerError:
        if seconds is None:
            raise  # the request itself was not accepted
        return None


def print_timeout(command: Command, values: dict[str, Any], services: Sequence[str], goal: str, hint: str) -> int:
    """Print that no answer came in time: what was waited for, and what to do. Returns the exit code."""
    seconds = parse_timeout(command, values)
    after = f" after {format_duration(seconds)}" if seconds else ""
    text = f"{_joined(services)}: timed out{after} waiting for {goal} ({hint})"
    if values["json"]:
        client.write(json.dumps({"code": EXIT_TIMEOUT, "text": text}) + "\n")
    else:
        client.write(f"cohabit: cannot {command.name}: {text}\n", 2)
    return EXIT_TIMEOUT


def _pending_text(command: Command, values: dict[str, Any], services: Sequence[str]) -> str:
    if not services and command.name != "wait":
        return "the file is being read"
    cohabit = client.connect(command, values)
    until_ended = command.name == "stop" or values.get("for") == "exit"
    try:
        if not until_ended:
            health = cohabit.health(*services)
            if not health.passed and health.text:
                return health.text
        found = cohabit.status(*services).services
    except CohabitError:
        return _joined(services or ["all services"])
    pending = [one for one in found if one.pids or one.state == "STOPPING"] if until_ended else found
    return _joined([f"{one.name} is {one.state}" for one in pending] or services)


def _joined(texts: Sequence[str]) -> str:
    if len(texts) > _SHOWN:
        return f"{', '.join(texts[:_SHOWN])} and {len(texts) - _SHOWN} more"
    return " and ".join(texts)
