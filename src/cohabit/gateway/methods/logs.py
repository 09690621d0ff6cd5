"""The namespace `supervisor`: the log files of the processes, and the main log.

A process without a log file has the last lines that cohabit keeps of it instead, so that `supervisorctl tail` shows
something for output that goes to the container's own.
"""

from __future__ import annotations

import os

from cohabit.gateway import log_files
from cohabit.gateway.configuration import regular
from cohabit.gateway.faults import FAILED, INCORRECT_PARAMETERS, NO_FILE, NOT_RUNNING, Fault
from cohabit.gateway.listeners.payloads import remote_communication
from cohabit.gateway.methods.registry import method
from cohabit.gateway.standard_input import write_to_input
from cohabit.gateway.waiting import result
from cohabit.plan.model import OWN_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.gateway.configuration import Process
    from cohabit.gateway.gateway import Gateway


@method("supervisor.readLog supervisor.readMainLog", "string", "int offset", "int length")
def read_log(gateway: Gateway, offset: int | str, length: int | str) -> str:
    """A part of the main log."""
    gateway.check_running()
    path, first, size = regular(gateway.active.newest.logfile), _number(offset), _number(length)
    if path:
        return text_of(log_files.read(path, first, size))
    return text_of(log_files.part(_kept_lines(gateway, OWN_NAME, ("stdout", "stderr")), first, size))


@method("supervisor.clearLog", "boolean")
def clear_log(gateway: Gateway) -> bool:
    """Empty the main log."""
    gateway.check_running()
    path = regular(gateway.active.newest.logfile)
    if not path:
        raise Fault(NO_FILE)
    log_files.clear(path)
    return True


_READ = ("string", "string name", "int offset", "int length")
_TAIL = ("array", "string name", "int offset", "int length")


@method("supervisor.readProcessStdoutLog supervisor.readProcessLog", *_READ)
def read_stdout(gateway: Gateway, name: str, offset: int | str, length: int | str) -> str:
    """A part of the log of a process's stdout. A negative offset counts from the end."""
    return _read(gateway, name, offset, length, "stdout")


@method("supervisor.readProcessStderrLog", *_READ)
def read_stderr(gateway: Gateway, name: str, offset: int | str, length: int | str) -> str:
    """A part of the log of a process's stderr. A negative offset counts from the end."""
    return _read(gateway, name, offset, length, "stderr")


@method("supervisor.tailProcessStdoutLog supervisor.tailProcessLog", *_TAIL)
def tail_stdout(gateway: Gateway, name: str, offset: int | str, length: int | str) -> list[Any]:
    """The end of the log of a process's stdout: text, the next offset, and whether a part was skipped."""
    return _tail(gateway, name, offset, length, "stdout")


@method("supervisor.tailProcessStderrLog", *_TAIL)
def tail_stderr(gateway: Gateway, name: str, offset: int | str, length: int | str) -> list[Any]:
    """The end of the log of a process's stderr: text, the next offset, and whether a part was skipped."""
    return _tail(gateway, name, offset, length, "stderr")


@method("supervisor.clearProcessLogs supervisor.clearProcessLog", "boolean", "string name")
def clear_process_logs(gateway: Gateway, name: str) -> bool:
    """Empty the log files of a process."""
    gateway.check_running()
    _clear(gateway.active.single(name))
    return True


@method("supervisor.clearAllProcessLogs", "array")
def clear_all_process_logs(gateway: Gateway) -> list[dict[str, Any]]:
    """Empty the log files of all processes."""
    gateway.check_running()
    found = []
    for process in gateway.active.processes():
        fault = None
        try:
            _clear(process)
        except Fault as error:
            fault = error
        found.append(result(process, fault))
    return found


@method("supervisor.sendProcessStdin", "boolean", "string name", "string chars")
def send_process_stdin(gateway: Gateway, name: str, chars: str | bytes) -> bool:
    """Write text to the standard input of a process."""
    gateway.check_running()
    process = gateway.active.single(name)
    state = gateway.state_of(process)
    if not state.pid or state.state == "STOPPING":
        raise Fault(NOT_RUNNING, name)
    try:
        write_to_input(state.pid, chars if isinstance(chars, bytes) else chars.encode())
    except BlockingIOError:
        raise Fault(FAILED, f"{name} does not read its standard input") from None
    except OSError:
        raise Fault(NO_FILE, name) from None
    return True


@method("supervisor.sendRemoteCommEvent", "boolean", "string type", "string data")
def send_remote_communication_event(gateway: Gateway, kind: str | bytes, data: str | bytes) -> bool:
    """Send an event to the listeners of REMOTE_COMMUNICATION."""
    gateway.post(remote_communication(*(text_of(one) if isinstance(one, bytes) else one for one in (kind, data))))
    return True


def text_of(data: bytes) -> str:
    """The text of a log; what is not UTF-8 is replaced."""
    return data.decode("utf-8", "replace")


def _kept_lines(gateway: Gateway, name: str, channels: tuple[str, ...]) -> bytes:
    """The lines that cohabit keeps in memory."""
    return b"".join(record.data for record in gateway.client().logs(name) if record.stream in channels)


def _number(value: int | str) -> int:
    try:
        return int(value)
    except ValueError:
        raise Fault(INCORRECT_PARAMETERS) from None


def _read(gateway: Gateway, name: str, offset: int | str, length: int | str, channel: str) -> str:
    gateway.check_running()
    process = gateway.active.single(name)
    first, size = _number(offset), _number(length)
    path = regular(process.logfile(channel))
    if path and (os.path.exists(path) or not gateway.state_of(process).started):
        return text_of(log_files.read(path, first, size))
    if path:
        return text_of(log_files.part(b"", first, size))  # it is created with the first line
    lines = _kept_lines(gateway, process.namespec, (channel,))
    if not lines:
        raise Fault(NO_FILE)
    return text_of(log_files.part(lines, first, size))


def _tail(gateway: Gateway, name: str, offset: int | str, length: int | str, channel: str) -> list[Any]:
    gateway.check_running()
    process = gateway.active.single(name)
    data, end, overflow = log_files.tail(regular(process.logfile(channel)), _number(offset), _number(length))
    return [text_of(data), end, overflow]


def _clear(process: Process) -> None:
    for channel in ("stdout", "stderr"):
        path = regular(process.logfile(channel))
        if path:
            log_files.clear(path)
