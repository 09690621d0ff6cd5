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
    "[--for ready|exit] [--wait-timeout DURATION] (SERVICE... | --all)",
    "Wait until services are ready (the default), or until they have ended.",
    (
        Option(("--for",), "what to wait for (default: ready)", "ready|exit"),
        Option(("--all",), "all services that are to run: without those that were stopped or wait for their schedule"),
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
        ("cohabit wait --all && echo healthy", "once all services are ready and all jobs have completed"),
        ("cohabit wait --for exit migrate", "end with the exit code of a job"),
    ),
)
_GOALS = {"ready": "readiness", "exit": "the end"}


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, return the exit code."""
    values, services = COMMAND.parse(arguments)
    if values["help"]:
        return COMMAND.show_help()
    if bool(services) == values["all"]:
        why = "no service is named" if not services else "--all and service names exclude each other"
        raise UsageError(f"cannot wait: {why} (write: cohabit wait SERVICE, or cohabit wait --all)")
    inherited.restore()
    goal = values["for"] or "ready"
    answer = waiting.request(COMMAND, values, "wait", [*services, f"for={goal}"], services)
    if answer is None:
        hint = f"see cohabit why {services[0]}" if services else "see cohabit why"
        return waiting.print_timeout(COMMAND, values, services or ["all services"], _GOALS[goal], hint)
    if goal == "exit" and not values["json"] and answer.is_ok:
        client.write(f"{answer.text}\n")  # the exit code was requested: it is not a failure of `wait`
        return answer.code
    return client.print_result(values, answer)
