"""The simulated reactor: effects to the kernel, and what process 1 learns of it, as facts.

It keeps the promises of reactor/loop.py and reactor/processes/children.py, which is all that the engine may rely on:

  - Exited never comes before Spawned; SpawnFailed and HookEnded are the one answer of theirs;
  - `orphans` says whether others of the service live; HookEnded says so only when no main process does;
  - TreeGone comes when the last of those has gone, unless more of the service was started in the meantime;
  - a hook's end is always told, before or after that of the main process;
  - Daemonised comes instead of Exited(0, orphans), a moment later; a signal in that moment ends the search;
  - nothing is answered or told after StopAsking, but for what lay in the queue already;
  - Swept when no process is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine import effects, events
from cohabit.plan.model import PASSIVE_PROBES

if TYPE_CHECKING:
    from random import Random

    from cohabit.engine.effects import Effect
    from cohabit.engine.events import Event
    from cohabit.plan.model import Plan, Probe, Service
    from sim.kernel import Kernel, Process
    from sim.plans import Climate

_SYSTEM = 71
_NO_ROOM = "no room for another process"
_DAEMON_SECONDS = (0.0, 0.002, 0.25, 0.25)  # until it is known whether somebody put himself in the background


class Reactor:
    """What process 1 holds besides the engine. `facts`: what it learns while it carries out effects."""

    def __init__(self, rng: Random, climate: Climate, kernel: Kernel) -> None:
        self.facts: list[Event] = []
        self.mains: dict[str, Process] = {}  # from fork to reaping
        self.hooks: dict[str, Process] = {}
        self.asking: dict[str, int] = {}  # whose answer is awaited
        self.scheduled: tuple[str, ...] = ()
        self._rng = rng
        self._climate = climate
        self._kernel = kernel
        self._starting: set[str] = set()  # their exec is not confirmed
        self._haunted: set[str] = set()  # no main process, others live
        self._searching: dict[str, int] = {}  # ended well, others live: is one of them a daemon?
        self._searched: list[tuple[str, int]] = []  # the time for that is over
        self._services: dict[str, Service] = {}
        self._telling: dict[str, int] = {}  # who may tell how he is
        self._told: list[Event] = []
        self._count = 0
        self._sweeping = False

    # --- from effects to the world -------------------------------------------------------------------

    def perform(self, effect: Effect) -> None:
        """Carry out one effect."""
        match effect:
            case effects.Spawn(service):
                self._spawn(service)
            case effects.RunHook(service, stage):
                self._run_hook(service.name, stage)
            case effects.Signal(name, number):
                self._signal(name, number)
            case effects.SignalTree(name, number):
                for process in self._kernel.members(name):
                    self._kernel.signal(process, number)
            case effects.Ask(service):
                self._ask(service)
            case effects.StopAsking(name):
                self.asking.pop(name, None)
                self._telling.pop(name, None)
            case effects.Prepare(plan):
                self._prepare(plan)
            case effects.Sweep(number):
                self._sweep(number)

    def _spawn(self, service: Service) -> None:
        name = service.name
        if self._rng.random() < self._climate.fork_fails:
            self.facts.append(events.SpawnFailed(name, _NO_ROOM, _SYSTEM, self._haunts(name)))
            return
        self._haunted.discard(name)
        self._services[name] = service
        self.mains[name] = self._kernel.fork(name)
        self._starting.add(name)
        if service.probe is not None and service.probe.kind in PASSIVE_PROBES:
            self._telling[name] = self._number()

    def _run_hook(self, name: str, stage: str) -> None:
        if self._rng.random() < self._climate.fork_fails:
            orphans = self._has_no_main(name) and self._haunts(name)
            self.facts.append(events.HookEnded(name, _SYSTEM, f"could not be started: {_NO_ROOM}", orphans))
        else:
            if stage == "pre_start":
                self._haunted.discard(name)
            self.hooks[name] = self._kernel.fork(name, stage)

    def _signal(self, name: str, number: int) -> None:
        if name in self._searching:  # no time for questions
            del self._searching[name]
            self._haunted.add(name)
            self.facts.append(events.Exited(name, 0, orphans=True))
            return
        process = self.mains.get(name) or self.hooks.get(name)
        if process is not None:
            self._kernel.signal(process, number)

    def _prepare(self, plan: Plan) -> None:
        self.scheduled = tuple(name for name, service in plan.services.items() if service.schedule is not None)

    def _sweep(self, number: int) -> None:
        for process in list(self._kernel.living.values()):
            self._kernel.signal(process, number)
        if self._kernel.living:
            self._sweeping = True
        else:
            self.facts.append(events.Swept())

    # --- how they are --------------------------------------------------------------------------------

    def _ask(self, service: Service) -> None:
        probe = service.probe
        if probe is None:
            return
        delay = self._rng.choice((0.0, 0.01, 0.3, probe.timeout_seconds))
        if self._rng.random() < 0.1:  # on the loopback it may answer at once
            self.facts.append(self._answer(service.name))
        else:
            token = self.asking[service.name] = self._number()
            self._kernel.at(self._kernel.now + delay, self._answers, service.name, token)

    def _answers(self, name: str, token: int) -> None:
        if self.asking.get(name) == token:
            del self.asking[name]
            self._told.append(self._answer(name))

    def _answer(self, name: str) -> Event:
        process = self.mains.get(name)
        unwell = self._rng.random() < self._climate.unwell or self._rng.random() < self._climate.never_well
        passed = process is not None and process.alive and not unwell
        return events.Probed(name, passed, "" if passed else "refused")

    def _begins_to_tell(self, name: str) -> None:
        """It runs: what it will say of itself, and when."""
        probe, token = self._services[name].probe, self._telling.get(name)
        if probe is None or token is None:
            return
        draw = self._rng.choice
        if probe.kind == "notify" and self._rng.random() < 0.3:
            status = events.Notified(name, status="loading", extend_seconds=draw((0.0, 5.0, 60.0)))
            self._kernel.at(self._kernel.now + draw((0.0, 1.0, 15.0)), self._tells, name, token, status, probe)
        if self._rng.random() >= self._climate.never_well:
            ready = events.Notified(name, ready=True) if probe.kind == "notify" else events.Probed(name, True, "ready")
            self._kernel.at(self._kernel.now + draw((0.0, 0.5, 3.0, 20.0)), self._tells, name, token, ready, probe)

    def _tells(self, name: str, token: int, fact: Event, probe: Probe) -> None:
        process = self.mains.get(name)
        if self._telling.get(name) != token or process is None or not process.alive:
            return
        if not isinstance(fact, events.Notified):
            self._told.append(fact)
            return
        self._told.append(fact.replace(main_pid=self._another_main(process)))
        rng, then = self._rng, None
        if probe.watchdog_seconds and rng.random() >= self._climate.silent:
            then = events.Notified(name, watchdog="1")
        elif rng.random() < self._climate.unwell:
            then = events.Notified(name, watchdog="trigger")
        elif rng.random() < 0.1:
            then = rng.choice((events.Notified(name, reloading=True), events.Notified(name, ready=True)))
        if then is not None:
            after = rng.choice((0.2, 0.5, 0.5, 0.9, 1.5)) * (probe.watchdog_seconds or 5.0)
            self._kernel.at(self._kernel.now + after, self._tells, name, token, then, probe)

    def _another_main(self, process: Process) -> int:
        """MAINPID: now and then it says that another process of its is the main one from now on."""
        others = [other for other in self._kernel.members(process.service) if not other.leader]
        if not others or self._rng.random() < 0.9:
            return 0
        process.leader, others[0].leader = False, True
        self.mains[process.service] = others[0]
        return others[0].pid

    # --- from the world to facts ---------------------------------------------------------------------

    def gather(self) -> list[Event]:
        """What process 1 sees when it wakes."""
        seen: list[Event] = []
        for process in self._kernel.confirmed:
            self._confirmed(process, seen)
        self._kernel.confirmed.clear()
        seen += self._told
        self._told.clear()
        self._reap(seen)
        for name, token in self._searched:
            if self._searching.get(name) == token:
                self._search_is_over(name, seen)
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
            self._begins_to_tell(name)

    def _reap(self, seen: list[Event]) -> None:
        zombies, self._kernel.zombies = self._kernel.zombies, []
        self._rng.shuffle(zombies)
        for process in zombies:
            if process.leader:
                self._ended(process, seen)
        for name in sorted(self._haunted):
            if not self._kernel.members(name):
                self._haunted.discard(name)
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
                seen.append(events.SpawnFailed(name, f"{name!r} is not found", process.code, self._haunts(name)))
                return
            seen.append(events.Spawned(name, process.pid))
        orphans = bool(self._kernel.members(name))
        if orphans and process.code == 0 and not self._services[name].job and not self._sweeping:
            token = self._searching[name] = self._number()
            self._kernel.at(self._kernel.now + self._rng.choice(_DAEMON_SECONDS), self._searched.append, (name, token))
        else:
            seen.append(events.Exited(name, process.code, self._haunts(name)))

    def _hook_ended(self, process: Process, seen: list[Event]) -> None:
        name = process.service
        del self.hooks[name]
        why = f"could not be started: {name!r} is not found" if process.exec_failed else ""
        orphans = self._has_no_main(name) and bool(self._kernel.members(name))
        if orphans:
            self._haunted.add(name)
        seen.append(events.HookEnded(name, process.code, why, orphans))

    def _search_is_over(self, name: str, seen: list[Event]) -> None:
        """Whoever alone made himself a session is the service from now on."""
        del self._searching[name]
        daemons = [process for process in self._kernel.members(name) if process.session]
        if len(daemons) == 1:
            daemons[0].leader = True
            self.mains[name] = daemons[0]
            seen.append(events.Daemonised(name, daemons[0].pid))
        else:
            seen.append(events.Exited(name, 0, self._haunts(name)))

    def _has_no_main(self, name: str) -> bool:
        return name not in self.mains and name not in self._searching

    def _haunts(self, name: str) -> bool:
        """Whether somebody is left of it; then his end is told, else not."""
        if self._kernel.members(name):
            self._haunted.add(name)
        else:
            self._haunted.discard(name)
        return name in self._haunted

    @property
    def awaits_something(self) -> bool:
        """Whether a fact comes by itself, and be it that somebody is not found."""
        return bool(self.asking or self._searching)

    def reexecuted(self) -> None:
        """Questions do not cross."""
        self.asking.clear()

    def _number(self) -> int:
        self._count += 1
        return self._count
