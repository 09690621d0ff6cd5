"""What a service's process finds when it starts: its output, environment, sockets, user, limits, terminal.

Everything that is prepared for one start is prepared here, in the parent, and let go of again when the start
is over: the pipes of its output (output.py), its NOTIFY_SOCKET, its descriptor for readiness, whoever reads
along in its log. The child's side is child.py.
"""

from __future__ import annotations

from cohabit.errors import EXIT_SYSTEM
from cohabit.reactor.linux import DEV_NULL, os
from cohabit.reactor.processes import limits, spawn
from cohabit.reactor.processes.child import FIRST_SOCKET, Start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.plan.model import Hook, Identity, Service
    from cohabit.reactor.health.log_match import LogMatches
    from cohabit.reactor.health.notification_fd import NotificationFds
    from cohabit.reactor.health.notify import Notify
    from cohabit.reactor.logs.output import Output
    from cohabit.reactor.logs.stream import Stream
    from cohabit.reactor.processes.children import Children
    from cohabit.reactor.signals import Given
    from cohabit.reactor.sockets import Sockets


_EROFS = 30


class Starts:
    """Starts services and their hooks."""

    def __init__(
        self,
        given: Given,
        environment: dict[str, str],
        children: Children,
        output: Output,
    ) -> None:
        self._given = given
        self._environment = environment
        self._children = children
        self._output = output
        self._null = os.open(DEV_NULL, os.O_RDWR | os.O_CLOEXEC)
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
        """Fork a child that becomes the service's command, or tell at once why that cannot be."""
        opened: list[int] = []
        streams: list[Stream] = []
        try:
            start = self._described_whole(service, opened, streams)
            _belong_to(streams, self._children.start_main(service, start))
        except OSError as error:
            self.stop_listening(service.name)
            self._children.never_ran(service.name, _why(error), EXIT_SYSTEM)
        finally:
            for fd in opened:
                os.close(fd)

    def run_hook(self, service: Service, stage: str, number: int) -> None:
        """Fork a child that becomes one of the service's hooks."""
        hook = service.hooks(stage)[number]
        opened: list[int] = []
        try:
            outputs, streams = self._outputs(service, hook.user or service.user, opened)
            start = self.describe(service, hook.command, (self._null, *outputs), hook=hook)
            _belong_to(streams, self._children.start_hook(service, start))
        except OSError as error:
            self._children.hook_never_ran(service.name, _why(error), EXIT_SYSTEM)
        finally:
            for fd in opened:
                os.close(fd)

    def stop_listening(self, service: str) -> None:
        """What it has to say of its readiness is not wanted any more; what it has to say of its end may be."""
        self.notification_fds.close(service)
        self.log_matches.close(service)

    def _outputs(
        self, service: Service, user: Identity | None, opened: list[int]
    ) -> tuple[tuple[int, ...], list[Stream]]:
        """What becomes its stdout and stderr, and our ends of them: none where it inherits ours. Raises OSError."""
        if any(entry.driver == "inherit" for entry in service.logging):
            return (1, 2), []
        ends, streams = self._output.open(service, user.uid if user else None)
        opened += ends
        return tuple(ends), streams

    def _described_whole(self, service: Service, opened: list[int], streams: list[Stream]) -> Start:
        """The Start of a main process; what is opened for it is added to `opened` and `streams`. Raises OSError."""
        stdio: tuple[int, ...] = ()
        if self.hides:
            self._output.hide(service.secret_paths())  # one may be new since; what is wrong was said
        if not service.tty:
            outputs, found = self._outputs(service, service.user, opened)
            streams += found
            stdio = (0 if service.stdin else self._null, *outputs)
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
    ) -> Start:
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
        start = Start(command, environment, self._given, stdio=stdio)
        start.directory = hook.working_dir if hook and hook.working_dir else service.working_dir
        start.identity = user
        start.secret_files = service.secret_files
        start.before_user, start.after_user = limits.steps(service.limits, self.limits)
        return start


def _why(error: OSError) -> str:
    """The machine has no room; or, for a NOTIFY_SOCKET, no directory."""
    return (error.strerror or str(error)) if error.errno == _EROFS else spawn.no_room(error)


def _belong_to(streams: list[Stream], pid: int) -> None:
    for stream in streams:
        stream.origin.pid = pid
