"""The payloads of events (supervisord.org/events.html, "Event Types")."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.api.status import Event
    from cohabit.gateway.configuration import Process

_STATES = ("STOPPED", "STARTING", "RUNNING", "BACKOFF", "STOPPING", "EXITED", "FATAL")


def process_state(process: Process, event: Event) -> tuple[str, str] | None:
    """The type and payload for an event of cohabit; None if it is not a change of the state."""
    if event.event not in _STATES or event.event == event.from_state:
        return None
    payload = f"{_process(process)} from_state:{event.from_state}"
    if event.event in ("STARTING", "BACKOFF"):
        payload += f" tries:{event.tries}"
    elif event.event == "EXITED":
        payload += f" expected:{int(event.expected)} pid:{event.pid}"
    elif event.event != "FATAL":
        payload += f" pid:{event.pid}"
    return f"PROCESS_STATE_{event.event}", payload


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
