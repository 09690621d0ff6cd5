"""`cohabit reload`: have the file read again, and say what came of it; and how, where there is no socket.

Some containers let nobody make a socket, and a signal still gets through: then it is sent, and the outcome is in the
container's log.
"""

from __future__ import annotations

import json

from cohabit.cli import client
from cohabit.cli.discovery import ConnectionFailedError
from cohabit.cli.options import Command
from cohabit.errors import EXIT_UNAVAILABLE
from cohabit.reactor import signals
from cohabit.reactor.linux import environment, os
from cohabit.reactor.processes import proc
from cohabit.reactor.processes.tree import SUPERVISOR_VARIABLE
from cohabit.units import signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.cli.connection import Answer
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "reload",
    "",
    "Have the file read again: what changed is restarted, what is new started, what is gone stopped.",
    client.ALWAYS,
    details=(
        "Returns when the file has been read, and prints what changes; a file with mistakes changes nothing. The same "
        "as SIGHUP to the running cohabit (docker kill -s HUP CONTAINER), which is what is done where there is no "
        "socket: then the outcome is in the container's log."
    ),
    exits=(("0", "the file is fine; what changes is printed"), ("78", "something is wrong with it"), *client.EXITS),
    examples=(("cohabit check && cohabit reload", "only a file without mistakes"),),
)
_OURS = b"cohabit/__main__.py"
_RUNNING = (b"up", b"run")


def main(given: InheritedSignals, words: list[str]) -> int:
    """Parse, ask, return the exit code."""
    instead = "it reads the whole file, not only {!r} (to start a service anew: cohabit restart SERVICE)"
    values = COMMAND.parse_options(words, instead)
    if values["help"]:
        return COMMAND.show_help()
    given.restore()
    return ask_or_signal(COMMAND, values, signals.HUP)


def ask_or_signal(verb: Command, values: dict[str, Any], number: int) -> int:
    """By the socket, else by a signal; the exit code."""
    try:
        answer = client.ask(verb, values, verb.name, seconds=None)
    except ConnectionFailedError as error:
        if values["socket"] or error.exit_code != EXIT_UNAVAILABLE:
            raise
        pid = _signal_supervisor(verb, number, error)
        text = f"process {pid} has been told by {signal_name(number)}: its log has the outcome"
        client.write(json.dumps({"code": 0, "text": text}) + "\n" if values["json"] else f"{text}\n")
        return 0
    return outcome(verb, values, answer)


def outcome(verb: Command, values: dict[str, Any], answer: Answer) -> int:
    """What a reading of the file has brought, line by line; the exit code."""
    texts = [str(json.loads(line)["text"]) for line in answer.lines()]
    if values["json"]:
        client.write(json.dumps({"code": answer.code, "text": answer.text, "lines": texts}) + "\n")
        return answer.code
    client.write("".join(f"{text}\n" for text in texts), 2 if answer.code else 1)
    if answer.code or not texts:
        client.tell(verb, values, answer)
    return answer.code


def _signal_supervisor(verb: Command, number: int, nobody: ConnectionFailedError) -> int:
    """Send the running cohabit a signal: whoever started us, if it was one, else process 1. Returns its pid."""
    supervisor = environment().get(SUPERVISOR_VARIABLE, "").partition("-")[0]
    for pid in (int(supervisor) if supervisor.isdecimal() else 1, 1):
        if _is_cohabit(pid):
            try:
                os.kill(pid, number)
            except OSError as error:
                raise ConnectionFailedError(
                    f"cannot {verb.name}: process {pid} may not be signalled: {error.strerror} (become its user)"
                ) from error
            return pid
    raise nobody


def _is_cohabit(pid: int) -> bool:
    words = proc.command_line(pid)
    program = next((i for i, word in enumerate(words) if word.endswith(_OURS)), None)
    return program is not None and words[program + 1 : program + 2] != [] and words[program + 1] in _RUNNING
