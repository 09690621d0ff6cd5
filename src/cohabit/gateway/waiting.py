"""Start and stop processes, and follow the events of cohabit until they have started or stopped."""

from __future__ import annotations

import os

from cohabit.gateway.faults import (
    ABNORMAL_TERMINATION,
    ALREADY_STARTED,
    FAILED,
    NO_FILE,
    NOT_EXECUTABLE,
    NOT_RUNNING,
    SPAWN_ERROR,
    SUCCESS,
    Fault,
)
from cohabit.gateway.info import RUNNING, STOPPED
from cohabit.plan.reason import CANNOT_START, IS_DIRECTORY, NOT_FOUND, NOT_IN_PATH
from cohabit.plan.reason import NOT_EXECUTABLE as COMMAND_NOT_EXECUTABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from cohabit.api.status import Event
    from cohabit.gateway.configuration import Process
    from cohabit.gateway.gateway import Gateway

    Outcome = Fault | None

_NOT_FOUND = frozenset({NOT_FOUND, NOT_IN_PATH})
_NOT_EXECUTABLE = frozenset({COMMAND_NOT_EXECUTABLE, IS_DIRECTORY})


def start(gateway: Gateway, processes: Sequence[Process], *, wait: bool) -> Iterator[tuple[Process, Outcome]]:
    """Start processes; yields each with its Fault or None as soon as it has started or failed."""
    todo = {}
    for one in processes:
        fault = _missing_command(gateway, one)
        if fault is not None:
            yield one, fault
        elif gateway.state_of(one).state in RUNNING:
            yield one, Fault(ALREADY_STARTED, one.namespec)
        else:
            todo[one.namespec] = one
    if not todo:
        return
    with gateway.mirror.events(todo) as events:
        gateway.client().start(*todo, wait=False)
        if not wait:
            yield from ((one, None) for one in todo.values())
            return
        begun: set[str] = set()  # one that had ended is first STOPPED again
        for event in events:
            process = todo.get(event.service)
            if event.event == "STARTING":
                begun.add(event.service)
            if process is None or event.service not in begun:
                continue
            outcome = _started(event, process)
            if outcome is not _UNDER_WAY:
                del todo[event.service]
                yield process, outcome
            if not todo:
                return


def _missing_command(gateway: Gateway, process: Process) -> Outcome:
    """Why its command cannot be executed; supervisord does not try to start it then."""
    service = gateway.client().service(process.namespec)
    command = str(service["command"][0])
    folders = [""] if "/" in command else str(service["environment"].get("PATH", os.defpath)).split(":")
    found = [path for path in (os.path.join(folder, command) for folder in folders) if os.path.exists(path)]
    if not found:
        return Fault(NO_FILE, f"can't find command {command!r}")
    if not any(os.path.isfile(path) and os.access(path, os.X_OK) for path in found):
        return Fault(NOT_EXECUTABLE, f"command at {found[0]!r} is not executable")
    return None


_UNDER_WAY = Fault(FAILED)  # in place of an outcome


def _started(event: Event, process: Process) -> Outcome:
    """What an event means for a start."""
    name = process.namespec
    if event.event == "RUNNING":
        return None
    if event.event in ("BACKOFF", "FATAL"):
        cause = event.reason.cause if event.reason is not None and event.reason.kind == CANNOT_START else None
        if cause is not None and cause.kind in _NOT_FOUND:
            return Fault(NO_FILE, name)
        if cause is not None and cause.kind in _NOT_EXECUTABLE:
            return Fault(NOT_EXECUTABLE, name)
        return Fault(SPAWN_ERROR, name)
    if event.event in ("STOPPING", "STOPPED", "EXITED"):
        return Fault(ABNORMAL_TERMINATION, name)
    return _UNDER_WAY


def stop(gateway: Gateway, processes: Sequence[Process], *, wait: bool) -> Iterator[tuple[Process, Outcome]]:
    """Stop processes; yields each with its Fault or None as soon as it has stopped."""
    todo = {}
    for one in processes:
        if gateway.state_of(one).state not in RUNNING:
            yield one, Fault(NOT_RUNNING, one.namespec)
        else:
            todo[one.namespec] = one
    if not todo:
        return
    with gateway.mirror.events(todo) as events:
        gateway.client().stop(*todo, wait=False)
        if not wait:
            yield from ((one, None) for one in todo.values())
            return
        for event in events:
            if event.event in STOPPED and event.service in todo:
                yield todo.pop(event.service), None
            if not todo:
                return


def results(outcomes: Iterator[tuple[Process, Outcome]]) -> list[dict[str, Any]]:
    """The array of structs that the methods for groups return."""
    return [result(process, fault) for process, fault in outcomes]


def result(process: Process, fault: Fault | None) -> dict[str, Any]:
    """One struct of such an array."""
    code, text = (fault.code, fault.text) if fault else (SUCCESS, "OK")
    return {"name": process.name, "group": process.group, "status": code, "description": text}


def single(outcomes: Iterator[tuple[Process, Outcome]]) -> bool:
    """True, or raise the Fault of the only process."""
    for _, fault in outcomes:
        if fault is not None:
            raise fault
    return True
