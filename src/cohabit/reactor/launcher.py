"""Starts services and hooks: prepares output, environment, sockets, user, limits and terminal of their processes.

Everything that one start needs is opened here, in the parent, and closed when the start is done: the pipes of its
output (output.py), its NOTIFY_SOCKET, its descriptor for readiness, and the matcher of its log. child.py is the
child's side.

If the system has no room for a process or a descriptor, the start (or the hook) is retried with Docker's back-off, for
a bounded time. Only then a failure is reported to the engine. A stop request ends the retries at once.
"""

from __future__ import annotations

import errno
import time

from cohabit.engine import effects, policy
from cohabit.errors import EXIT_SYSTEM
from cohabit.plan import reason as reasons
from cohabit.plan.model import HOOK_STAGES, POST_STOP, PRE_START, PRE_STOP
from cohabit.plan.reason import Reason
from cohabit.plan.reason_text import text_of
from cohabit.reactor.linux import DEV_NULL, os
from cohabit.reactor.processes import limits, privileges, stale_files, start_conditions, start_failure
from cohabit.reactor.processes.child import FIRST_SOCKET, SpawnSpec
from cohabit.reactor.processes.secrets import SecretFiles
from cohabit.reactor.processes.stdio import STEP_TERMINAL, change_owner, open_input, share_pipe, take_terminal
from cohabit.reactor.shortage import is_shortage
from cohabit.reactor.signals import KILL
from cohabit.reactor.start_variables import StartVariables
from cohabit.units import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.plan.model import Credentials, Hook, Plan, Service
    from cohabit.reactor.context import Context
    from cohabit.reactor.health.passive_probes import PassiveProbes
    from cohabit.reactor.logs.output import Output
    from cohabit.reactor.logs.stream import Stream
    from cohabit.reactor.processes.children import Children
    from cohabit.reactor.sockets import Sockets


REFUSED_SECONDS = 20.0  # a start that the system refuses is retried for this time, then it has failed
_NO_CAP_KILL = (
    "cannot signal services that run as another user, to stop them or otherwise: {names}: process 1 has no CAP_KILL "
    "(add it: `docker run --cap-add KILL`; without it they are killed by the kernel when the container ends)"
)
_KIND, _DEV_NULL = 0o170000, (0o020000, 0x103)  # inode(7); /dev/null is the character device 1:3
_PRE_STOP_SECONDS = 1.0  # for a pre_stop hook: the service needs the rest of its grace period


class _Attempt:
    """A start or a hook that the system has refused so far. count: of refusals; until: monotonic seconds."""

    __slots__ = ("count", "effect", "has_variables", "seconds", "until", "why")

    def __init__(self, effect: effects.Spawn | effects.RunHook, now: float) -> None:
        self.effect = effect
        before_stop = isinstance(effect, effects.RunHook) and effect.stage == PRE_STOP
        self.seconds = _PRE_STOP_SECONDS if before_stop else REFUSED_SECONDS
        self.until = now + self.seconds
        self.count = 0
        self.has_variables = not effect.service.env_files or not isinstance(effect, effects.Spawn)
        self.why = Reason(reasons.SYSTEM_ERROR, EXIT_SYSTEM, detail="it was stopped before its command could run")


class Launcher:
    """Starts services and their hooks. environment: what every service gets."""

    def __init__(
        self,
        context: Context,
        environment: dict[str, str],
        children: Children,
        output: Output,
        *,
        sockets: Sockets,
        passive_probes: PassiveProbes,
    ) -> None:
        self._context = context
        self._environment = environment
        self._children = children
        self._output = output
        self._sockets = sockets
        self._passive_probes = passive_probes
        self._variables = StartVariables(context)
        self._refused: dict[str, _Attempt] = {}
        self._null = -1
        self.limits: tuple[int, int] | None = None  # the value that limits.make_room returned
        self.hides = False  # whether secrets are hidden in the output
        self._warned = False

    def make_room(self, services: int) -> None:
        """Raise the limit of descriptors if this many services need it."""
        self.limits = limits.make_room(services) or self.limits

    def warn_of_users(self, plan: Plan) -> None:
        """Log once which services cannot be signalled, because they run as another user and we have no CAP_KILL."""
        ours = {os.getuid(), os.geteuid()}
        others = [each.name for each in plan.services.values() if not _users(each) <= ours]
        if others and not self._warned and not privileges.may_signal_other_users():
            self._warned = True
            self._context.log("warning", "", _NO_CAP_KILL.format(names=", ".join(others)))

    def start(self, service: Service) -> None:
        """Fork a child that becomes the service's command, or report why that fails."""
        _forget_leftovers(self._children, service.name)
        if not service.pre_start:
            self._output.recent_lines.begin_run(service.name, time.time())
        self._try(_Attempt(effects.Spawn(service), time.monotonic()))

    def run_hook(self, effect: effects.RunHook) -> None:
        """Fork a child that becomes one of the service's hooks, or report why that fails."""
        service = effect.service
        if (effect.stage, effect.number) == (PRE_START, 0):
            self._variables.forget(service.name)  # one of the hooks may write the file
            self._output.recent_lines.begin_run(service.name, time.time())
        if (effect.stage, effect.number) == (POST_STOP, 0):
            self._output.recent_lines.end_run(service.name, time.time())
        _forget_leftovers(self._children, service.name)
        self._try(_Attempt(effect, time.monotonic()))

    def give_up(self, name: str, number: int = 0) -> None:
        """The service is being stopped: a start that was refused so far has failed. number: a signal, or 0."""
        attempt = self._refused.get(name)
        if attempt is not None and number in (0, KILL, attempt.effect.service.stop_signal):
            self._failed(attempt)

    def to_plain(self) -> dict[str, Any]:
        """The state. Attempts that are waiting are effects of the loop (refused)."""
        return {"limits": self.limits, "hides": self.hides, "variables": self._variables.values}

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over the state from to_plain()."""
        self.limits, self.hides, self._variables.values = plain["limits"], plain["hides"], plain["variables"]

    def refused(self) -> list[effects.Effect]:
        """Return the starts that are still to be retried, for a re-execution."""
        return [attempt.effect for attempt in self._refused.values()]

    def _try(self, attempt: _Attempt) -> None:
        opened: list[int] = []
        effect, name = attempt.effect, attempt.effect.service.name

        def go_on() -> None:
            attempt.has_variables = True
            self._try(attempt)

        def fail(why: Reason) -> None:
            attempt.why = why
            self._failed(attempt)

        try:
            if not attempt.has_variables:
                self._refused[name] = attempt
                self._variables.read(effect.service, go_on, fail)
                return
            if not isinstance(effect, effects.Spawn):
                self._start_hook(effect, opened)
            elif self._output.followers.follow(effect.service, go_on):
                self._start_main(effect.service, opened)
            else:
                self._refused[name] = attempt
                return
            self._forget_attempt(name)
        except OSError as error:
            if isinstance(effect, effects.Spawn):
                self._passive_probes.close(name)
            attempt.why = _why(error)
            self._postpone(attempt) if is_shortage(error) else self._failed(attempt)
        finally:
            for fd in opened:
                os.close(fd)

    def _postpone(self, attempt: _Attempt) -> None:
        now, name = time.monotonic(), attempt.effect.service.name
        if now >= attempt.until:
            self._failed(attempt)
            return
        if not attempt.count:
            what = "be started" if isinstance(attempt.effect, effects.Spawn) else f"run its {attempt.effect.stage} hook"
            pause = format_duration(attempt.seconds)
            self._context.log("warning", name, f"cannot {what} yet: {text_of(attempt.why)} (trying again for {pause})")
        attempt.count += 1
        at = min(now + policy.docker_backoff_seconds(attempt.count), attempt.until)
        self._refused[name] = attempt
        self._context.poller.call_at(("start", name), at, lambda: self._try(attempt))

    def _forget_attempt(self, name: str) -> None:
        self._refused.pop(name, None)
        self._variables.cancel(name)
        self._output.followers.cancel(name)
        self._context.poller.cancel(("start", name))

    def _failed(self, attempt: _Attempt) -> None:
        name = attempt.effect.service.name
        self._forget_attempt(name)
        is_main = isinstance(attempt.effect, effects.Spawn)
        report = self._children.report_start_failure if is_main else self._children.report_hook_failure
        report(name, attempt.why)

    def _start_main(self, service: Service, opened: list[int]) -> None:
        """Fork the main process. What is opened for it is added to `opened`. Raises OSError."""
        streams: list[Stream] = []
        start = self._describe_main(service, opened, streams)
        _set_pids(streams, self._children.start_main(service, start))

    def _start_hook(self, effect: effects.RunHook, opened: list[int]) -> None:
        """Fork a hook. What is opened for it is added to `opened`. Raises OSError."""
        service, hook = effect.service, effect.service.hooks(effect.stage)[effect.number]
        outputs, streams = self._outputs(service, hook.user or service.user, opened)
        start = self.describe(service, hook.command, (self._dev_null(), *outputs), hook=hook)
        start.environment.update(effect.variables)
        if (effect.stage, effect.number) == (PRE_START, 0):
            start.first = start_conditions.steps(service, self._environment)
        _set_pids(streams, self._children.start_hook(service, start))

    def _dev_null(self) -> int:
        """Return /dev/null, opened when it is first needed: a loop must be able to begin without a free descriptor."""
        if self._null < 0:
            self._null = os.open(DEV_NULL, os.O_RDWR | os.O_CLOEXEC)
        return self._null

    def _input(self, service: Service, opened: list[int]) -> int:
        """Return the child's stdin: the container's, one that stays open, or /dev/null. Raises OSError."""
        if not service.stdin:
            return self._dev_null()
        if service.console and _has_input():
            return 0
        opened.append(open_input(service.user.uid if service.user else None))
        return opened[-1]

    def _outputs(
        self, service: Service, user: Credentials | None, opened: list[int]
    ) -> tuple[tuple[int, ...], list[Stream]]:
        """Return the child's stdout and stderr, and our streams; no streams if it inherits ours. Raises OSError."""
        if any(entry.driver == "inherit" for entry in service.logging):
            return (1, 1 if service.stderr_to_stdout else 2), []
        ends, streams = self._output.reader.open(service, user.uid if user else None)
        opened += ends
        return (ends[0], ends[-1]), streams

    def _describe_main(self, service: Service, opened: list[int], streams: list[Stream]) -> SpawnSpec:
        """Describe a main process. What is opened for it is added to `opened` and `streams`. Raises OSError."""
        stdio: tuple[int, ...] = ()
        if self.hides:
            self._output.hide(service.secret_paths())  # a file may be new; problems were logged before
        foreground = service.tty and service.console and (os.isatty(0) or (service.stdin and _has_input()))
        if service.tty and not foreground:
            terminal, stream = self._output.reader.open_terminal(service, service.user.uid if service.user else None)
            opened.append(terminal)
            streams.append(stream)
            stdio = (terminal,) * 3
        elif not foreground:
            outputs, opened_streams = self._outputs(service, service.user, opened)
            streams += opened_streams
            stdio = (self._input(service, opened), *outputs)
            if service.stdio_to:
                stdio = (*_passed(self._sockets, service, opened), outputs[1])
        start = self.describe(service, service.command, stdio)
        start.first = () if service.pre_start else start_conditions.steps(service, self._environment)
        if service.tty and not foreground:
            start.environment.setdefault("TERM", "xterm")  # as Docker does
            start.before_user = ((STEP_TERMINAL, take_terminal), *start.before_user)
        start.foreground = foreground
        start.session = service.setsid and not foreground
        sockets = self._sockets.descriptors(service.name)
        if service.socket_as_stdin:
            start.stdio = (sockets[0], *stdio[1:])
        else:
            start.listen_names = self._sockets.names(service.name)
            start.descriptors = tuple((fd, FIRST_SOCKET + i) for i, fd in enumerate(sockets))
        if service.stale_files:  # with the identity that its command has
            removal = (stale_files.STEP, lambda: stale_files.remove(service.stale_files))
            start.after_user = limits.without_ambient(start.after_user, removal)
        self._passive_probes.prepare(service, start, opened)
        return start

    def describe(
        self, service: Service, command: tuple[str, ...], stdio: tuple[int, ...] = (), hook: Hook | None = None
    ) -> SpawnSpec:
        """Describe any process of a service: its environment, working directory, user, secrets and limits."""
        user = hook.user if hook and hook.user else service.user
        environment = dict(self._environment)
        if user is not None:
            environment.update({"HOME": user.home} if user.home else {})
            environment.update({"USER": user.name, "LOGNAME": user.name} if user.name else {})
        environment.update(self._variables.values.get(service.name, {}))
        for variables in (service.environment, hook.environment if hook else {}):
            for name, value in variables.items():
                if value is None:
                    environment.pop(name, None)
                else:
                    environment[name] = value
        environment.update(self._children.trees.variables(service.name))
        start = SpawnSpec(command, environment, self._context.given, stdio=stdio)
        start.directory = hook.working_dir if hook and hook.working_dir else service.working_dir
        start.identity = user
        start.secrets = SecretFiles(service.secret_files) if service.secret_files else None
        own_user = hook is not None and hook.user is not None  # the capabilities are for the service's user
        ambient = not own_user and (user.uid if user else os.geteuid()) != 0
        start.before_user, start.after_user = limits.steps(service.limits, self.limits, ambient=ambient)
        return start


def _why(error: OSError) -> Reason:
    """Return the reason: no room, or for a NOTIFY_SOCKET, no directory."""
    if error.errno == errno.EROFS:
        return Reason(reasons.SYSTEM_ERROR, EXIT_SYSTEM, detail=error.strerror or str(error))
    return start_failure.fork_failure(error)


def _passed(sockets: Sockets, service: Service, opened: list[int]) -> tuple[int, int]:
    """Return stdin and stdout of a service whose other ends are passed on to another one. Raises OSError.

    Two pipes, because a socket cannot be opened again: a shell's `done < /dev/stdin` fails with one.
    """
    uid = service.user.uid if service.user else None
    opened += (stdin := os.pipe2(os.O_CLOEXEC))
    opened += (stdout := os.pipe2(os.O_CLOEXEC))
    if uid is not None:
        change_owner(stdin[0], uid)
    share_pipe(stdout[1], uid)
    sockets.pass_on(service.stdio_to, service.name.encode(), (stdin[1], stdout[0]))
    return stdin[0], stdout[1]


def _users(service: Service) -> set[int]:
    """The users of a service and its hooks, without that of cohabit."""
    found = (service.user, *(hook.user for stage in HOOK_STAGES for hook in service.hooks(stage)))
    return {user.uid for user in found if user is not None}


def _forget_leftovers(children: Children, name: str) -> None:
    """What the last hook left behind is ended with the rest: its end is not reported, also if the fork comes later."""
    if name not in children.processes and name not in children.daemons.until:
        children.lingering.discard(name)


def _has_input() -> bool:
    """Whether the container has a standard input (`docker run -i`); otherwise it is /dev/null."""
    try:
        status = os.fstat(0)
    except OSError:
        return False
    return (status.st_mode & _KIND, status.st_rdev) != _DEV_NULL


def _set_pids(streams: list[Stream], pid: int) -> None:
    for stream in streams:
        stream.origin.pid = pid
