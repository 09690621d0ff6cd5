"""Side programs (program.py): children of process 1 that use libraries, run user patterns, or do what may take long.

A side program reads its standard input and answers on its standard output. Both are pipes to process 1, unless another
descriptor is given. Process 1 never waits for it: input that it does not read is pending, its output is read as it
comes, and its end is reported after its last output.

Each has a limit on its memory, so that a large file or a pattern that needs much cannot take the services' memory.
`cohabit top` shows what the running ones use; process 1 only knows their pids.

A program that must run all the time is started again with Docker's back-off. One that cannot lose what it has read
keeps running when process 1 is re-executed: its pipes and what is pending cross, and Children reports its end to the
restored object. Any other one ends with its input, or is killed by Children.
"""

from __future__ import annotations

import resource
import select
import time

from cohabit.engine import policy
from cohabit.reactor.linux import os
from cohabit.reactor.processes.child import FIRST_SOCKET, SpawnSpec
from cohabit.reactor.shortage import is_shortage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cohabit.reactor.context import Context
    from cohabit.reactor.poller import Poller
    from cohabit.reactor.processes.child import Step
    from cohabit.reactor.signals import InheritedSignals

    Plain = tuple[int, bytes, bool, int, bool]  # what crosses a re-execution

PIPE = -1  # instead of a descriptor: a pipe to process 1
STEP_MEMORY = "limit its memory"  # of child.py
_READ_SIZE = 65_536
_WRITE_SIZE = 65_536
_PENDING_MAX = 1_048_576
_MEMORY_MAX = 1 << 30  # bytes of RLIMIT_DATA; the largest file that the loader reads needs a quarter of it
_RESET_SECONDS = 10.0  # as in Docker: a run of this length resets the back-off


class Input:
    """The standard input of a side program. fd: our end, -1 when it is closed; pending: what is not written yet.

    on_room() is called when it is no longer full.
    """

    __slots__ = ("_on_room", "_poller", "_watched", "ending", "fd", "pending")

    def __init__(self, poller: Poller, fd: int, on_room: Callable[[], None] | None = None) -> None:
        self._poller = poller
        self._on_room = on_room
        self._watched = False
        self.ending = False  # it is closed when everything is written
        self.fd = fd
        self.pending = bytearray()

    @property
    def full(self) -> bool:
        """Whether nothing more should be written until on_room() is called."""
        return len(self.pending) >= _PENDING_MAX

    def write(self, data: bytes) -> None:
        """Write as much as possible without waiting; the rest is pending."""
        if self.fd >= 0 and not self.ending:
            self.pending += data
            if not self._watched:
                self.flush()

    def flush(self) -> None:
        """Write as much of what is pending as possible without waiting."""
        try:
            while self.pending:
                del self.pending[: os.write(self.fd, self.pending[:_WRITE_SIZE])]
        except OSError as error:
            if not is_shortage(error):  # the program has ended, which its exit code reports
                self.pending.clear()
        self._watch(bool(self.pending))
        if self.ending and not self.pending:
            self.close()

    def end(self) -> None:
        """Close it when everything is written."""
        self.ending = True
        if not self.pending:
            self.close()

    def close(self) -> None:
        """Close it, and drop what is pending."""
        if self.fd >= 0:
            self._watch(False)
            os.close(self.fd)
            self.fd = -1
            self.pending.clear()

    def _is_writable(self, _fd: int) -> None:
        was_full = self.full
        self.flush()
        if was_full and not self.full and self._on_room is not None:
            self._on_room()

    def _watch(self, watched: bool) -> None:
        if watched != self._watched:
            self._watched = watched
            if watched:
                self._poller.add(self.fd, select.EPOLLOUT, self._is_writable)
            else:
                self._poller.remove(self.fd)


class Started:
    """A side program that runs already. output: the read end of its standard output; errors: of its error pipe."""

    __slots__ = ("errors", "output", "pid", "spec")

    def __init__(self, wanted: SpawnSpec, pid: int, errors: int, output: int) -> None:
        self.spec = wanted
        self.pid = pid
        self.errors = errors
        self.output = output


def spec(
    argv: tuple[str, ...], environment: dict[str, str], given: InheritedSignals, *, stdio: tuple[int, ...]
) -> SpawnSpec:
    """Return how a side program is started: with a limit on its memory."""
    wanted = SpawnSpec(argv, environment, given, stdio=stdio)
    wanted.before_user = ((STEP_MEMORY, _limit_memory),)
    return wanted


def _limit_memory() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [_MEMORY_MAX, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))


class SideProcess:
    """One side program. It may be started again after its end.

    name: as in program.py. key: of its process, unique while it runs (Children). on_data(data): it has written this;
    b"" once, at the end of its output. on_exit(code, why): it has ended; why is not empty if the exec failed. given:
    see Context. steps: of the child, right before the exec.
    """

    __slots__ = (
        "_context", "_failures", "_given", "_on_data", "_on_exit", "_on_room", "_started_at",
        "input", "key", "name", "output", "running", "steps",
    )  # fmt: skip

    def __init__(
        self,
        context: Context,
        name: str,
        key: str,
        on_data: Callable[[bytes], None],
        on_exit: Callable[[int, str], None],
        *,
        on_room: Callable[[], None] | None = None,
        given: InheritedSignals | None = None,
    ) -> None:
        self._context = context
        self.steps: Sequence[Step] = ()
        self._on_data = on_data
        self._on_exit = on_exit
        self._on_room = on_room
        self._given = given or context.given
        self._started_at = 0.0
        self._failures = 0  # in a row
        self.name = name
        self.key = key
        self.input = Input(context.poller, -1)
        self.output = -1
        self.running = False  # from its fork until it is reaped

    def start(
        self, argv: tuple[str, ...], stdin: int = PIPE, stdout: int = PIPE, *, descriptors: tuple[int, ...] = ()
    ) -> None:
        """Start it with this command (program.py). Raises OSError: no room.

        descriptors: those that it gets from 3 up. They stay open here.
        """
        self._context.poller.cancel(self._timer)
        self._started_at = time.monotonic()
        theirs, ours = [stdin, stdout], [-1, -1]
        opened: list[int] = []
        try:
            for number in (0, 1):
                if theirs[number] == PIPE:
                    ends = os.pipe2(os.O_CLOEXEC)
                    opened += ends
                    theirs[number], ours[number] = ends[number], ends[1 - number]
                    os.set_blocking(ours[number], False)
            wanted = spec(argv, dict(self._context.environment), self._given, stdio=(*theirs, 2))
            wanted.descriptors = tuple((fd, FIRST_SOCKET + i) for i, fd in enumerate(descriptors))
            wanted.after_user = self.steps
            self._context.run_program(self.key, wanted, self.ended)
        except OSError:
            for fd in opened:
                os.close(fd)
            raise
        for fd in opened:
            if fd not in ours:
                os.close(fd)
        self._connect(*ours)

    def take_over(self, started: Started) -> None:
        """Go on with a program that was started before the loop (first_loader.py)."""
        self._started_at = time.monotonic()
        self._context.run_program(self.key, started.spec, self.ended, (started.pid, started.errors))
        self._connect(-1, started.output)

    def _connect(self, stdin: int, stdout: int) -> None:
        self.running = True
        self._context.side_processes[self.key] = self.name
        self.input = Input(self._context.poller, stdin, self._on_room)
        self.output = stdout
        if stdout >= 0:
            self._context.poller.add(stdout, select.EPOLLIN, self._is_readable)

    def kill(self) -> None:
        """Kill it; on_exit() follows."""
        self._context.kill_program(self.key)

    # --- its output and its end ----------------------------------------------------------------------

    def _is_readable(self, _fd: int) -> None:
        self.read()

    def read(self) -> bool:
        """Read once. Returns False if nothing (more) was there."""
        if self.output < 0:
            return False
        try:
            data = os.read(self.output, _READ_SIZE)
        except BlockingIOError:
            return False
        if not data:
            self.close_output()
        self._on_data(data)
        return bool(data)

    def close_output(self) -> None:
        """Read no more."""
        if self.output >= 0:
            self._context.poller.remove(self.output)
            os.close(self.output)
            self.output = -1

    def ended(self, code: int, why: str) -> None:
        """It has been reaped. Called by Children."""
        while self.read():
            pass
        self.close_output()
        self.input.close()
        self._forget()
        self._on_exit(code, why)

    def _forget(self) -> None:
        self.running = False
        self._context.side_processes.pop(self.key, None)

    # --- starting it again ---------------------------------------------------------------------------

    @property
    def _timer(self) -> tuple[str, str]:
        return ("program", self.key)

    def start_later(self, start: Callable[[], None]) -> float:
        """Call `start` after Docker's back-off, because it has ended or could not be started; returns the delay."""
        if time.monotonic() - self._started_at >= _RESET_SECONDS:
            self._failures = 0
        self._failures += 1
        delay = policy.docker_backoff_seconds(self._failures)
        self._context.poller.call_at(self._timer, time.monotonic() + delay, start)
        return delay

    def reset(self) -> None:
        """Do not start it later, and forget its failures."""
        self._context.poller.cancel(self._timer)
        self._failures = 0

    # --- re-execution --------------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """Return the descriptors that must stay open across the exec."""
        return [fd for fd in (self.input.fd, self.output) if fd >= 0]

    def to_plain(self) -> Plain:
        """Return plain values for restore. The program keeps running."""
        return self.input.fd, bytes(self.input.pending), self.input.ending, self.output, self.running

    def restore(self, plain: Plain) -> None:
        """Continue with the values of to_plain. Children must call `ended` if it is running."""
        stdin, pending, ending, stdout, running = plain
        for fd in (stdin, stdout):
            if fd >= 0:
                os.set_inheritable(fd, False)
        self._connect(stdin, stdout)
        if not running:
            self._forget()
        self.input.write(pending)
        if ending:
            self.input.end()
