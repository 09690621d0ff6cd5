"""What the verbs share whose answer comes when something is done: how long to wait, and a word about what for.

The time is the client's own: when it is up, the running cohabit goes on with what it was asked to do.
"""

from __future__ import annotations

import json

from cohabit.cli import client, discovery
from cohabit.cli.options import Option
from cohabit.errors import CohabitError, UsageError
from cohabit.reactor.linux import os
from cohabit.units import format_duration, parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from cohabit.cli.connection import Answer
    from cohabit.cli.options import Command

TIMEOUT = Option(("--timeout",), "give up after this long (30s, 5m; 0: only look; default: never)", "DURATION")
TIME_IS_UP = 1
_LONGEST_SECONDS = 2_000_000.0  # poll(2) counts milliseconds in an int
_LOOK_SECONDS = 1.0  # for what is answered at once: 0 is no time at all
_SHOWN = 3  # services in a line


def parse_timeout(verb: Command, values: dict[str, Any]) -> float | None:
    """Seconds of --timeout, None for no end. Raises UsageError."""
    if values["timeout"] is None:
        return None
    try:
        return min(parse_duration(values["timeout"]), _LONGEST_SECONDS)
    except ValueError as error:
        raise UsageError(f"cannot {verb.name}: {error}") from error


def ask(
    verb: Command, values: dict[str, Any], request: str, words: Sequence[str], services: Sequence[str]
) -> Answer | None:
    """The answer, None when the time was up before it came; who looks on learns what for it takes so long.

    services: those that are waited for, [] for the reading of the file. Raises UsageError, ConnectionFailedError.
    """
    seconds = parse_timeout(verb, values)

    def tell() -> None:
        client.write(f"cohabit: still waiting: {_what_for(verb, values, services)}\n", 2)

    looks_on = os.isatty(2) and not values["json"]
    try:
        return client.ask(
            verb,
            values,
            request,
            words,
            seconds=_LOOK_SECONDS if seconds == 0 else seconds,
            notice=tell if looks_on else None,
        )
    except discovery.SilentError:
        if seconds is None:
            raise  # it did not even take the request
        return None


def time_is_up(verb: Command, values: dict[str, Any], services: Sequence[str], what: str, then: str) -> int:
    """Say so: what is not yet, and what to do then. Returns the exit code."""
    seconds = parse_timeout(verb, values)
    after = f" after {format_duration(seconds)}" if seconds else ""
    text = f"{_listed(services)}: {what}{after} ({then})"
    if values["json"]:
        client.write(json.dumps({"code": TIME_IS_UP, "text": text}) + "\n")
    else:
        client.write(f"cohabit: cannot {verb.name}: {text}\n", 2)
    return TIME_IS_UP


def _what_for(verb: Command, values: dict[str, Any], services: Sequence[str]) -> str:
    if not services:
        return "the file is being read"
    down = verb.name == "stop" or values.get("for") == "exit"
    try:
        if not down:
            answer = client.ask(verb, values, "health", services)
            if answer.code == 1 and answer.text:
                return answer.text
        found = client.status(verb, values, services)[1]
    except CohabitError:
        return _listed(services)
    left = [one for one in found if one["pids"] or one["state"] == "STOPPING"] if down else found
    return _listed([f"{one['name']} is {one['state']}" for one in left] or services)


def _listed(words: Sequence[str]) -> str:
    if len(words) > _SHOWN:
        return f"{', '.join(words[:_SHOWN])} and {len(words) - _SHOWN} more"
    return " and ".join(words)
