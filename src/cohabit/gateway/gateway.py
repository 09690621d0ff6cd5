"""The state that all requests share: the active groups, and the way to process 1."""

from __future__ import annotations

import threading
import time

from cohabit.client import Client
from cohabit.gateway.faults import BAD_NAME, SHUTDOWN_STATE, Fault
from cohabit.gateway.info import process_info

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from cohabit.api.status import ServiceStatus
    from cohabit.gateway.configuration import Active, Configuration, Process

RUNNING, SHUTDOWN, RESTARTING = 1, -1, 0
STATE_NAMES = {RUNNING: "RUNNING", SHUTDOWN: "SHUTDOWN", RESTARTING: "RESTARTING"}


class Gateway:
    """Created once; its methods may be called by several threads.

    read: reads supervisord.conf again (UnreadableError).
    state: RUNNING, SHUTDOWN or RESTARTING, as in getState. post: passes an event (type, payload) to the listeners.
    """

    def __init__(self, active: Active, read: Callable[[], Configuration]) -> None:
        self.active = active
        self.read = read
        self.state = RUNNING
        self.post: Callable[[tuple[str, str]], None] = _ignore
        self._local = threading.local()

    def check_running(self) -> None:
        """Raise Fault once everything is being stopped or restarted."""
        if self.state != RUNNING:
            raise Fault(SHUTDOWN_STATE)

    def statuses(self, processes: Sequence[Process] = ()) -> dict[str, ServiceStatus]:
        """The status of these processes, or of all, by namespec; those that cohabit does not know are left out."""
        found = {one.name: one for one in self.client().status().services}
        if not processes:
            return found
        return {one.namespec: found[one.namespec] for one in processes if one.namespec in found}

    def status(self, process: Process) -> ServiceStatus:
        """The status of one process. Raises Fault."""
        found = self.statuses([process]).get(process.namespec)
        if found is None:
            raise Fault(BAD_NAME, process.namespec)
        return found

    def info(self, process: Process, status: ServiceStatus | None) -> dict[str, Any]:
        """The struct of getProcessInfo."""
        return process_info(process, status, time.time())

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
