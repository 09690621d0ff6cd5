"""Re-execution in place: process 1 replaces its own program and keeps its pid, children and pipes.

When process 1 ends the container ends, so an internal error must not end it. What it holds is written down
as plain values (marshal: the interpreter is the same one) in a memfd; exec then keeps the pid, the children,
the descriptors that are told to stay open and the signals that are pending, and throws away everything else,
first of all whatever state the error left behind. The fact or the effect that was being dealt with is still
in its queue; it is tried again, unless it was dealt with after all. A second error within a minute: it is
dropped, and everything stops in order with code 70. A third: nothing of the engine is trusted any more, and
everybody is ended by sweep.py.
"""

from __future__ import annotations

import io
import marshal
import sys
import time

from cohabit import __version__
from cohabit.engine import effects, events, machine
from cohabit.engine.supervisor import DONE, LOADING, UP
from cohabit.errors import EXIT_BUG, EXIT_SYSTEM
from cohabit.plan.model import PRE_START
from cohabit.plan.record import from_plain, to_plain
from cohabit.reactor import pid1, signals
from cohabit.reactor.linux import os
from cohabit.reactor.logs.sink import Sink
from cohabit.reactor.loop import STATE_VERSION, Loop
from cohabit.reactor.processes.children import HOOK
from cohabit.reactor.processes.sweep import sweep
from cohabit.reactor.processes.tree import Trees
from cohabit.reactor.signals import Given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.reactor.health.log_match import LogMatches
    from cohabit.reactor.logs.joining import Joiners

OPTION = "cohabit-resume"
_WINDOW_SECONDS = 60.0
_SECOND, _THIRD = 2, 3
_LAST_RESORT_SECONDS = 5.0
# What writes itself down, and is restored in this order; the children come last.
_PARTS = ("output", "joiners", "sockets", "notify", "notification_fds", "log_matches", "clock")


def run(loop: Loop) -> int:
    """Run the loop; an internal error leads to a new life of it, in this process. Returns the exit code."""
    while True:
        try:
            code = loop.run()
            if code is not None:
                return code
            _replace(loop)
        except Exception as error:  # noqa: BLE001 - whatever it is, the services must not pay for it
            signals.block_all()
            return _recover(loop, error)


def takes_over(version: int) -> int:
    """Exit code 0 if this program can go on with what a program with that version of the state holds."""
    return 0 if version == STATE_VERSION else EXIT_SYSTEM


def resume(given: Given, fd: int) -> int:
    """In the new life: take over what the old one wrote down, and go on. Returns the exit code."""
    try:
        loop = _take_over(given, fd)
    except Exception as error:  # noqa: BLE001 - then nothing is known any more but that everybody has to go
        Sink(2).write(f"cohabit | an internal error, please report it:\n{_traceback(error)}\n".encode())
        signals.block_all()
        sweep(Trees(""), _LAST_RESORT_SECONDS)
        return EXIT_BUG
    return run(loop)


def _take_over(given: Given, fd: int) -> Loop:
    with open(fd, "rb") as file:
        plain = marshal.load(file)  # noqa: S302 - from our own former life
    given = Given(plain["mask"], plain["ignored"])
    loop = Loop(given, plain["request"], quiet=plain["quiet"])
    _restore(loop, plain)
    if plain["asked"]:
        loop.say("info", "", f"re-executed, version {__version__}")
    return loop


def _replace(loop: Loop) -> None:
    """Somebody asked for it; where that fails, everything goes on."""
    try:
        reexecute(loop)
    except OSError as error:
        loop.say("error", "", f"cannot re-execute: {error.strerror} (nothing was changed)")


def reexecute(loop: Loop) -> NoReturn:
    """Replace the program of this process. Raises OSError when the exec fails: then nothing was lost."""
    signals.block_all()
    plain = _to_plain(loop)
    kept = _descriptors(loop)
    fd = -1
    try:
        fd = _write_down(plain)
        for each in kept:
            os.set_inheritable(each, True)
        pid1.start_again([f"{OPTION}={fd}"])
    except OSError:
        for each in kept:
            os.set_inheritable(each, False)
        if fd >= 0:
            os.close(fd)
        loop.signalled(set(plain["signals"]))
        raise


def _write_down(plain: dict[str, Any]) -> int:
    """A descriptor from which the next life reads this. Raises OSError."""
    fd = os.memfd_create("cohabit-state", 0)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(marshal.dumps(plain))
        os.lseek(fd, 0, 0)
    except OSError:
        os.close(fd)
        raise
    return fd


def _recover(loop: Loop, error: Exception) -> int:
    now = time.monotonic()
    loop.errors_at = [moment for moment in loop.errors_at if now - moment < _WINDOW_SECONDS] + [now]
    count = len(loop.errors_at)
    try:
        loop.say("error", "", f"an internal error, please report it:\n{_traceback(error)}")
        if count < _THIRD:
            reexecute(loop)
    except Exception:  # noqa: BLE001 - then the last resort
        count = _THIRD
    sweep(loop.children.trees, _LAST_RESORT_SECONDS)
    return EXIT_BUG


def _traceback(error: Exception) -> str:
    """As the interpreter prints it, without importing traceback (and re, ast, tokenize with it)."""
    text = io.StringIO()
    stderr, sys.stderr = sys.stderr, text
    try:
        sys.__excepthook__(type(error), error, error.__traceback__)
    finally:
        sys.stderr = stderr
    return text.getvalue().rstrip()


def _to_plain(loop: Loop) -> dict[str, Any]:
    return {
        "version": STATE_VERSION,
        "asked": loop.replace,
        "mask": sorted(loop.given.mask),
        "ignored": sorted(loop.given.ignored),
        "request": loop.request,
        "quiet": loop.quiet,
        "errors_at": loop.errors_at,
        "signals": sorted(loop.arrived()),
        "facts": to_plain(loop.facts),
        "effects": to_plain(loop.engine.wanted if loop.stepping else loop.effects),
        "stepping": loop.stepping,
        "plan": to_plain(loop.engine.plan),
        "engine": loop.engine.to_plain(),
        "limits": loop.starts.limits,
        "children": loop.children.to_plain(),
        "control": loop.control.to_plain(),
        "started": loop.requests.started,
        **{name: getattr(loop, name).to_plain() for name in _PARTS},
    }


def _descriptors(loop: Loop) -> list[int]:
    """What must stay open across the exec."""
    told = (loop.notify, loop.notification_fds, loop.log_matches)
    parts = (loop.output, loop.joiners, loop.children, *told, loop.control)
    return [fd for part in parts for fd in part.descriptors()] + loop.sockets.inheritable()


def _restore(loop: Loop, plain: dict[str, Any]) -> None:
    loop.errors_at = plain["errors_at"]
    loop.facts.extend(from_plain(plain["facts"]))
    loop.effects.extend(from_plain(plain["effects"]))
    loop.engine.restore(from_plain(plain["plan"]), plain["engine"])
    loop.starts.limits = plain["limits"]
    loop.starts.hides = loop.engine.plan is not None and loop.engine.plan.mask
    for name in _PARTS:
        getattr(loop, name).restore(plain[name])
    tasks = loop.output.destinations.tasks() | _ended(loop.joiners) | _ended(loop.log_matches)
    loop.children.restore(plain["children"], tasks)
    services = {name: unit.service for name, unit in loop.engine.units.items()}
    loop.children.meet(services, loop.starts.describe)
    if loop.engine.plan is not None and loop.engine.phase == UP:
        loop.set_schedules(loop.engine.plan)
    _drop_what_failed(loop, stepping=plain["stepping"])
    if loop.engine.reading and loop.engine.phase in (LOADING, UP) and not _will_be_read(loop):
        loop.loader.start(loop.request, loop.engine.scale)
    loop.signalled(set(plain["signals"]))
    _reconcile(loop)
    loop.requests.started = plain["started"]
    loop.control.restore(plain["control"])
    if len(loop.errors_at) >= _SECOND:
        loop.facts.insert(0, events.Broken("internal errors keep coming (see above): stopping everything"))


def _will_be_read(loop: Loop) -> bool:
    """Whether the file's reading is to begin by itself, or its outcome is there."""
    begins = any(isinstance(effect, effects.Load) for effect in loop.effects)
    return begins or any(isinstance(fact, (events.Loaded, events.LoadFailed)) for fact in loop.facts)


def _ended(part: Joiners | LogMatches) -> dict[str, Callable[[int, str], None]]:
    """By its side programs, which live on: whom their ends are told."""

    def of(key: str) -> Callable[[int, str], None]:
        return lambda code, why: part.ended(key, code, why)

    return {key: of(key) for key in part.tasks()}


def _drop_what_failed(loop: Loop, *, stepping: bool) -> None:
    """The fact or the effect that met the error, if it was dealt with all the same or is to blame."""
    again = len(loop.errors_at) >= _SECOND
    if stepping:
        if again or not _is_news(loop, loop.facts[0]):
            del loop.facts[0]
    elif loop.effects and (again or not _is_to_do(loop, loop.effects[0])):
        del loop.effects[0]


def _is_news(loop: Loop, fact: Event) -> bool:
    """Whether the engine has still to hear of it."""
    unit = loop.engine.units.get(getattr(fact, "service", ""))
    match fact:
        case events.StopRequested():
            return not loop.engine.requested
        case _ if unit is None:
            return not hasattr(fact, "service")
        case events.Spawned():
            return unit.state != machine.RUNNING
        case events.SpawnFailed():
            return not unit.at_rest
        case events.Exited():
            return unit.leader_lives or unit.state == machine.RUNNING
        case events.TreeGone():
            return unit.state == machine.STOPPING
        case events.HookEnded():
            return unit.stage != ""
        case events.Loaded() | events.LoadFailed():
            return loop.engine.reading
    return True


def _is_to_do(loop: Loop, effect: Effect) -> bool:
    """Whether carrying it out once more does no harm."""
    match effect:
        case effects.Spawn(service):
            return service.name not in loop.children.processes  # never two of one
        case effects.RunHook(service):
            return service.name + HOOK not in loop.children.processes
        case effects.Report():
            return False
    return True


def _reconcile(loop: Loop) -> None:
    """A service that should have a process and has none was lost with the error: say so to the engine."""
    spoken_of = {getattr(fact, "service", None) for fact in loop.facts}
    starting = (effects.Spawn, effects.RunHook)
    spoken_of |= {effect.service.name for effect in loop.effects if isinstance(effect, starting)}
    if loop.engine.phase == DONE and not any(isinstance(effect, effects.Exit) for effect in loop.effects):
        loop.effects.append(effects.Exit(EXIT_BUG, "an internal error at the very end"))
    for name, unit in loop.engine.units.items():
        if unit.at_rest or name in spoken_of or loop.children.knows(name):
            continue
        if unit.stage == PRE_START and unit.state in (machine.STARTING, machine.STOPPING):
            loop.facts.append(events.HookEnded(name, EXIT_SYSTEM, "was lost in an internal error"))
        elif unit.state == machine.STARTING:
            loop.facts.append(events.SpawnFailed(name, "an internal error came in between", EXIT_SYSTEM))
        elif unit.state == machine.RUNNING or unit.leader_lives:
            loop.facts.append(events.Exited(name, EXIT_SYSTEM))
        else:
            loop.facts.append(events.TreeGone(name))
