"""The real reactor/processes in a seeded world of simulated processes, verified by checkers.

The world has services, their hooks and probes, processes of `docker exec`, hostile processes that forge a tracking
limit or write pid files; stops, restarts, simultaneous crashes and re-executions. A small engine ends a service as the
real one does: SIGTERM for what is left, then SIGKILL, then the next instance.
"""

from __future__ import annotations

import marshal
import random
from typing import TYPE_CHECKING

from cohabit.engine import events
from cohabit.plan.model import Credentials, Service
from cohabit.plan.reason import NO_ROOM, Reason
from cohabit.reactor.processes.cgroup import Cgroups, encode
from cohabit.reactor.processes.children import Children
from cohabit.reactor.processes.started import HOOK
from cohabit.reactor.processes.tracking import TrackingLimits
from cohabit.reactor.processes.tree import UNATTRIBUTED, Trees
from sim.checker import Violation
from sim.ownership_kernel import CONT, KILL, OUTSIDE, STOP, TERM, UNLIMITED, Kernel, Task, Timers

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

CHECKERS = ("Signals", "LeftBehind", "Adoption", "Authority", "Liveness")

STEPS = 250
_SERVICES = ("a", "b", "c")
_USERS = (0, 0, 1000, 1001)
_PROCESSES_MAX = 24
_NUMBERS = 60
_CALLS_MAX = 400_000
_KILL_AFTER_STEPS = 20
_END_ROUNDS = 400


class StartRequest:
    """What spawn needs. The simulated kernel uses owner and run."""

    def __init__(self, owner: str, run: int, uid: int) -> None:
        self.owner = owner
        self.run = run
        self.uid = uid
        self.cgroup = ""
        self.first: tuple[tuple[str, int | None], ...] = ()
        self.environment: dict[str, str] = {}
        self.argv = (owner,)


class SimulatedCgroups(Cgroups):
    """Cgroups of the simulated kernel."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self.kernel = kernel
        self.directory = self.path = "/cohabit"

    def members(self, key: str) -> list[int]:
        """Living processes in the cgroup of a tree."""
        place = f"{self.path}/{encode(key)}"
        return [task.pid for task in self.kernel.living() if task.cgroup == place]

    def freeze(self, key: str, *, frozen: bool) -> bool:
        """Freeze or thaw its processes."""
        for pid in self.members(key):
            self.kernel.tasks[pid].frozen = frozen
        return True

    def kill(self, key: str) -> bool:
        """Kill its processes."""
        for pid in self.members(key):
            self.kernel._send(self.kernel.tasks[pid], KILL)
        return True

    def remove(self, key: str) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""


class Unit:
    """The state of a service in the small engine."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.uid = service.user.uid if service.user else 0
        self.up = True  # desired state
        self.state = "gone"  # running, ending, gone
        self.run = 0
        self.steps_until_kill = 0
        self.hostile = False  # processes with its uid write its pid file


class World:
    """One world. run() raises Violation. checkers: verify these only; () for all."""

    def __init__(self, seed: int, checkers: tuple[str, ...] = (), log: Callable[[str], None] | None = None) -> None:
        self.rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
        self.only = checkers
        self.lines: list[str] = []
        self.log = log or (lambda _text: None)
        us = self.rng.choice((1, 7))
        self.kernel = Kernel(self.rng, us, _NUMBERS, self.log)
        self.kernel.signalled = self._signalled
        self.has_cgroups = self.rng.random() < 0.3
        self.has_limits = self.rng.random() < 0.85
        self.forgers = self.rng.random() < 0.5
        self.busy = self.rng.choice((0.0, 0.05, 0.3))  # the chance that others run between two system calls
        self.units: dict[str, Unit] = {}
        for name in _SERVICES:
            uid = self.rng.choice(_USERS)
            pid_file = f"/run/{name}.pid" if self.rng.random() < 0.4 else ""
            user = Credentials(uid, uid) if uid else None
            unit = self.units[name] = Unit(Service(name, (name,), user=user, pid_file=pid_file))
            unit.hostile = uid != 0 and self.rng.random() < 0.5
        self.queue: list[events.Event] = []
        self.targets: list[str] = []  # trees that a signal is being sent to
        self.probe_runs = 0
        self.ended_probes: list[tuple[str, int, int]] = []  # key, run, step
        self.step_number = 0
        self._running_others = False

    # --- checkers ------------------------------------------------------------------------------------

    def fail(self, checker: str, text: str) -> None:
        """Raise Violation if the checker is active."""
        if not self.only or checker in self.only:
            raise Violation(checker, text)

    def _signalled(self, task: Task, number: int) -> None:
        target = self.targets[-1] if self.targets else UNATTRIBUTED
        self.log(f"signal {number} for {target!r} to {task}")
        if task.owner != target and target not in task.claims:
            self.fail("Signals", f"signal {number} for {target!r} was sent to {task}")

    def _check_gone(self, owner: str, run: int | None = None) -> None:
        """No process of an ended tree is alive. This is not guaranteed without limits and cgroups."""
        if not (self.has_limits or self.has_cgroups):
            return
        for task in self.kernel.living():
            if task.owner == owner and not task.untracked and (run is None or task.run == run):
                self.fail("LeftBehind", f"{task} is left behind")

    def _check_adopted(self, name: str, pid: int) -> None:
        task = self.kernel.tasks.get(pid)
        if task is None:
            return
        unit = self.units[name]
        authors = self.kernel.pid_files.get(unit.service.pid_file, (0, {0}))[1] if unit.service.pid_file else {-1}
        unknown = task.owner == OUTSIDE or task.untracked or not (self.has_limits or self.has_cgroups)
        by_root = unknown and authors == {0}  # a pid file of root is trusted, also an old one
        by_user = task.may_act_as(unit.uid) and (unknown or name in task.claims)
        if not (task.owner == name or by_root or by_user):
            self.fail("Adoption", f"{name} adopted {task}")
        todo, found = [task], {task.pid}
        while todo:  # with it come its descendants, and all who share a session with one of them
            one = todo.pop()
            one.claims.add(name)
            for each in self.kernel.living():
                if each.pid not in found and (each.parent == one.pid or each.session == one.session):
                    found.add(each.pid)
                    todo.append(each)

    def _is_below(self, task: Task, name: str) -> bool:
        """Whether it is or descends from a leader of the tree. Whether that was rightly adopted, Adoption checks."""
        one: Task | None = task
        while one is not None and one.pid != self.kernel.us:
            if self.children.trees.leaders.get(one.pid) == name:
                return True
            one = self.kernel.tasks.get(one.parent)
        return False

    def _check_authority(self) -> None:
        """A random process that may send messages for a service belongs to it, or at least to its user."""
        living = self.kernel.living()
        if not living:
            return
        task = self.rng.choice(living)
        unit = self.units[self.rng.choice(_SERVICES)]
        name = unit.service.name
        allowed = (
            task.owner == name or (name in task.claims and task.may_act_as(unit.uid)) or self._is_below(task, name)
        )
        if self.children.trees.speaks_for(name, task.pid, unit.uid) and not allowed and task.is_alive:
            self.fail("Authority", f"{task} may send messages for {name}")

    # --- what processes do ---------------------------------------------------------------------------

    def _other_processes_run(self) -> None:
        if self._running_others or self.rng.random() >= self.busy:
            return
        self._running_others = True
        try:
            self._run_other_process()
        finally:
            self._running_others = False
        if self.kernel.calls > _CALLS_MAX:
            self.fail("Liveness", "process 1 makes too many system calls")

    def _run_other_process(self) -> None:
        self.kernel.now += self.rng.choice((0.0, 0.0, 0.001, 0.02))
        living = [task for task in self.kernel.living() if task.state == "S" and not task.frozen]
        if not living:
            return
        task = self.rng.choice(living)
        kernel = self.kernel
        acts = ["fork"] * 5 + ["setsid"] * 3 + ["setuid", "exit", "exit", "ignores_term"] + ["forge"] * self.forgers
        act = self.rng.choice(acts)
        if act == "fork" and len(living) < _PROCESSES_MAX:
            child = kernel.fork(task)
            if child is not None and self.rng.random() < 0.5:
                kernel.make_session(child)
        elif act == "setsid":
            kernel.make_session(task)
        elif act == "setuid" and task.uid == 0:
            task.uid, task.was_root = self.rng.choice(_USERS), True
        elif act == "exit":
            self._exit(task)
        elif act == "ignores_term":
            task.ignores_term = True
        elif act == "forge":
            self._forge(task)

    def _exit(self, task: Task) -> None:
        unit = self.units.get(task.owner)
        status = 0 if self.rng.random() < 0.5 else 1 << 8
        if unit is not None and unit.service.pid_file and self.rng.random() < 0.8:
            self._write_pid_file(unit, task)
        self.kernel.end(task, status)

    def _write_pid_file(self, unit: Unit, task: Task) -> None:
        """Root writes the pid of a process of the service; a hostile user, that of any process."""
        own = [one for one in self.kernel.living() if one.owner == task.owner and one is not task]
        if unit.hostile:
            own = self.kernel.living()
        if own and (unit.hostile or task.uid == 0):
            authors = {unit.uid} if unit.hostile else {0}
            self.kernel.pid_files[unit.service.pid_file] = (self.rng.choice(own).pid, authors)

    def _forge(self, task: Task) -> None:
        """Lower its limit to that of another tree or to an unused value."""
        limits = self.children.trees.limits
        keys = [key for key in limits._ranges if 0 <= (limits.limit(key) or 0) < task.limit or task.limit == UNLIMITED]
        for one in self.kernel.descendants(task):
            one.untracked = True  # also its descendants, which change trees with it
        if keys and self.rng.random() < 0.7:
            key = self.rng.choice(keys)
            task.limit = limits.limit(key) or 0
            for one in self.kernel.descendants(task):
                one.claims.add(key)
        else:
            task.limit = min(4096, task.limit) if task.limit != UNLIMITED else 4096

    def _enter(self) -> None:
        """`docker exec`: a process that exits and leaves a child, perhaps with the environment of a service."""
        first = self.kernel.enter()
        if first is None:
            return
        first.uid = self.rng.choice(_USERS)
        first.environment = self.rng.choice(("", *_SERVICES))
        child = self.kernel.fork(first)
        if child is not None and self.rng.random() < 0.7:
            self.kernel.make_session(child)
        self.kernel.end(first, 0)

    # --- process 1 -----------------------------------------------------------------------------------

    def _boot(self) -> None:
        self.children = self._new_children()
        self.children.trees = self._watched(Trees("us", SimulatedCgroups(self.kernel) if self.has_cgroups else None))
        self.children.trees.limits = TrackingLimits(-1 if self.has_limits else 4096)

    def _new_children(self) -> Children:
        self.poller = Timers()
        return Children(self.poller, self.queue.append, self._report, lambda *_: True)

    def _report(self, _level: str, service: str, text: str) -> None:
        self.log(f"{service}: {text}")

    def _watched(self, trees: Trees) -> Trees:
        """Record the tree that each signal is for."""
        signal_tree = trees.signal

        def signal(key: str, number: int) -> list[int]:
            self.targets.append(key)
            try:
                return signal_tree(key, number)
            finally:
                self.targets.pop()

        trees.signal = signal  # type: ignore[method-assign]
        return trees

    def _for(self, key: str, act: Callable[[], object]) -> None:
        self.targets.append(key)
        try:
            act()
        finally:
            self.targets.pop()

    def _start(self, unit: Unit) -> None:
        name = unit.service.name
        self._check_gone(name)
        unit.run += 1
        try:
            self.children.start_main(unit.service, StartRequest(name, unit.run, unit.uid))  # type: ignore[arg-type]
            unit.state = "running"
        except OSError:
            self.children.report_start_failure(name, Reason(NO_ROOM, 71))

    def _probe(self, name: str) -> None:
        key = f"{name}\0probe"
        if key in self.children.processes or self.children.signaller.sweeping:
            return
        self.probe_runs += 1
        run = self.probe_runs

        def ended(_code: int, _why: str) -> None:
            self.ended_probes.append((key, run, self.step_number))

        try:
            self.children.launch(key, StartRequest(key, run, self.units[name].uid), ended)  # type: ignore[arg-type]
        except OSError:
            return

    def _hook(self, unit: Unit) -> None:
        name = unit.service.name
        if f"{name}{HOOK}" in self.children.processes:
            return
        try:
            self.children.start_hook(unit.service, StartRequest(name, unit.run, unit.uid))  # type: ignore[arg-type]
        except OSError:
            self.children.report_hook_failure(name, Reason(NO_ROOM, 71))

    def _reexecute(self) -> None:
        plain = marshal.loads(marshal.dumps(self.children.to_plain()))  # noqa: S302 - our own
        tasks: dict[str, Callable[[int, str], None]] = {f"{name}\0probe": _nothing for name in _SERVICES}
        before = self.children.trees.cgroups
        self.children = self._new_children()
        services = {name: unit.service for name, unit in self.units.items()}
        from_plain = Trees.from_plain

        def watched(plain_trees: dict[str, Any]) -> Trees:
            trees = self._watched(from_plain(plain_trees))
            trees.cgroups = before
            return trees

        Trees.from_plain = watched  # type: ignore[method-assign,assignment]
        try:
            self.children.restore(plain, tasks)
        finally:
            Trees.from_plain = from_plain  # type: ignore[method-assign]
        self.children.attach_services(services, lambda service, _command: StartRequest(service.name, 0, 0))  # type: ignore[arg-type,return-value]

    # --- the small engine ----------------------------------------------------------------------------

    def _take_events(self) -> None:
        while self.queue:
            event = self.queue.pop(0)
            name = getattr(event, "service", "")
            unit = self.units.get(name)
            if unit is None:
                continue
            self.log(f"event {event}")
            if isinstance(event, events.Exited | events.SpawnFailed):
                self._ended(unit, orphans=event.orphans)
            elif isinstance(event, events.HookEnded) and event.orphans:
                self._ended(unit, orphans=True)
            elif isinstance(event, events.TreeGone):
                self._ended(unit, orphans=False)
            elif isinstance(event, events.Daemonised):
                self._check_adopted(name, event.pid)

    def _ended(self, unit: Unit, *, orphans: bool) -> None:
        name = unit.service.name
        if not orphans:
            unit.state = "gone"
            self._check_gone(name)
            return
        unit.state = "ending"
        unit.steps_until_kill = _KILL_AFTER_STEPS
        self.children.trees.signal(name, TERM)

    def _act(self) -> None:
        """Let process 1 reap, handle events and timers, and start or kill services."""
        self.children.reap()
        self._take_events()
        self.poller.run_timers(self.kernel.now)
        self._take_events()
        for unit in self.units.values():
            if unit.state == "gone" and unit.up:
                self._start(unit)
            elif unit.state == "ending" and unit.steps_until_kill >= 0:
                unit.steps_until_kill -= 1
                if unit.steps_until_kill < 0:
                    self.children.trees.signal(unit.service.name, KILL)
                    unit.steps_until_kill = _KILL_AFTER_STEPS
        self._take_events()
        for key, run, step in list(self.ended_probes):
            if self.step_number > step + _KILL_AFTER_STEPS:
                self.ended_probes.remove((key, run, step))
                self._check_gone(key, run)

    def _stop(self, unit: Unit) -> None:
        name = unit.service.name
        if unit.state == "running":
            number = self.rng.choice((TERM, KILL))
            if number == TERM:
                self._for(name, lambda: self.children.signaller.to_main(name, TERM))
            else:
                self.children.trees.signal(name, KILL)
            unit.state, unit.steps_until_kill = "ending", _KILL_AFTER_STEPS

    def _step(self) -> None:
        rng, unit = self.rng, self.units[self.rng.choice(_SERVICES)]
        what = rng.choices(
            ("act", "others", "enter", "stop", "crash", "probe", "hook", "reexecute", "authority"),
            (8, 12, 1, 1, 1, 3, 1, 0.5, 2),
        )[0]
        if what == "act":
            self._act()
        elif what == "others":
            for _ in range(rng.randint(1, 4)):
                self._run_other_process()
        elif what == "enter":
            self._enter()
        elif what == "stop":
            unit.up = rng.random() < 0.7
            self._stop(unit)
        elif what == "crash":
            mains = [one.pid for key, one in self.children.processes.items() if key in self.units]
            for pid in rng.sample(mains, rng.randint(0, len(mains))):
                if pid in self.kernel.tasks:
                    self.kernel.deliver(self.kernel.tasks[pid], rng.choice((KILL, KILL, STOP, CONT)))
        elif what == "probe":
            self._for(f"{unit.service.name}\0probe", lambda: self._probe_or_kill(unit.service.name))
        elif what == "hook" and unit.state == "running" and unit.service.name in self.children.processes:
            self._hook(unit)
        elif what == "reexecute":
            self._reexecute()
        elif what == "authority":
            self._check_authority()
        self._take_events()

    def _probe_or_kill(self, name: str) -> None:
        key = f"{name}\0probe"
        if key in self.children.processes and self.rng.random() < 0.3:
            self.children.kill(key)
        else:
            self._probe(name)

    def run(self) -> None:
        """Run 250 steps, then stop all services. Raises Violation."""
        with self.kernel.installed():
            self._boot()
            self.kernel.others = self._other_processes_run
            for self.step_number in range(STEPS):
                self._step()
            for unit in self.units.values():
                unit.up = False
                self._stop(unit)
            for _ in range(_END_ROUNDS):
                self.step_number += 1
                self.kernel.now += 0.1
                self._act()
                for name in _SERVICES:
                    self._for(f"{name}\0probe", lambda name=name: self.children.kill(f"{name}\0probe"))  # type: ignore[misc]
                if all(unit.state == "gone" for unit in self.units.values()) and not self.children.processes:
                    break
            else:
                states = {name: unit.state for name, unit in self.units.items()}
                self.fail("Liveness", f"services do not end: {states}, {[*self.children.processes]}")
            for _ in range(3 * _KILL_AFTER_STEPS):
                self.step_number += 1
                self._act()
            for name in _SERVICES:
                self._check_gone(name)
                self._check_gone(f"{name}\0probe")


def _nothing(_code: int, _why: str) -> None:
    """Ignore the end of a probe after a re-execution."""
