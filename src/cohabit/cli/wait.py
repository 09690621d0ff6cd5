"""`cohabit wait`: until services are ready, or have ended; the time that this may take is counted here."""

from __future__ import annotations

import json

from cohabit.cli import talk
from cohabit.cli.connection import SilentError
from cohabit.cli.options import Option, Verb
from cohabit.errors import UsageError
from cohabit.units import format_duration, parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import Given

VERB = Verb(
    "wait",
    "[--for ready|exit] [--timeout DURATION] SERVICE...",
    "Wait until services are ready (the default), or until they have ended.",
    (
        Option(("--for",), "what to wait for (default: ready)", "ready|exit"),
        Option(("--timeout",), "give up after this long (30s, 5m; default: never)", "DURATION"),
        *talk.ALWAYS,
    ),
    details="With --for exit the exit code is that of the service, as with `docker wait`; of several, the last one's.",
    exits=(
        ("0", "all are ready"),
        ("1", "one has failed for good, or the time is up"),
        ("n", "with --for exit: the exit code of the service"),
        *talk.EXITS,
    ),
    examples=(
        ("cohabit wait db --timeout 1m && ./migrate", "run something once the database is ready"),
        ("cohabit wait --for exit migrate", "end with the exit code of a job"),
    ),
)
_TIME_IS_UP = 1
_LONGEST_SECONDS = 2_000_000.0  # poll(2) counts milliseconds in an int


def main(given: Given, words: list[str]) -> int:
    """Parse, ask, return the exit code."""
    values, services = VERB.parse(words)
    if values["help"]:
        return VERB.show_help()
    if not services:
        raise UsageError("cannot wait: no service is named (write: cohabit wait SERVICE)")
    try:
        seconds = min(parse_duration(values["timeout"]), _LONGEST_SECONDS) if values["timeout"] else None
    except ValueError as error:
        raise UsageError(f"cannot wait: {error}") from error
    given.restore()
    goal = values["for"] or "ready"
    try:
        answer = talk.ask(VERB, values, "wait", [*services, f"for={goal}"], seconds=seconds)
    except SilentError:
        what = {"ready": "not ready", "exit": "still running"}[goal]
        text = f"{' and '.join(services)}: {what} after {format_duration(seconds or 0)} (cohabit why {services[0]})"
        if values["json"]:
            talk.write(json.dumps({"code": _TIME_IS_UP, "text": text}) + "\n")
        else:
            talk.write(f"cohabit: cannot wait: {text}\n", 2)
        return _TIME_IS_UP
    if goal == "exit" and not values["json"] and not answer.text.startswith("cannot "):
        talk.write(f"{answer.text}\n")  # an exit code is what was asked for, and no failure
        return answer.code
    return talk.tell(VERB, values, answer)
