"""`cohabit health`: yes or no, for HEALTHCHECK and exec probes.

It runs every few seconds, so it loads nothing but the client: it takes at most half as long again as the start of
the bare interpreter.
"""

from __future__ import annotations

from cohabit.cli import load
from cohabit.cli.options import JSON, SOCKET, Command, Option
from cohabit.client.connection import Session
from cohabit.client.discovery import ConnectionFailedError
from cohabit.reactor.linux import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "health",
    "[--ready | --live] [SERVICE...]",
    "Exit with 0 if the services are ready, else with 1, and print the reason in one line.",
    (
        Option(("--ready",), "check that the services are ready (the default)"),
        Option(("--live",), "check that none is unhealthy and no essential one has failed (FATAL)"),
        JSON,
        SOCKET,
    ),
    details=(
        "For Docker's HEALTHCHECK and for Kubernetes' exec probes: --ready for a readinessProbe, --live for a "
        "livenessProbe. It answers within 5 seconds.\n\n"
        "Without a SERVICE, --ready does not count a service that was stopped on request, one with a schedule, and one "
        "that is neither essential nor a job that another service waits for. Both fail if no service runs or will run "
        "again, and one is FATAL, as when all programs of a supervisord.conf have failed. A service whose output has "
        "waited for its log destination for 3 seconds is not ready; it is alive."
    ),
    exit_codes=(
        ("0", "yes"),
        ("1", "no, or no cohabit answers"),
        ("64", "wrong usage, or no such service"),
    ),
    examples=(
        ("HEALTHCHECK CMD cohabit health", "in a Dockerfile"),
        ("cohabit health db && ./migrate", "only if the database is ready"),
    ),
)
_SECONDS = 5.0
_YES, _NO, _USAGE = 0, 1, 64


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, print one line, return 0, 1 or 64."""
    values, services = COMMAND.parse(arguments)
    if values["help"]:
        return COMMAND.show_help()
    inherited.restore()
    goal = "live" if values["live"] and not values["ready"] else "ready"
    try:
        answer = Session(values["socket"]).request("health", [*services, f"for={goal}"], timeout=_SECONDS, last=True)
        code = answer.code
        wrong = code == _USAGE and not values["json"]
        text = f"cohabit: {answer.message}" if wrong else answer.text
    except ConnectionFailedError as error:
        code, wrong, text = _NO, False, str(error)
    if code not in (_YES, _NO, _USAGE):
        code = _NO
    if values["json"]:
        # Only here, and only the C part of json: the Python part takes as long as everything else, this one a dlopen.
        text = f'{{"code": {code}, "text": {load("_json").encode_basestring_ascii(text)}}}'
    try:
        os.write(2 if wrong else 1, f"{text}\n".encode("utf-8", "surrogateescape"))
    except OSError:
        pass  # the exit code is still reported
    return code
