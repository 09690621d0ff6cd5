"""`cohabit wait`: wait until services are ready, or have ended; the timeout is the client's."""

from __future__ import annotations

from cohabit.cli import client, waiting
from cohabit.cli.options import Command, Option
from cohabit.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "wait",
    "[--for ready|exit] [--wait-timeout DURATION] SERVICE...",
    "Wait until services are ready (the default), or until they have ended.",
    (
        Option(("--for",), "what to wait for (default: ready)", "ready|exit"),
        waiting.TIMEOUT,
        *client.ALWAYS,
    ),
    details=(
        "`docker compose wait` waits for the end: that is --for exit here. "
        "With it, the exit code is that of the service, as with `docker wait`. Of several services, it is that "
        "of the first one, in the order given, that failed; 0 if none failed."
    ),
    exit_codes=(
        ("0", "all are ready"),
        ("1", "one failed for good or was stopped, or the timeout expired"),
        ("n", "with --for exit: the exit code of the service"),
        *client.EXIT_CODES,
    ),
    examples=(
        ("cohabit wait db --wait-timeout 1m && ./migrate", "run a command once the database is ready"),
        ("cohabit wait --for exit migrate", "end with the exit code of a job"),
    ),
)
_GOALS = {"ready": "readiness", "exit": "the end"}


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, return the exit code."""
    values, services = COMMAND.parse(arguments)
    if values["help"]:
        return COMMAND.show_help()
    if not services:
        raise UsageError("cannot wait: no service is named (write: cohabit wait SERVICE)")
    inherited.restore()
    goal = values["for"] or "ready"
    answer = waiting.request(COMMAND, values, "wait", [*services, f"for={goal}"], services)
    if answer is None:
        return waiting.print_timeout(COMMAND, values, services, _GOALS[goal], f"see cohabit why {services[0]}")
    if goal == "exit" and not values["json"] and answer.is_ok:
        client.write(f"{answer.text}\n")  # the exit code was requested: it is not a failure of `wait`
        return answer.code
    return client.print_result(values, answer)
