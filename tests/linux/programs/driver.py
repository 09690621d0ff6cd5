"""driver.py SOURCE PLANT COMMAND [ARGUMENT...]: cohabit with one planted error, which occurs once.

PLANT is one of: step-before:EVENT, step-after:EVENT (the engine's step fails at this event, before or after its work);
effect:NAME, effect-after:NAME (executing this effect fails, before or after its work); reap (reaping fails once
"trigger" has died; reap:loader: the loader); lost (the re-execution state is invalid); exec (the interpreter is gone).
It may be preceded by, each with a +: TIMES (this many errors occurred before); signal:NUMBER (the signal arrives
immediately before the error); executes (the program is executed again, as after many errors, instead of a rebuilt loop
in this process).
"""

import os
import sys
import time
from typing import Any

source, plant = sys.argv[1:3]
sys.path.append(source)
sys.argv = [os.path.join(source, "cohabit", "__main__.py"), *sys.argv[3:]]

from cohabit.cli import main as front  # noqa: E402 - its path was not known before
from cohabit.engine.supervisor import Supervisor  # noqa: E402
from cohabit.reactor import reexecution  # noqa: E402
from cohabit.reactor.loop import Loop  # noqa: E402
from cohabit.reactor.performing import Performer  # noqa: E402
from cohabit.reactor.processes.tree import Trees  # noqa: E402

*before, plant = plant.split("+")
kind, _, name = plant.partition(":")


def fail() -> None:
    """The planted error."""
    planted.clear()
    for word in before:
        if word.startswith("signal:"):
            os.kill(os.getpid(), int(word.partition(":")[2]))
    if is_exec:
        sys.executable = "/no/such/interpreter"
    raise RuntimeError("planted")


def step(self: Supervisor, event: Any, now: float) -> Any:
    """The engine's step, and the error."""
    here = planted and type(event).__name__ == name and getattr(event, "service", "trigger") == "trigger"
    if here and kind == "step-before":
        fail()
    effects = real_step(self, event, now)
    if here and kind == "step-after":
        fail()
    return effects


def perform(self: Performer, effect: Any) -> None:
    """Execute an effect, or fail with the error."""
    service = getattr(effect, "service", "trigger")
    named = getattr(service, "name", service) in ("trigger", "")
    here = planted and named and type(effect).__name__ == name
    if here and kind == "effect":
        fail()
    real_perform(self, effect)
    if here and kind == "effect-after":
        fail()


def with_orphans(self: Trees) -> set[str]:
    """Check the orphans, or fail with the error: a process has just been reaped and this is not yet reported."""
    who = "\0loader" if name == "loader" else "trigger"
    if planted and who in self.sessions.trees() and who not in self.leaders.values():
        fail()
    return real_keys_with_orphans(self)


def run(loop: Loop, programs: int = 0) -> int | bytes:
    """Run the loop with the record of earlier errors."""
    loop.errors_at = [time.monotonic()] * errors
    return real_run(loop, programs)


is_exec = False
planted = [plant]
real_step, real_perform, real_keys_with_orphans, real_run = (
    Supervisor.step,
    Performer.perform,
    Trees.keys_with_orphans,
    reexecution.run,
)
if kind.startswith("step"):
    Supervisor.step = step  # type: ignore[method-assign]
elif kind in ("effect", "effect-after"):
    Performer.perform = perform  # type: ignore[method-assign]
elif kind == "reap":
    Trees.keys_with_orphans = with_orphans  # type: ignore[method-assign]
elif kind in ("lost", "exec"):
    is_exec = kind == "exec"
    kind, name = "step-before", "Exited"
    Supervisor.step = step  # type: ignore[method-assign]
    if not is_exec:
        Supervisor.to_plain = lambda self: {"units": None}  # type: ignore[method-assign]  # noqa: ARG005
errors = sum(int(word) for word in before if word.isdecimal())
if errors:
    reexecution.run = run
if "executes" in before or is_exec:
    reexecution._FORMER_MAX = 0
front.main()
