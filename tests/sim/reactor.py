"""The simulated reactor: carries out effects on the simulated kernel, and turns what happens there into events.

It makes the same guarantees as reactor/loop.py and reactor/processes/children.py. The engine may rely on these only:

  - Exited never comes before Spawned. A Spawn has one Spawned or SpawnFailed, a RunHook one HookEnded.
  - `orphans` says whether other processes of the service are alive. HookEnded sets it only without a main process.
  - TreeGone comes when the last of these has ended, unless a new process of the service was started in the meantime.
  - The cause of SpawnFailed or HookEnded is SKIPPED only for the first process of a run.
  - HookEnded always comes, before or after Exited.
  - Daemonised comes in place of Exited(0, orphans), a moment later. A signal in that moment ends the search.
  - After StopAsking there is no Probed and no Notified, except those that were in the queue.
  - Swept comes when no process is left.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from cohabit.engine import effects, events
from cohabit.plan.model import PASSIVE_PROBES
from cohabit.plan.reason import NO_ROOM, NOT_FOUND, SKIPPED, Reason

if TYPE_CHECKING:
    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.plan.model import Plan, Probe, Service
    from sim.kernel import Kernel, Process
    from sim.plans import FaultProfile

_SYSTEM = 71
_NO_ROOM = Reason(NO_ROOM, _SYSTEM, detail="no more processes")
_DAEMON_SECONDS = (0.0, 0.002, 0.25, 0.25)  # until it is known whether the service has become a daemon


class Reactor:
    """The state of process 1 outside the engine. queue: the events that effects cause at once."""

    def __init__(self, rng: Random, faults: FaultProfile, kernel: Kernel, skips: Random) -> None:
        self.queue: list[Event] = []
        self.mains: dict[str, Process] = {}  # from fork to reaping
        self.hooks: dict[str, Process] = {}
        self._hook_numbers: dict[str, int] = {}
        self.probing: dict[str, int] = {}  # running probes
        self.scheduled: tuple[str, ...] = ()
        self._rng = rng
        self._faults = faults
        self._kernel = kernel
        self._skips = skips
        self._skipped = skips.choice((0.0, 0.0, 0.3, 1.0))  # of the runs whose first process cannot be executed
        self._starting: set[str] = set()  # between fork and exec
        self._lingering: set[str] = set()  # without a main process, with other processes alive
        self._searching: dict[str, int] = {}  # ended with 0, other processes alive: one may be the daemon
        self._searched: list[tuple[str, int]] = []  # searches whose time is over
        self._services: dict[str, Service] = {}
        self._passive: dict[str, int] = {}  # services with a passive probe
        self._messages: list[Event] = []
        self._count = 0
        self._sweeping = False

    # --- effects -------------------------------------------------------------------------------------

    def perform(self, effect: Effect) -> None:
        """Carry out one effect."""
        match effect:
            case effects.Spawn(service):
                self._spawn(service)
            case effects.RunHook(service, stage, number):
                self._hook_numbers[service.name] = number
                self._run_hook(service.name, stage)
            case effects.Signal(name, number):
                self._signal(name, number)
            case effects.SignalTree(name, number):
                for process in self._kernel.members(name):
                    self._kernel.signal(process, number)
            case effects.Pause(name):
                self._kernel.paused.add(name)
            case effects.Unpause(name):
                self._kernel.unpause(name)
            case effects.Ask(service):
                self._ask(service)
            case effects.StopAsking(name):
                self.probing.pop(name, None)
                self._passive.pop(name, None)
            case effects.Prepare(plan):
                self._prepare(plan)
            case effects.Sweep(number):
                self._sweep(number)

    def _spawn(self, service: Service) -> None:
        name = service.name
        self._kernel.paused.discard(name)  # its former processes have ended
        if self._rng.random() < self._faults.fork_fails:
            self.queue.append(events.SpawnFailed(name, _NO_ROOM, self._check_lingering(name)))
            return
        self._lingering.discard(name)
        self._services[name] = service
        self.mains[name] = self._kernel.fork(name)
        self._starting.add(name)
        if service.probe is not None and service.probe.kind in PASSIVE_PROBES:
            self._passive[name] = self._next_token()

    def _run_hook(self, name: str, stage: str) -> None:
        if self._rng.random() < self._faults.fork_fails:
            orphans = self._has_no_main(name) and self._check_lingering(name)
            self.queue.append(events.HookEnded(name, _SYSTEM, _NO_ROOM, orphans))
        else:
            if stage in ("pre_start", "post_stop"):
                self._lingering.discard(name)
            self.hooks[name] = self._kernel.fork(name, stage)
            if stage == "pre_stop":
                self._may_ask_for_time(name)

    def _signal(self, name: str, number: int) -> None:
        if name in self._searching:  # it stops: the search ends without a result
            del self._searching[name]
            self._lingering.add(name)
            self.queue.append(events.Exited(name, 0, orphans=True))
            return
        process = self.mains.get(name) or self.hooks.get(name)
        if process is not None:
            self._kernel.signal(process, number)
            self._may_ask_for_time(name)

    def _may_ask_for_time(self, name: str) -> None:
        """Some services that are being stopped ask for a longer time (EXTEND_TIMEOUT_USEC=)."""
        process, service = self.mains.get(name), self._services.get(name)
        if process is None or service is None or service.probe is None or service.probe.kind != "notify":
            return
        # Of its own, so that it changes no other event of a seed.
        rng = Random(f"{name} {process.pid} {self._kernel.now}")  # noqa: S311 - not for cryptography
        if rng.random() < 0.5:
            message = events.Notified(name, extend_seconds=rng.choice((1.0, 5.0, 60.0)))
            self._kernel.at(self._kernel.now + rng.choice((0.0, 0.5, 3.0)), self._ask_for_time, process, message)

    def _ask_for_time(self, process: Process, message: Event) -> None:
        if process.alive:
            self._messages.append(message)

    def _prepare(self, plan: Plan) -> None:
        self.scheduled = tuple(name for name, service in plan.services.items() if service.schedule is not None)

    def _sweep(self, number: int) -> None:
        for process in list(self._kernel.living.values()):
            self._kernel.signal(process, number)
        if self._kernel.living:
            self._sweeping = True
        else:
            self.queue.append(events.Swept())

    # --- probes --------------------------------------------------------------------------------------

    def _ask(self, service: Service) -> None:
        probe = service.probe
        if probe is None:
            return
        delay = self._rng.choice((0.0, 0.01, 0.3, probe.timeout_seconds))
        if self._rng.random() < 0.1:  # a connection on the loopback device may succeed at once
            self.queue.append(self._answer(service.name))
        else:
            token = self.probing[service.name] = self._next_token()
            self._kernel.at(self._kernel.now + delay, self._probe_answers, service.name, token)

    def _probe_answers(self, name: str, token: int) -> None:
        if self.probing.get(name) == token:
            del self.probing[name]
            self._messages.append(self._answer(name))

    def _answer(self, name: str) -> Event:
        process = self.mains.get(name)
        probe_fails = self._rng.random() < self._faults.probe_fails or self._rng.random() < self._faults.never_healthy
        passed = process is not None and process.alive and not probe_fails
        return events.Probed(name, passed, "" if passed else "refused")

    def _plan_messages(self, name: str) -> None:
        """Schedule the messages of a service with a passive probe."""
        probe, token = self._services[name].probe, self._passive.get(name)
        if probe is None or token is None:
            return
        draw = self._rng.choice
        if probe.kind == "notify" and self._rng.random() < 0.3:
            status = events.Notified(name, status="loading", extend_seconds=draw((0.0, 5.0, 60.0)))
            self._kernel.at(self._kernel.now + draw((0.0, 1.0, 15.0)), self._send_message, name, token, status, probe)
        if self._rng.random() >= self._faults.never_healthy:
            ready = events.Notified(name, ready=True) if probe.kind == "notify" else events.Probed(name, True, "ready")
            self._kernel.at(
                self._kernel.now + draw((0.0, 0.5, 3.0, 20.0)), self._send_message, name, token, ready, probe
            )

    def _send_message(self, name: str, token: int, event: Event, probe: Probe) -> None:
        process = self.mains.get(name)
        if self._passive.get(name) != token or process is None or not process.alive:
            return
        if not isinstance(event, events.Notified):
            self._messages.append(event)
            return
        self._messages.append(event.replace(main_pid=self._another_main(process)))
        rng, following = self._rng, None
        if probe.watchdog_seconds and rng.random() >= self._faults.watchdog_stops:
            following = events.Notified(name, watchdog="1")
        elif rng.random() < self._faults.probe_fails:
            following = events.Notified(name, watchdog="trigger")
        elif rng.random() < 0.1:
            following = rng.choice((events.Notified(name, reloading=True), events.Notified(name, ready=True)))
        if following is not None:
            after = rng.choice((0.2, 0.5, 0.5, 0.9, 1.5)) * (probe.watchdog_seconds or 5.0)
            self._kernel.at(self._kernel.now + after, self._send_message, name, token, following, probe)

    def _another_main(self, process: Process) -> int:
        """MAINPID: sometimes a service names another process of its own as its main process. 0 for none."""
        others = [other for other in self._kernel.members(process.service) if not other.leader]
        if not others or self._rng.random() < 0.9:
            return 0
        process.leader, others[0].leader = False, True
        self.mains[process.service] = others[0]
        return others[0].pid

    # --- events --------------------------------------------------------------------------------------

    def gather(self) -> list[Event]:
        """Return the events that process 1 finds when it wakes."""
        seen: list[Event] = []
        for process in self._kernel.confirmed:
            self._confirmed(process, seen)
        self._kernel.confirmed.clear()
        seen += self._messages
        self._messages.clear()
        self._reap(seen)
        for name, token in self._searched:
            if self._searching.get(name) == token:
                self._search_ends(name, seen)
        self._searched.clear()
        if self._sweeping and not self._kernel.living:
            seen.append(events.Swept())
            self._sweeping = False
        return seen

    def _confirmed(self, process: Process, seen: list[Event]) -> None:
        name = process.service
        if name in self._starting and self.mains[name] is process:
            self._starting.discard(name)
            seen.append(events.Spawned(name, process.pid))
            self._plan_messages(name)

    def _reap(self, seen: list[Event]) -> None:
        zombies, self._kernel.zombies = self._kernel.zombies, []
        self._rng.shuffle(zombies)
        for process in zombies:
            if process.leader:
                self._ended(process, seen)
        for name in sorted(self._lingering):
            if not self._kernel.members(name):
                self._lingering.discard(name)
                seen.append(events.TreeGone(name))

    def _ended(self, process: Process, seen: list[Event]) -> None:
        if process.hook:
            self._hook_ended(process, seen)
            return
        name = process.service
        del self.mains[name]
        if name in self._starting:
            self._starting.discard(name)
            if process.exec_failed:
                cause = self._why_not_executed(process, first=not self._services[name].pre_start)
                seen.append(events.SpawnFailed(name, cause, self._check_lingering(name)))
                return
            seen.append(events.Spawned(name, process.pid))
        orphans = bool(self._kernel.members(name))
        if orphans and process.code == 0 and not self._services[name].job and not self._sweeping:
            token = self._searching[name] = self._next_token()
            self._kernel.at(self._kernel.now + self._rng.choice(_DAEMON_SECONDS), self._searched.append, (name, token))
        else:
            left = self._check_lingering(name)
            seen.append(events.Exited(name, process.code, left, by_signal=process.by_signal))

    def _hook_ended(self, process: Process, seen: list[Event]) -> None:
        name = process.service
        del self.hooks[name]
        first = self._hook_numbers.pop(name) == 0 and process.hook == "pre_start"
        cause = self._why_not_executed(process, first=first) if process.exec_failed else None
        orphans = self._has_no_main(name) and bool(self._kernel.members(name))
        if orphans:
            self._lingering.add(name)
        seen.append(events.HookEnded(name, process.code, cause, orphans))

    def _why_not_executed(self, process: Process, *, first: bool) -> Reason:
        if first and self._skips.random() < self._skipped:
            return Reason(SKIPPED, detail="the variable X is not set")
        return Reason(NOT_FOUND, process.code, path=process.service)

    def _search_ends(self, name: str, seen: list[Event]) -> None:
        """The daemon is the only process with a session of its own, if there is just one."""
        del self._searching[name]
        daemons = [process for process in self._kernel.members(name) if process.session]
        if len(daemons) == 1:
            daemons[0].leader = True
            self.mains[name] = daemons[0]
            seen.append(events.Daemonised(name, daemons[0].pid))
        else:
            seen.append(events.Exited(name, 0, self._check_lingering(name)))

    def _has_no_main(self, name: str) -> bool:
        return name not in self.mains and name not in self._searching

    def _check_lingering(self, name: str) -> bool:
        """Whether processes of it are left; if so, TreeGone will come."""
        if self._kernel.members(name):
            self._lingering.add(name)
        else:
            self._lingering.discard(name)
        return name in self._lingering

    @property
    def awaits_event(self) -> bool:
        """Whether a probe or a search for a daemon will end with an event."""
        return bool(self.probing or self._searching)

    def reexecuted(self) -> None:
        """Running probes are lost in a re-execution."""
        self.probing.clear()

    def _next_token(self) -> int:
        self._count += 1
        return self._count
