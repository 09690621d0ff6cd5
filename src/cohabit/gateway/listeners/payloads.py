"""The payloads of events (supervisord.org/events.html, "Event Types")."""

from __future__ import annotations

from cohabit.gateway.mirror import STATES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.api.status import Event
    from cohabit.gateway.configuration import Process


class StateEvents:
    """Changes of the states of cohabit as those of supervisord, which has other ways between some of them.

    It restarts a program from EXITED, not from BACKOFF; it reaches FATAL from BACKOFF only; and a program that had
    ended is STARTING again without being STOPPED.
    """

    def __init__(self) -> None:
        self._before: dict[str, str] = {}  # the state of supervisord, where it is another one

    def of(self, process: Process, event: Event) -> list[tuple[str, str]]:
        """The types and payloads for an event of cohabit; none if it is not a change of the state."""
        if event.event not in STATES or event.event == event.from_state:
            return []
        name, state, pid = process.namespec, event.event, event.pid
        before = self._before.pop(name, event.from_state)
        if state == "STOPPED" and before in ("EXITED", "FATAL"):
            self._before[name] = before
            return []
        if state == "BACKOFF" and before != "STARTING":
            self._before[name] = state = "EXITED"
        tries = event.tries
        found = []
        if state == "FATAL" and before == "STARTING":
            found.append(_state(process, "BACKOFF", before, f" tries:{tries + 1}"))
            before = "BACKOFF"
        if state in ("STARTING", "BACKOFF"):
            extra = f" tries:{tries}"
        elif state == "EXITED":
            extra = f" expected:{int(event.expected)} pid:{pid}"
        else:
            extra = "" if state == "FATAL" else f" pid:{pid}"
        found.append(_state(process, state, before, extra))
        return found


def _state(process: Process, state: str, before: str, extra: str) -> tuple[str, str]:
    return f"PROCESS_STATE_{state}", f"{_process(process)} from_state:{before}{extra}"


def process_log(process: Process, pid: int, channel: str, data: bytes) -> tuple[str, str]:
    """Output of a process whose …_events_enabled is set."""
    return f"PROCESS_LOG_{channel.upper()}", f"{_process(process)} pid:{pid} channel:{channel}\n{_text(data)}"


def process_communication(process: Process, pid: int, channel: str, data: bytes) -> tuple[str, str]:
    """What a process wrote in capture mode."""
    return f"PROCESS_COMMUNICATION_{channel.upper()}", f"{_process(process)} pid:{pid}\n{_text(data)}"


def remote_communication(kind: str, data: str) -> tuple[str, str]:
    """What a client sent with sendRemoteCommEvent."""
    return "REMOTE_COMMUNICATION", f"type:{kind}\n{data}"


def group_change(name: str, *, added: bool) -> tuple[str, str]:
    """A group was added or removed."""
    return f"PROCESS_GROUP_{'ADDED' if added else 'REMOVED'}", f"groupname:{name}\n"


def tick(name: str, when: int) -> tuple[str, str]:
    """The clock. when: Unix seconds, a multiple of the period."""
    return name, f"when:{when}"


def _process(process: Process) -> str:
    return f"processname:{process.name} groupname:{process.group}"


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"Undecodable: {data!r}"
