"""`cohabit wait`: until services are ready, or have ended; the time that this may take is counted here."""

from __future__ import annotations

from cohabit.cli import client, waiting
from cohabit.cli.options import Command, Option
from cohabit.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "wait",
    "[--for ready|exit] [--timeout DURATION] SERVICE...",
    "Wait until services are ready (the default), or until they have ended.",
    (
        Option(("--for",), "what to wait for (default: ready)", "ready|exit"),
        waiting.TIMEOUT,
        *client.ALWAYS,
    ),
    details="With --for exit the exit code is that of the service, as with `docker wait`; of several, the last one's.",
    exits=(
        ("0", "all are ready"),
        ("1", "one has failed for good, or the time is up"),
        ("n", "with --for exit: the exit code of the service"),
        *client.EXITS,
    ),
    examples=(
        ("cohabit wait db --timeout 1m && ./migrate", "run something once the database is ready"),
        ("cohabit wait --for exit migrate", "end with the exit code of a job"),
    ),
)


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, ask, return the exit code."""
    values, services = COMMAND.parse(words)
    if values["help"]:
        return COMMAND.show_help()
    if not services:
        raise UsageError("cannot wait: no service is named (write: cohabit wait SERVICE)")
    given.restore()
    goal = values["for"] or "ready"
    answer = waiting.ask(COMMAND, values, "wait", [*services, f"for={goal}"], services)
    if answer is None:
        what = {"ready": "not ready", "exit": "still running"}[goal]
        return waiting.time_is_up(COMMAND, values, services, what, f"cohabit why {services[0]}")
    if goal == "exit" and not values["json"] and not answer.text.startswith("cannot "):
        client.write(f"{answer.text}\n")  # an exit code is what was asked for, and no failure
        return answer.code
    return client.tell(COMMAND, values, answer)
