"""Signals that process 1 does not use itself: the main command of `run` and `up -- COMMAND` gets them, as with `init`.

HUP is one of them where there is no file to read again. With a terminal, WINCH reports a new size to its foreground,
which has it from the kernel. A signal without a receiver is probably the STOPSIGNAL of a base image: httpd has WINCH,
haproxy has USR1. Nothing stops then, so it is reported, once for each signal.
"""

from __future__ import annotations

from cohabit.engine import requests
from cohabit.engine.events import Requested
from cohabit.engine.run import PENDING
from cohabit.reactor import signals
from cohabit.reactor.linux import os
from cohabit.units import signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cohabit.engine.supervisor import Supervisor
    from cohabit.reactor.context import Log


class Forwarding:
    """Turns received signals into requests to the engine. early: those that came before main was started."""

    def __init__(self, engine: Supervisor, log: Log) -> None:
        self._engine = engine
        self._log = log
        self._reported: set[int] = set()
        self.early: set[int] = set()

    @property
    def takes_hup(self) -> bool:
        """Whether HUP goes to the main command."""
        plan = self._engine.plan
        return plan is not None and bool(plan.main) and not plan.reloads

    def requests(self, numbers: Iterable[int]) -> list[Requested]:
        """Return the requests for those of the signals that can be forwarded."""
        wanted = self.early | (signals.FORWARDED | {signals.HUP}).intersection(numbers)
        self.early = set()
        return [each for number in sorted(wanted) for each in self._request(number)]

    def _request(self, number: int) -> list[Requested]:
        if number == signals.WINCH and _has_terminal():
            return []
        plan = self._engine.plan
        main = plan.main if plan else ""
        unit = self._engine.units.get(main)
        if plan is None or (unit is not None and unit.run.process == PENDING):
            self.early.add(number)
            return []
        if unit is not None and unit.run.main_alive:
            return [Requested(requests.SIGNAL, (main,), number)]
        if number not in self._reported:
            self._reported.add(number)
            why = f"{main} is not running" if main else "no main command was given, as to `run --main` or `up --`"
            self._log("warning", "", f"{signal_name(number)} has no receiver: {why} ({_what_to_do(number)})")
        return []


def _what_to_do(number: int) -> str:
    name = signal_name(number)
    return (
        f"if {name} is the STOPSIGNAL of the image: write STOPSIGNAL SIGTERM in the Dockerfile, or use "
        f"docker run --stop-signal SIGTERM; for one service: cohabit signal {name.removeprefix('SIG')} SERVICE"
    )


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True
