"""The types of events (supervisord.org/events.html) and the record of one event."""

from __future__ import annotations

from cohabit.plan.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

EVENT = "EVENT"  # all types
# type -> the abstract type that it belongs to.
_PARENTS = {
    **dict.fromkeys(
        (f"PROCESS_STATE_{state}" for state in (
            "STOPPED", "EXITED", "STARTING", "STOPPING", "BACKOFF", "FATAL", "RUNNING", "UNKNOWN",
        )),
        "PROCESS_STATE",
    ),
    **dict.fromkeys(("PROCESS_COMMUNICATION_STDOUT", "PROCESS_COMMUNICATION_STDERR"), "PROCESS_COMMUNICATION"),
    **dict.fromkeys(("PROCESS_LOG_STDOUT", "PROCESS_LOG_STDERR"), "PROCESS_LOG"),
    **dict.fromkeys(
        ("SUPERVISOR_STATE_CHANGE_RUNNING", "SUPERVISOR_STATE_CHANGE_STOPPING"), "SUPERVISOR_STATE_CHANGE"
    ),
    **dict.fromkeys(("TICK_5", "TICK_60", "TICK_3600"), "TICK"),
    **dict.fromkeys(("PROCESS_GROUP_ADDED", "PROCESS_GROUP_REMOVED"), "PROCESS_GROUP"),
    **dict.fromkeys(
        (
            "PROCESS_STATE", "PROCESS_COMMUNICATION", "PROCESS_LOG", "REMOTE_COMMUNICATION", "SUPERVISOR_STATE_CHANGE",
            "TICK", "PROCESS_GROUP",
        ),
        EVENT,
    ),
}  # fmt: skip
TICK_SECONDS = {"TICK_5": 5, "TICK_60": 60, "TICK_3600": 3600}


class Event(Record):
    """One event. serial: its number among all. payload: the text after the header."""

    serial: int
    name: str
    payload: str


def is_wanted(name: str, subscribed: Collection[str]) -> bool:
    """Whether a type, or an abstract type that it belongs to, is among those of `events=`."""
    while name not in subscribed:
        if name not in _PARENTS:
            return False
        name = _PARENTS[name]
    return True
