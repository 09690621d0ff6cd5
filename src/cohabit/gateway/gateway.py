"""The state that all requests share: the active groups, and the way to process 1."""

from __future__ import annotations

import threading
import time

from cohabit.client import Client
from cohabit.gateway.faults import SHUTDOWN_STATE, Fault
from cohabit.gateway.info import process_info
from cohabit.gateway.mirror import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import Any

    from cohabit.gateway.configuration import Active, Configuration, Group, Process
    from cohabit.gateway.mirror import Mirror

RUNNING, SHUTDOWN, RESTARTING = 1, -1, 0
STATE_NAMES = {RUNNING: "RUNNING", SHUTDOWN: "SHUTDOWN", RESTARTING: "RESTARTING"}


class Gateway:
    """Created once; its methods may be called by several threads.

    read: reads supervisord.conf again (UnreadableError).
    state: RUNNING, SHUTDOWN or RESTARTING, as in getState. post: passes an event (type, payload) to the listeners.
    group_changed(group, added): a group was added, or removed.
    """

    def __init__(self, active: Active, mirror: Mirror, read: Callable[[], Configuration]) -> None:
        self.active = active
        self.mirror = mirror
        self.read = read
        self.state = RUNNING
        self.post: Callable[[tuple[str, str]], None] = _ignore
        self.group_changed: Callable[[Group, bool], None] = _ignore_group
        self._local = threading.local()

    def check_running(self) -> None:
        """Raise Fault once everything is being stopped or restarted."""
        if self.state != RUNNING:
            raise Fault(SHUTDOWN_STATE)

    def state_of(self, process: Process) -> State:
        """Its state; of one that cohabit does not know, as if it was never started."""
        return self.mirror.states.get(process.namespec) or State("STOPPED")

    def in_states(
        self, processes: Sequence[Process], states: Collection[str], *, others: bool = False
    ) -> list[Process]:
        """Those that are in one of these states; others: those that are not."""
        return [one for one in processes if (self.state_of(one).state in states) is not others]

    def info(self, process: Process) -> dict[str, Any]:
        """The struct of getProcessInfo."""
        return process_info(process, self.state_of(process), time.time())

    def client(self) -> Client:
        """The connection of this thread."""
        found: Client | None = getattr(self._local, "client", None)
        if found is None:
            found = self._local.client = Client()
        return found

    def close(self) -> None:
        """Close the connection of this thread."""
        found: Client | None = getattr(self._local, "client", None)
        if found is not None:
            self._local.client = None
            found.close()


def _ignore(_event: tuple[str, str]) -> None:
    """There are no event listeners."""


def _ignore_group(_group: Group, _added: bool) -> None:
    """There are no event listeners."""
