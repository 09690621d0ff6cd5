"""What a service's process finds when it starts: its output, environment, sockets, user, limits, terminal.

Everything that is prepared for one start is prepared here, in the parent, and let go of again when the start
is over: the pipes of its output (output.py), its NOTIFY_SOCKET, its descriptor for readiness, whoever reads
along in its log. The child's side is child.py.

When the machine has no room for a process or a descriptor, the start (or the hook) is tried again, with Docker's
back-off, for a bounded time; only then the engine is told that it failed. A request to stop ends that wait at once.
"""

from __future__ import annotations

import time

from cohabit.engine import effects, policy
from cohabit.errors import EXIT_SYSTEM
from cohabit.plan.model import PRE_STOP
from cohabit.reactor.linux import DEV_NULL, os
from cohabit.reactor.processes import limits, spawn
from cohabit.reactor.processes.child import FIRST_SOCKET, SpawnSpec
from cohabit.reactor.processes.secrets import SecretFiles
from cohabit.reactor.shortage import is_shortage
from cohabit.reactor.signals import KILL
from cohabit.units import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.plan.model import Credentials, Hook, Service
    from cohabit.reactor.health.log_match import LogMatches
    from cohabit.reactor.health.notification_fd import NotificationFds
    from cohabit.reactor.health.notify import Notify
    from cohabit.reactor.logs.output import Output
    from cohabit.reactor.logs.stream import Stream
    from cohabit.reactor.processes.children import Children
    from cohabit.reactor.signals import InheritedSignals
    from cohabit.reactor.sockets import Sockets


_EROFS = 30
REFUSED_SECONDS = 20.0  # for so long a start that the machine refuses is tried again; then it has failed
_PRE_STOP_SECONDS = 1.0  # the same of a hook before a stop: the service itself needs the rest of its grace


class _Attempt:
    """A start or a hook that the machine has refused so far. count: how often; until, at: monotonic seconds."""

    __slots__ = ("at", "count", "seconds", "until", "wanted", "why")

    def __init__(self, wanted: effects.Spawn | effects.RunHook, now: float) -> None:
        self.wanted = wanted
        before_stop = isinstance(wanted, effects.RunHook) and wanted.stage == PRE_STOP
        self.seconds = _PRE_STOP_SECONDS if before_stop else REFUSED_SECONDS
        self.until = now + self.seconds
        self.at = now
        self.count = 0
        self.why = ""


class Launcher:
    """Starts services and their hooks."""

    def __init__(
        self,
        given: InheritedSignals,
        environment: dict[str, str],
        children: Children,
        output: Output,
        say: Callable[[str, str, str], None],
    ) -> None:
        self._given = given
        self._environment = environment
        self._children = children
        self._output = output
        self._say = say
        self._refused: dict[str, _Attempt] = {}
        self._null = -1
        self.limits: tuple[int, int] | None = None  # what limits.make_room gave
        self.hides = False  # texts of secrets in output
        self.sockets: Sockets
        self.notify: Notify
        self.notification_fds: NotificationFds
        self.log_matches: LogMatches

    def make_room(self, services: int) -> None:
        """Let the kernel give us descriptors for this many services."""
        self.limits = limits.make_room(services) or self.limits

    def start(self, service: Service) -> None:
        """Fork a child that becomes the service's command, or tell why that cannot be."""
        self._try(_Attempt(effects.Spawn(service), time.monotonic()))

    def run_hook(self, service: Service, stage: str, number: int) -> None:
        """Fork a child that becomes one of the service's hooks, or tell why that cannot be."""
        self._try(_Attempt(effects.RunHook(service, stage, number), time.monotonic()))

    def deadline(self) -> float | None:
        """Monotonic seconds at which a start that the machine refused is tried again."""
        return min((attempt.at for attempt in self._refused.values()), default=None)

    def due(self, now: float) -> None:
        """Try again what was refused, if it is time."""
        for attempt in [each for each in self._refused.values() if each.at <= now]:
            self._try(attempt)

    def give_up(self, name: str, number: int = 0) -> None:
        """The service is told to end: what the machine refused so far has failed. number: a signal, 0 for any end."""
        attempt = self._refused.get(name)
        if attempt is not None and number in (0, KILL, attempt.wanted.service.stop_signal):
            self._failed(attempt)

    def refused(self) -> list[effects.Effect]:
        """What is still to be tried: for the next program of a re-execution."""
        return [attempt.wanted for attempt in self._refused.values()]

    def _try(self, attempt: _Attempt) -> None:
        opened: list[int] = []
        wanted, name = attempt.wanted, attempt.wanted.service.name
        try:
            if isinstance(wanted, effects.Spawn):
                self._start_main(wanted.service, opened)
            else:
                self._start_hook(wanted, opened)
            self._refused.pop(name, None)
        except OSError as error:
            if isinstance(wanted, effects.Spawn):
                self.stop_listening(name)
            attempt.why = _why(error)
            self._later(attempt) if is_shortage(error) else self._failed(attempt)
        finally:
            for fd in opened:
                os.close(fd)

    def _later(self, attempt: _Attempt) -> None:
        now, name = time.monotonic(), attempt.wanted.service.name
        if now >= attempt.until:
            self._failed(attempt)
            return
        if not attempt.count:
            what = "be started" if isinstance(attempt.wanted, effects.Spawn) else f"run its {attempt.wanted.stage} hook"
            pause = format_duration(attempt.seconds)
            self._say("warning", name, f"cannot {what} yet: {attempt.why} (trying again for {pause})")
        attempt.count += 1
        attempt.at = min(now + policy.docker_backoff_seconds(attempt.count), attempt.until)
        self._refused[name] = attempt

    def _failed(self, attempt: _Attempt) -> None:
        name = attempt.wanted.service.name
        self._refused.pop(name, None)
        tell = self._children.never_ran if isinstance(attempt.wanted, effects.Spawn) else self._children.hook_never_ran
        tell(name, attempt.why, EXIT_SYSTEM)

    def _start_main(self, service: Service, opened: list[int]) -> None:
        """What is opened for it is added to `opened`. Raises OSError."""
        streams: list[Stream] = []
        start = self._described_whole(service, opened, streams)
        _belong_to(streams, self._children.start_main(service, start))

    def _start_hook(self, wanted: effects.RunHook, opened: list[int]) -> None:
        """What is opened for it is added to `opened`. Raises OSError."""
        service, hook = wanted.service, wanted.service.hooks(wanted.stage)[wanted.number]
        outputs, streams = self._outputs(service, hook.user or service.user, opened)
        start = self.describe(service, hook.command, (self._nothing(), *outputs), hook=hook)
        _belong_to(streams, self._children.start_hook(service, start))

    def stop_listening(self, service: str) -> None:
        """What it has to say of its readiness is not wanted any more; what it has to say of its end may be."""
        self.notification_fds.close(service)
        self.log_matches.close(service)

    def _nothing(self) -> int:
        """/dev/null, opened when it is first needed: a loop must not need a descriptor to begin. Raises OSError."""
        if self._null < 0:
            self._null = os.open(DEV_NULL, os.O_RDWR | os.O_CLOEXEC)
        return self._null

    def _outputs(
        self, service: Service, user: Credentials | None, opened: list[int]
    ) -> tuple[tuple[int, ...], list[Stream]]:
        """What becomes its stdout and stderr, and our ends of them: none where it inherits ours. Raises OSError."""
        if any(entry.driver == "inherit" for entry in service.logging):
            return (1, 2), []
        ends, streams = self._output.open(service, user.uid if user else None)
        opened += ends
        return tuple(ends), streams

    def _described_whole(self, service: Service, opened: list[int], streams: list[Stream]) -> SpawnSpec:
        """The Start of a main process; what is opened for it is added to `opened` and `streams`. Raises OSError."""
        stdio: tuple[int, ...] = ()
        if self.hides:
            self._output.hide(service.secret_paths())  # one may be new since; what is wrong was said
        if not service.tty:
            outputs, found = self._outputs(service, service.user, opened)
            streams += found
            stdio = (0 if service.stdin else self._nothing(), *outputs)
        start = self.describe(service, service.command, stdio)
        start.foreground = service.tty
        start.session = not service.tty
        start.listen_names = self.sockets.names(service.name)
        sockets = self.sockets.descriptors(service.name)
        start.descriptors = tuple((fd, FIRST_SOCKET + i) for i, fd in enumerate(sockets))
        kind = service.probe.kind if service.probe else ""
        if kind == "notify":
            start.environment.update(self.notify.open(service))
        elif kind == "fd":
            writer, number = self.notification_fds.open(service)
            opened.append(writer)
            start.descriptors += ((writer, number),)
        elif kind == "log":
            self.log_matches.open(service)
        return start

    def describe(
        self, service: Service, command: tuple[str, ...], stdio: tuple[int, ...] = (), hook: Hook | None = None
    ) -> SpawnSpec:
        """Any process of a service: its whole environment, its user and its limits, numbers instead of names."""
        user = hook.user if hook and hook.user else service.user
        environment = dict(self._environment)
        if user is not None:
            environment.update({"HOME": user.home} if user.home else {})
            environment.update({"USER": user.name, "LOGNAME": user.name} if user.name else {})
        for variables in (service.environment, hook.environment if hook else {}):
            for name, value in variables.items():
                if value is None:
                    environment.pop(name, None)
                else:
                    environment[name] = value
        environment.update(self._children.trees.variables(service.name))
        start = SpawnSpec(command, environment, self._given, stdio=stdio)
        start.directory = hook.working_dir if hook and hook.working_dir else service.working_dir
        start.identity = user
        start.secrets = SecretFiles(service.secret_files) if service.secret_files else None
        start.before_user, start.after_user = limits.steps(service.limits, self.limits)
        return start


def _why(error: OSError) -> str:
    """The machine has no room; or, for a NOTIFY_SOCKET, no directory."""
    return (error.strerror or str(error)) if error.errno == _EROFS else spawn.no_room(error)


def _belong_to(streams: list[Stream], pid: int) -> None:
    for stream in streams:
        stream.origin.pid = pid
