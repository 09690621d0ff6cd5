"""clock_host.py SOURCE NAME CRON [NAME CRON...]: a process 1 with nothing but the Clock; prints its messages."""

import os
import sys
import time
from collections.abc import Callable

sys.path.append(sys.argv[1])

from cohabit.plan.model import Schedule
from cohabit.reactor import signals
from cohabit.reactor.clock import Clock
from cohabit.reactor.context import Context
from cohabit.reactor.poller import Poller
from cohabit.reactor.processes import spawn
from cohabit.reactor.processes.child import SpawnSpec

children: dict[int, Callable[[int, str], None]] = {}


def launch(_key: str, start: SpawnSpec, ended: Callable[[int, str], None], _forked: object = None) -> None:
    """Start a child; its exec is assumed to succeed."""
    pid, errors = spawn.spawn(start)
    os.close(errors)
    children[pid] = ended


def kill(_key: str) -> None:
    """Kill the child."""
    for pid in children:
        os.kill(pid, 9)


poller = Poller()
context = Context(
    poller,
    emit=lambda fact: print("due", getattr(fact, "service", fact), flush=True),
    log=lambda _level, _service, text: print("said", text, flush=True),
    run_program=launch,
    kill_program=kill,
    given=signals.InheritedSignals(frozenset(), frozenset()),
    environment=dict(os.environ),
)
clock = Clock(context)
arguments = sys.argv[2:]
clock.set([(name, Schedule(cron)) for name, cron in zip(arguments[::2], arguments[1::2], strict=True)])
while True:
    poller.wait(0.01)
    poller.run_timers(time.monotonic())
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        continue
    if pid in children:
        children.pop(pid)(spawn.exit_code(status), "")
