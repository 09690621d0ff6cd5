"""`cohabit attach`: the output of a running service from now on, and the signals of this terminal for it.

Two streams of one connection are followed: the output and the events. Process 1 reads what an ended service has left
in its pipes before it reports the end, so the end comes after the last line.
"""

from __future__ import annotations

import json
import select

from cohabit.cli import client
from cohabit.cli.logs import escape_line, json_writer, replica
from cohabit.cli.options import Command, Option
from cohabit.client import DROPPED, ConnectionFailedError
from cohabit.client.client import log_records, signal_option, stream_options
from cohabit.client.connection import RefusedError
from cohabit.control import NOT_RUNNING
from cohabit.errors import UsageError
from cohabit.plan.model import UNSEEN
from cohabit.reactor import signals
from cohabit.reactor.linux import DEV_NULL, os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cohabit.client import Answer, Client, LogRecord, ServiceStatus
    from cohabit.reactor.signals import InheritedSignals

COMMAND = Command(
    "attach",
    "[--sig-proxy=false] [--no-stdin] SERVICE",
    "Show the output of a running service from now on, and pass signals to it, until its run ends.",
    (
        Option(("--sig-proxy",), "pass signals to the service (the default; --sig-proxy=false does not)", on=True),
        Option(("--no-stdin",), "do not report that the standard input is not attached"),
        Option(("--index",), "the number of the replica: --index 2 web is web-2", "N"),
        *client.ALWAYS,
    ),
    details=(
        "As with `docker attach`, ^C (INT), ^\\ (QUIT), TERM, HUP and other signals go to the main process of the "
        "service, and the command goes on until that run ends. If the restart policy starts the service again, attach "
        "again. With --sig-proxy=false, ^C ends only this command. Signals of job control (^Z) concern this command "
        "in both cases.\n\n"
        "Lines have no prefix. The output to stderr goes to stderr. On a terminal, control characters other than "
        "colours are shown as escapes, as with `cohabit logs`. With --json, lines are objects as with `cohabit logs "
        "--json`.\n\n"
        "The standard input is not attached: that of a service belongs to process 1. For the terminal of the "
        "container, use `docker attach CONTAINER`."
    ),
    exit_codes=(
        ("n", "the exit code of that run of the service (128+n: signal n)"),
        ("1", "the service is not running"),
        *client.EXIT_CODES,
    ),
    examples=(
        ("cohabit attach web", "the output of web; ^C sends it SIGINT"),
        ("cohabit attach --sig-proxy=false web", "^C leaves web alone"),
        ("docker exec -it CONTAINER cohabit attach web", "from outside; without -t, docker exec passes no signals"),
    ),
)
# Signals of this terminal's size and of job control are for this program. The rest is what a service may be sent.
_FORWARDED = (signals.FORWARDED - {signals.WINCH}) | {signals.TERM, signals.INT, signals.QUIT, signals.HUP}
_OUTPUT_UNSEEN = "writes to the container's output itself (driver {}): it is not shown here (see docker logs CONTAINER)"
_NO_INPUT = (
    "the standard input is not attached (without this message: --no-stdin; for the terminal of the container: "
    "docker attach CONTAINER)"
)


def main(inherited: InheritedSignals, arguments: list[str]) -> int:
    """Parse, follow the service, return the exit code of its run."""
    values, services = COMMAND.parse(arguments)
    if values["help"]:
        return COMMAND.show_help()
    if len(services) != 1:
        why = f"{len(services)} services are named" if services else "no service is named"
        raise UsageError(f"cannot attach: {why} (write: cohabit attach SERVICE; several: cohabit logs -f)")
    name = replica("attach", services, values["index"])[0]
    inherited.restore()
    cohabit = client.connect(COMMAND, values)
    request = [name, *stream_options(None, 0, follow=True)]
    output, events = (cohabit.checked(kind, request, streaming=True) for kind in ("logs", "events"))
    service = _running_instance(cohabit, name)
    attached = _Attached(cohabit, service, output, events)
    if unseen := UNSEEN.intersection(service.driver.split(", ")):
        client.write(f"cohabit: {service.name} {_OUTPUT_UNSEEN.format(*unseen)}\n", 2)
    if not values["no_stdin"] and _has_input():
        client.write(f"cohabit: {_NO_INPUT}\n", 2)
    if values["sig_proxy"]:
        signals.listen(_FORWARDED - inherited.ignored, attached.wake_up)
    write, end = json_writer() if values["json"] else (_write_record, lambda: None)
    code = attached.follow(write)
    end()
    if code is None:
        raise ConnectionFailedError(
            f"cannot attach: cohabit closed the connection, and the end of {name} is not known (has the container "
            "ended? see its log)"
        )
    return code


def _running_instance(cohabit: Client, name: str) -> ServiceStatus:
    """The only instance with this name. Raises CohabitError if it does not run, or if there are several."""
    found = cohabit.status(name).services
    if len(found) != 1:
        names = ", ".join(one.name for one in found)
        raise UsageError(f"cannot attach: more than one instance is named (name one of {names}, or use --index)")
    (service,) = found
    if service.at_rest:
        why = f"{service.name} is not running (write: cohabit start {service.name})"
        raise RefusedError(f"cannot attach: {why}", 1, NOT_RUNNING)
    return service


def _has_input() -> bool:
    """Whether there is a standard input that is not /dev/null."""
    try:
        return os.fstat(0).st_rdev != os.stat(DEV_NULL).st_rdev
    except OSError:
        return False


class _Attached:
    """A service with its streams. wake_up: a descriptor; each byte written there is a signal for the service."""

    def __init__(self, cohabit: Client, service: ServiceStatus, output: Answer, events: Answer) -> None:
        self._cohabit = cohabit
        self._service = service
        self._output = output
        self._events = events
        self._signals, self.wake_up = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def follow(self, write: Callable[[LogRecord], None]) -> int | None:
        """Write the output up to the end of the run; returns its exit code, None if the connection ended first."""
        records = log_records(self._output)
        while True:
            while self._output.has_data and (record := next(records, None)) is not None:
                write(record)
            while self._events.has_data:
                line = self._events.read_line()
                code = self._exit_code(json.loads(line)) if line else None
                if code is not None or not line:
                    return code
            # Both streams usually share a connection, which is read once for both.
            streams = {one.fileno(): one for one in (self._output, self._events) if not one.ended}
            readable, _, _ = select.select([*streams, self._signals], [], [])
            for fd in readable:
                if fd in streams:
                    streams[fd].receive()
                else:
                    self._pass_on()

    def _exit_code(self, event: dict[str, Any]) -> int | None:
        """The exit code of the run if it has ended with this event."""
        if DROPPED not in event:
            code: int | None = event["code"]
            return code
        for service in self._cohabit.status(self._service.name).services:  # the end may be among what was left out
            if service.at_rest or service.starts != self._service.starts:
                return service.code or 0
        return None

    def _pass_on(self) -> None:
        """Send the signals that have come to the service. A refusal is reported, and is not the end."""
        for number in os.read(self._signals, 512):
            option = signal_option(self._cohabit, number)
            answer = self._cohabit.request("kill", [self._service.name, option])
            if not answer.is_ok:
                client.write(f"cohabit: {answer.message}\n", 2)


def _write_record(record: LogRecord) -> None:
    if record.stream == DROPPED:
        client.print_dropped(int(record.data))
        return
    fd = 2 if record.stream == "stderr" else 1
    lines = record.data.split(b"\n")
    client.write(b"\n".join(map(escape_line, lines)) if os.isatty(fd) else record.data, fd)
