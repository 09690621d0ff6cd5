"""Asking services how they are, without ever blocking the loop: one question, one answer.

When to ask again is the engine's to say (engine/health.py); here is only how. A socket is asked by a connection
of ours (connection.py), a command is a task of the service: a process tree of its own, whose exit code is the
answer. Every question ends within its timeout; a command is then killed with all that it started, and so is
what a command leaves behind when it ends by itself. After `stop` nothing is answered any more.

Five hundred services may be asked each second, so nothing here looks at all of them: deadlines are in a heap,
from which questions that are over are dropped when their turn comes or when they have become the bigger half.
"""

from __future__ import annotations

import _heapq as heapq
import select
import time

from cohabit.engine import events
from cohabit.reactor.health.connection import Connection
from cohabit.reactor.linux import DEV_NULL, os
from cohabit.reactor.shortage import RETRY_SECONDS, is_shortage
from cohabit.units import describe_exit, format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.plan.model import Probe, Service
    from cohabit.reactor.poller import Registry
    from cohabit.reactor.processes.child import SpawnSpec

OUTPUT_MAX = 4096  # bytes of an answer's text: the last ones
_FLOOD_BYTES = 1_048_576  # a command that writes more is no probe
_READ_SIZE = 65_536
_TURNS_TO_EMPTY = 6  # of the pipe of a command that ended; more would be a trap while somebody fills it
_FEW = 64  # deadlines that are never worth sorting out


class _Asked:
    """One question. over: it is answered or not wanted any more. answered: over, but for what HTTP still sends.

    at: monotonic seconds at which it has waited long enough; or, when it is `postponed`, at which it can be asked.
    """

    __slots__ = (
        "answered", "at", "connection", "fd", "name", "output", "over", "postponed", "probe", "read_bytes", "service",
    )  # fmt: skip

    def __init__(self, service: Service, probe: Probe) -> None:
        self.service = service
        self.name = service.name
        self.probe = probe
        self.connection: Connection | None = None
        self.fd = -1
        self.output = b""
        self.read_bytes = 0
        self.answered = False
        self.over = False
        self.postponed = False
        self.at = 0.0


class Probes:
    """All questions that are open. tell(fact) gets each answer.

    describe(service, command, stdio): a command as the service would run it. launch, kill: Children's, for a child
    under a key; launch's third argument is called once, also after a kill, with the exit code and with words if the
    exec failed.
    """

    def __init__(
        self,
        epoll: Registry,
        *,
        describe: Callable[[Service, tuple[str, ...], tuple[int, ...]], SpawnSpec],
        launch: Callable[[str, SpawnSpec, Callable[[int, str], None]], None],
        kill: Callable[[str], None],
        tell: Callable[[events.Probed], None],
    ) -> None:
        self._epoll = epoll
        self._describe = describe
        self._launch = launch
        self._kill = kill
        self._tell = tell
        self._asked: dict[str, _Asked] = {}
        self._running: dict[str, _Asked] = {}  # whose command is not reaped yet, wanted or not
        self._listening: dict[int, _Asked] = {}
        self._deadlines: list[tuple[float, int, _Asked]] = []
        self._number = 0
        self._null = -1

    def ask(self, service: Service, now: float) -> None:
        """Ask once. What was asked before and not answered is not wanted any more."""
        probe = service.probe
        if probe is None:
            return
        self.stop(service.name)
        asked = _Asked(service, probe)
        self._asked[service.name] = asked
        self._try(asked, now)

    def _try(self, asked: _Asked, now: float) -> None:
        """Ask, or postpone it: that the machine has no room says nothing of the service."""
        self._remember(now + asked.probe.timeout_seconds, asked)
        try:
            if asked.probe.kind == "exec":
                self._run(asked)
            else:
                asked.connection = connection = Connection(asked.probe)
                asked.fd = connection.fd
                self._advance(asked, connection)
        except OSError as error:
            self._refused(asked, error, now)

    def _refused(self, asked: _Asked, error: OSError, now: float) -> None:
        if not is_shortage(error):
            self._answer(asked, False, f"cannot ask: {error.strerror}")
            return
        self._hang_up(asked)
        asked.connection = None
        asked.postponed = True
        self._remember(now + RETRY_SECONDS, asked)

    def stop(self, service: str) -> None:
        """No answer is wanted any more."""
        asked = self._asked.get(service)
        if asked is not None:
            self._end(asked)

    def deadline(self) -> float | None:
        """Monotonic seconds at which the next question has waited long enough."""
        heap = self._deadlines
        while heap and (heap[0][2].over or heap[0][0] != heap[0][2].at):
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now: float) -> None:
        """Give up the questions that have waited long enough."""
        while (deadline := self.deadline()) is not None and deadline <= now:
            asked = heapq.heappop(self._deadlines)[2]
            if asked.postponed:
                asked.postponed = False
                self._try(asked, now)
                continue
            if asked.answered:
                self._end(asked)
                continue
            why = f"no answer within {format_duration(asked.probe.timeout_seconds)}"
            output = _text(asked.output)
            self._answer(asked, False, f"{why}: {output}" if output else why)

    def owns(self, fd: int) -> bool:
        """Whether an event on this descriptor is for us."""
        return fd in self._listening

    def handle(self, fd: int) -> None:
        """A connection got somewhere, or a command says something."""
        asked = self._listening[fd]
        if asked.connection is None:
            self._read(asked)
        elif not asked.answered:
            try:
                self._advance(asked, asked.connection)
            except OSError as error:
                self._refused(asked, error, time.monotonic())
        elif asked.connection.drain():
            self._end(asked)

    # --- sockets -------------------------------------------------------------------------------------

    def _advance(self, asked: _Asked, connection: Connection) -> None:
        """Get on with it. On the loopback TCP answers at once, and epoll never hears of that question."""
        answer = connection.advance()
        if answer is None or connection.replied:
            self._listen(asked, connection.events)
        if answer is not None:
            self._answer(asked, *answer)

    # --- commands ------------------------------------------------------------------------------------

    def _run(self, asked: _Asked) -> None:
        """Start the command, as soon as the one before it, killed, is gone. Raises OSError."""
        if asked.name in self._running:
            return
        if self._null < 0:
            self._null = os.open(DEV_NULL, os.O_RDWR | os.O_CLOEXEC)
        asked.fd, writer = os.pipe2(os.O_CLOEXEC)
        self._running[asked.name] = asked
        try:
            os.set_blocking(asked.fd, False)
            self._listen(asked, select.EPOLLIN)
            start = self._describe(asked.service, asked.probe.command, (self._null, writer, writer))
            self._launch(_key(asked), start, lambda code, why: self._ended(asked, code, why))
        except OSError:
            del self._running[asked.name]
            raise
        finally:
            os.close(writer)

    def _ended(self, asked: _Asked, code: int, why: str) -> None:
        """The command was reaped; whom it left behind goes too, before they can say more."""
        del self._running[asked.name]
        self._kill(_key(asked))
        if asked.over:
            self._run_next(asked.name)
            return
        for _ in range(_TURNS_TO_EMPTY):
            if asked.over or asked.fd < 0 or not self._read(asked):
                break
        if not asked.over:
            output = f"cannot run the probe: {why}" if why else _text(asked.output)
            if code != 0 and not output:
                output = f"the probe ended with {describe_exit(code)}"
            self._answer(asked, code == 0, output)

    def _run_next(self, name: str) -> None:
        waiting = self._asked.get(name)
        if waiting is None:
            return
        try:
            self._run(waiting)
        except OSError as error:
            self._refused(waiting, error, time.monotonic())

    def _read(self, asked: _Asked) -> bool:
        """One turn of a command's output; False when there is nothing (more)."""
        try:
            data = os.read(asked.fd, _READ_SIZE)
        except BlockingIOError:
            return False
        if not data:
            self._hang_up(asked)
            return False
        asked.read_bytes += len(data)
        asked.output = (asked.output + data)[-OUTPUT_MAX:]
        if asked.read_bytes > _FLOOD_BYTES:
            self._answer(asked, False, "the probe was killed: it wrote more than 1 MiB")
        return True

    # --- the end of a question -----------------------------------------------------------------------

    def _answer(self, asked: _Asked, passed: bool, output: str) -> None:
        asked.answered = True
        if asked.connection is None or not asked.connection.replied:
            self._end(asked)
        self._tell(events.Probed(asked.name, passed, output))

    def _end(self, asked: _Asked) -> None:
        asked.over = True
        if self._asked.get(asked.name) is asked:
            del self._asked[asked.name]
        self._hang_up(asked)
        if self._running.get(asked.name) is asked:
            self._kill(_key(asked))

    def _hang_up(self, asked: _Asked) -> None:
        # Explicitly: while a child is between fork and exec it shares the descriptor, and a closed one whose
        # description lives on would stay in the epoll set for ever (epoll(7), Q6).
        if self._listening.pop(asked.fd, None) is not None:
            self._epoll.unregister(asked.fd)
        if asked.connection is not None:
            asked.connection.close()
        elif asked.fd >= 0:
            os.close(asked.fd)
        asked.fd = -1

    def _listen(self, asked: _Asked, mask: int) -> None:
        if asked.fd in self._listening:
            self._epoll.modify(asked.fd, mask)
        else:
            self._epoll.register(asked.fd, mask)
            self._listening[asked.fd] = asked

    def _remember(self, deadline: float, asked: _Asked) -> None:
        asked.at = deadline
        if len(self._deadlines) > 2 * len(self._asked) + _FEW:
            self._deadlines = [entry for entry in self._deadlines if not entry[2].over]
            heapq.heapify(self._deadlines)
        self._number += 1  # no two entries are compared beyond it
        heapq.heappush(self._deadlines, (deadline, self._number, asked))


def _key(asked: _Asked) -> str:
    return f"{asked.name}\0probe"


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace").strip()
