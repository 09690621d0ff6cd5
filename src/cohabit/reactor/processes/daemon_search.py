"""Searches for the daemons of services whose commands have ended with 0 and left processes behind (daemon.py)."""

from __future__ import annotations

import time

from cohabit.engine.events import Daemonised
from cohabit.reactor.processes.daemon import find_daemon, unattributed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.plan.model import Service
    from cohabit.reactor.processes.started import Children

_SECONDS = 0.25  # a daemon calls setsid much sooner after its parent's end
_PID_FILE_SECONDS = 5.0
_PAUSE_SECONDS = 0.002  # before the second attempt; each later pause is as long as all before it


class DaemonSearch:
    """until: the services whose daemon is being searched, each with the monotonic seconds of its timeout."""

    def __init__(self, children: Children) -> None:
        self.until: dict[str, float] = {}
        self._children = children

    def begin(self, service: Service) -> None:
        """Search the daemon of a service. The event is Daemonised, or Exited if none is found."""
        self.until[service.name] = time.monotonic() + _timeout_seconds(service)
        self._search(service.name)

    def resume(self, until: dict[str, float]) -> None:
        """After a re-execution: continue these searches."""
        self.until = until
        for name in until:
            self._search_at(name, 0.0)

    def give_up(self, name: str) -> bool:
        """End the search without a result, because the service stops; False if there is none."""
        if self.until.pop(name, None) is None:
            return False
        self._children.poller.cancel(("daemon", name))
        self._children.report_exited(name, 0, orphans=self._children.trees.lives(name))
        return True

    def _search(self, name: str) -> None:
        """Find the daemon of a service whose command has ended with 0.

        No event reports that a daemon has called setsid(2) or has written its pid file. Before the setsid it looks like
        any process that the service left behind. So the attempts are repeated until a timeout.
        """
        children = self._children
        now, until, service = time.monotonic(), self.until[name], children.services[name]
        pid, why = find_daemon(service, children.trees, children.started_at.get(name, 0))
        if (why or not pid) and now < until and self._may_appear(service):
            pause = min(_PAUSE_SECONDS + (now - (until - _timeout_seconds(service))), until - now)
            self._search_at(name, now + pause)
            return
        del self.until[name]
        if why:
            children.say("warning", name, why)
        if pid and children.adopt(name, pid):
            children.emit(Daemonised(name, pid))
        else:
            children.report_exited(name, 0, orphans=children.trees.lives(name))

    def _search_at(self, name: str, when: float) -> None:
        self._children.poller.call_at(("daemon", name), when, lambda: self._search(name))

    def _may_appear(self, service: Service) -> bool:
        """Whether the daemon of a service may still be found."""
        children = self._children
        pids = service.pid_file and unattributed(children.trees, children.started_at.get(service.name, 0))
        return bool(pids) or children.trees.lives(service.name)


def _timeout_seconds(service: Service) -> float:
    return _PID_FILE_SECONDS if service.pid_file else _SECONDS
