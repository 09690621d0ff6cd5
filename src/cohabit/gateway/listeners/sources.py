"""The threads that make supervisord's events: from the events and the output of cohabit, and from the clock."""

from __future__ import annotations

import threading
import time

from cohabit.client import Client
from cohabit.gateway.listeners import payloads
from cohabit.gateway.listeners.capture import Capture
from cohabit.gateway.listeners.types import TICK_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.api.status import Event
    from cohabit.gateway.configuration import Active
    from cohabit.gateway.listeners.dispatcher import Dispatcher


class Sources:
    """What is known of the processes: their pids, for the events about their output."""

    def __init__(self, dispatcher: Dispatcher, active: Active) -> None:
        self._dispatcher = dispatcher
        self._active = active
        self._changed = threading.Event()  # what is wanted
        self._pids: dict[str, int] = {}
        self._states = payloads.StateEvents()

    def start(self) -> None:
        """Start the threads that are needed."""
        threading.Thread(target=self._tick, daemon=True).start()
        processes = {one.namespec: one for one in self._active.processes()}
        talking = [name for name, one in processes.items() if any(map(one.captures, ("stdout", "stderr")))]
        logging = [name for name, one in processes.items() if any(map(one.logs_events, ("stdout", "stderr")))]
        names = list(dict.fromkeys(talking + logging))
        if names:
            threading.Thread(target=self._follow, args=(names,), daemon=True).start()

    def happened(self, event: Event) -> None:
        """An event of cohabit."""
        process = self._active.find(event.service)
        if process is None:
            if not event.service and event.event == "stopping":
                self._dispatcher.post(("SUPERVISOR_STATE_CHANGE_STOPPING", ""))
            return
        if event.pid:
            self._pids[event.service] = event.pid
        for made in self._states.of(process, event):
            self._dispatcher.post(made)

    def changed(self) -> None:
        """The pools are others."""
        self._changed.set()

    def _tick(self) -> None:
        """Post each tick at a multiple of its period, as the clock shows it."""
        last = int(time.time())
        while True:
            periods = [seconds for name, seconds in TICK_SECONDS.items() if self._dispatcher.wants(name)]
            period = min(periods, default=None)
            self._changed.wait(None if period is None else period - time.time() % period)
            self._changed.clear()
            when = int(time.time())
            for name, seconds in TICK_SECONDS.items():
                if when // seconds != last // seconds:
                    self._dispatcher.post(payloads.tick(name, when - when % seconds))
            last = when

    def _follow(self, names: list[str]) -> None:
        """Post what these processes write."""
        captures: dict[tuple[str, str], Capture] = {}
        for record in Client().logs(*names, tail=0, follow=True):
            process = self._active.find(record.service)
            if process is None or record.stream not in ("stdout", "stderr"):
                continue
            pid = self._pids.get(record.service, 0)
            if process.captures(record.stream):
                key = (record.service, record.stream)
                capture = captures.setdefault(key, Capture(process.captures(record.stream)))
                for text in capture.received(record.data):
                    self._dispatcher.post(payloads.process_communication(process, pid, record.stream, text))
            if process.logs_events(record.stream):
                self._dispatcher.post(payloads.process_log(process, pid, record.stream, record.data))
