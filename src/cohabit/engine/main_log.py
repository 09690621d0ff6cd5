"""The main log of supervisord: the lines that tools read, for the transitions of one step. Pure."""

from __future__ import annotations

from cohabit.engine import machine
from cohabit.engine.container import UP
from cohabit.engine.transition import SPAWNED
from cohabit.plan.reason import CANNOT_START
from cohabit.plan.supervisord_text import how_it_ended, is_by_signal, spawn_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cohabit.engine.supervisor import Supervisor
    from cohabit.engine.transition import Transition
    from cohabit.plan.model import Service

    Line = tuple[str, str]

INFO, WARNING = "info", "warning"


def lines(engine: Supervisor, pid: int) -> Iterator[Line]:
    """(level, text) of each line. pid: of process 1."""
    for transition in engine.services.transitions:
        unit = engine.units.get(transition.service)
        if unit is not None and unit.spec.startup is not None:  # without: the gateway, which supervisord does not have
            yield from _of_program(transition, unit.spec, ending=engine.phase != UP)
        elif transition.event == "up":
            yield INFO, f"supervisord started with pid {pid}"
        elif transition.event == "stopping":
            alive = [process_name(one.name) for one in engine.units.values() if one.spec.startup and not one.at_rest]
            if alive:
                yield INFO, f"waiting for {', '.join(alive)} to die"


def process_name(name: str) -> str:
    """The name of a process without that of its group."""
    return name.rpartition(":")[2]


def _of_program(transition: Transition, service: Service, *, ending: bool) -> Iterator[Line]:
    name, before, after = process_name(service.name), transition.before, transition.after
    seconds = int(service.startup.seconds) if service.startup is not None else 0
    if transition.event == SPAWNED or (after == machine.RUNNING and before == machine.STARTING and not seconds):
        yield INFO, f"spawned: {name!r} with pid {transition.pid}"
    if transition.event == SPAWNED or before == after:
        return
    if after == machine.RUNNING:
        yield (
            INFO,
            f"success: {name} entered RUNNING state, process has stayed up for > than {seconds} seconds (startsecs)",
        )
    elif after == machine.STOPPING and not ending:
        yield INFO, f"waiting for {name} to stop"
    elif transition.ends_run:
        yield from _end(transition, service, name)


def _end(transition: Transition, service: Service, name: str) -> Iterator[Line]:
    reason, code = transition.reason, transition.code or 0
    how = how_it_ended(reason, code)
    expected = code in service.restart.expected_codes and not is_by_signal(reason)
    if reason is not None and reason.kind == CANNOT_START:
        yield INFO, f"spawnerr: {spawn_error(reason, service.command[0])}"
    elif transition.after == machine.STOPPED:
        yield INFO if expected else WARNING, f"stopped: {name} ({how})"
    elif transition.before == machine.STARTING:
        yield WARNING, f"exited: {name} ({how}; not expected)"
    else:
        yield INFO if expected else WARNING, f"exited: {name} ({how}; {'expected' if expected else 'not expected'})"
    if transition.after == machine.FATAL:
        yield INFO, f"gave up: {name} entered FATAL state, too many start retries too quickly"
