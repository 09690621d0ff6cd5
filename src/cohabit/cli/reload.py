"""`cohabit reload`: have the file read again, and print the outcome.

In some containers no socket can be created, but a signal still works: then SIGHUP is sent, and the outcome is in the
container's log.
"""

from __future__ import annotations

import json

from cohabit.cli import client
from cohabit.cli.options import FILE_EXIT_CODES, Command
from cohabit.client import ConnectionFailedError
from cohabit.control import SUPERVISOR_VARIABLE
from cohabit.errors import EXIT_UNAVAILABLE
from cohabit.reactor import signals
from cohabit.reactor.linux import environment, os
from cohabit.reactor.processes import proc
from cohabit.units import signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.client import Answer
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "reload",
    "",
    "Read the file again: restart services that changed, start new ones, stop removed ones.",
    client.ALWAYS,
    details=(
        "Returns when the file has been read, and prints what changes. A file with errors changes nothing. If cohabit "
        "cannot be reached through its control socket, and --socket is not given, SIGHUP is sent to it instead (the "
        "same as docker kill -s HUP CONTAINER); the outcome is then in the container's log."
    ),
    exit_codes=(
        ("0", "the file has no errors; the changes are printed"),
        ("1", "the container is starting or stopping"),
        *FILE_EXIT_CODES,
        *client.EXIT_CODES,
    ),
    examples=(("cohabit check && cohabit reload", "only if the file has no errors"),),
)
_MAIN_PROGRAM = b"cohabit/__main__.py"
_SUPERVISING = (b"up", b"run")


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, send the request, return the exit code."""
    refusal = "it reads the whole file, not only {!r} (to restart a service: cohabit restart SERVICE)"
    values = COMMAND.parse_options(arguments, refusal)
    if values["help"]:
        return COMMAND.show_help()
    inherited.restore()
    return request_or_signal(COMMAND, values, signals.HUP)


def request_or_signal(command: Command, values: dict[str, Any], number: int) -> int:
    """Send the request of the command's name, or a signal if there is no control socket; returns the exit code."""
    try:
        answer = client.connect(command, values).request(command.name, timeout=None)
    except ConnectionFailedError as error:
        if values["socket"] or error.exit_code != EXIT_UNAVAILABLE:
            raise
        pid = _signal_supervisor(command, number, error)
        text = f"{signal_name(number)} sent to process {pid}: see its log for the outcome"
        client.write(json.dumps({"code": 0, "text": text}) + "\n" if values["json"] else f"{text}\n")
        return 0
    return print_outcome(values, answer)


def print_outcome(values: dict[str, Any], answer: Answer) -> int:
    """Print the outcome of a reload line by line; returns the exit code."""
    texts = [str(json.loads(line)["text"]) for line in answer.lines()]
    if values["json"]:
        client.write(json.dumps({"code": answer.code, "text": answer.text, "lines": texts}) + "\n")
        return answer.code
    client.write("".join(f"{text}\n" for text in texts), 2 if answer.code else 1)
    if answer.code or not texts:
        client.print_result(values, answer)
    return answer.code


def _signal_supervisor(command: Command, number: int, not_found: ConnectionFailedError) -> int:
    """Signal the running cohabit: the one that started this process, else process 1. Returns its pid.

    not_found: the error to raise if there is none.
    """
    supervisor = environment().get(SUPERVISOR_VARIABLE, "").partition("-")[0]
    for pid in (int(supervisor) if supervisor.isdecimal() else 1, 1):
        if _is_supervisor(pid):
            try:
                os.kill(pid, number)
            except OSError as error:
                raise ConnectionFailedError(
                    f"cannot {command.name}: cannot signal process {pid}: {error.strerror} (become its user)"
                ) from error
            return pid
    raise not_found


def _is_supervisor(pid: int) -> bool:
    """Whether this process is a cohabit that runs services."""
    argv = proc.command_line(pid)
    program = next((index for index, argument in enumerate(argv) if argument.endswith(_MAIN_PROGRAM)), None)
    return program is not None and argv[program + 1 : program + 2] != [] and argv[program + 1] in _SUPERVISING
