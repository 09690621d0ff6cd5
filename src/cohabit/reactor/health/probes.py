"""Runs probes without blocking the loop. Each check has one answer.

The engine decides when a check is due (engine/health.py). A socket probe is a connection of process 1 (connection.py).
A command is a task of the service: a process tree of its own, whose exit code is the answer. Every check ends within
its timeout. A command is killed at its timeout with its whole tree, and so are the processes that it leaves behind when
it ends. After `stop` there is no answer.

Hundreds of checks may run each second, so no method iterates over all of them.
"""

from __future__ import annotations

import select
import time

from cohabit.engine import events
from cohabit.plan.reason import PROBE_NOT_RUN, PROBE_TIMED_OUT, Reason
from cohabit.plan.reason_text import text_of
from cohabit.reactor.health.connection import Connection
from cohabit.reactor.linux import DEV_NULL, os
from cohabit.reactor.shortage import RETRY_SECONDS, is_shortage
from cohabit.units import describe_exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cohabit.plan.model import Probe, Service
    from cohabit.reactor.context import Context
    from cohabit.reactor.processes.child import SpawnSpec

OUTPUT_MAX = 4096  # bytes of a command's output that are kept, from its end
_FLOOD_BYTES = 1_048_576  # a command that writes more is killed
_READ_SIZE = 65_536
_READS_AFTER_END = 6  # of the pipe of a command that ended; without a limit, another writer could keep us reading


class _Check:
    """One run of a probe. answered: its answer has been given; ended: nothing more is to be done for it.

    An HTTP check is answered before it has ended while the server is still sending. watched: the poller reports `fd`.
    """

    __slots__ = (
        "answered", "connection", "ended", "fd", "name", "output", "probe", "read_bytes", "service", "watched",
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
        self.ended = False
        self.watched = False


class Probes:
    """All checks in progress. Each answer is the event Probed.

    describe(service, command, stdio) returns how the service would run a command.
    """

    def __init__(
        self, context: Context, describe: Callable[[Service, tuple[str, ...], tuple[int, ...]], SpawnSpec]
    ) -> None:
        self._context = context
        self._describe = describe
        self._checks: dict[str, _Check] = {}
        self._running: dict[str, _Check] = {}  # those whose command is not reaped yet, wanted or not
        self._null = -1

    def ask(self, service: Service, now: float) -> None:
        """Run the probe of a service once. A check in progress is stopped without an answer."""
        probe = service.probe
        if probe is None:
            return
        self.stop(service.name)
        check = _Check(service, probe)
        self._checks[service.name] = check
        self._start(check, now)

    def _start(self, check: _Check, now: float) -> None:
        """Start a check, or postpone it: a shortage says nothing about the service."""
        self._call_at(now + check.probe.timeout_seconds, check, lambda: self._timed_out(check), patient=True)
        try:
            if check.probe.kind == "exec":
                self._run(check)
            else:
                check.connection = connection = Connection(check.probe)
                check.fd = connection.fd
                self._advance(check, connection)
        except OSError as error:
            self._fail_or_postpone(check, error, now)

    def _fail_or_postpone(self, check: _Check, error: OSError, now: float) -> None:
        if not is_shortage(error):
            self._answer(check, False, f"cannot start the probe: {error.strerror}")
            return
        self._hang_up(check)
        check.connection = None
        self._call_at(now + RETRY_SECONDS, check, lambda: self._start(check, time.monotonic()))

    def stop(self, service: str) -> None:
        """Stop the check of a service without an answer."""
        check = self._checks.get(service)
        if check is not None:
            self._end(check)

    def _timed_out(self, check: _Check) -> None:
        if check.answered:
            self._end(check)
            return
        seconds, output = check.probe.timeout_seconds, _text(check.output)
        self._answer(check, False, Reason(PROBE_TIMED_OUT, seconds=seconds, detail=output))

    def _continue(self, check: _Check) -> None:
        """Continue a connection, or read the output of a command."""
        if check.connection is None:
            self._read(check)
        elif not check.answered:
            try:
                self._advance(check, check.connection)
            except OSError as error:
                self._fail_or_postpone(check, error, time.monotonic())
        elif check.connection.drain():
            self._end(check)

    # --- sockets -------------------------------------------------------------------------------------

    def _advance(self, check: _Check, connection: Connection) -> None:
        """Continue a connection. On the loopback TCP connects at once, and the check is never in the epoll set."""
        answer = connection.advance()
        if answer is None or connection.replied:
            self._register(check, connection.events)
        if answer is not None:
            self._answer(check, *answer)

    # --- commands ------------------------------------------------------------------------------------

    def _run(self, check: _Check) -> None:
        """Start the command, unless an earlier one of the service is not reaped yet. Raises OSError."""
        if check.name in self._running:
            return
        if self._null < 0:
            self._null = os.open(DEV_NULL, os.O_RDWR | os.O_CLOEXEC)
        check.fd, writer = os.pipe2(os.O_CLOEXEC)
        self._running[check.name] = check
        try:
            os.set_blocking(check.fd, False)
            self._register(check, select.EPOLLIN)
            spec = self._describe(check.service, check.probe.command, (self._null, writer, writer))
            self._context.run_program(_key(check), spec, lambda code, why: self._command_ended(check, code, why))
        except OSError:
            del self._running[check.name]
            raise
        finally:
            os.close(writer)

    def _command_ended(self, check: _Check, code: int, why: str) -> None:
        """Handle the end of a command. Processes that it left behind are killed before they can write more."""
        del self._running[check.name]
        self._context.kill_program(_key(check))
        if check.ended:
            self._run_next(check.name)
            return
        for _ in range(_READS_AFTER_END):
            if check.ended or check.fd < 0 or not self._read(check):
                break
        if not check.ended:
            output = Reason(PROBE_NOT_RUN, detail=why) if why else _text(check.output)
            if code != 0 and not output:
                output = f"the probe ended with {describe_exit(code)}"
            self._answer(check, code == 0, output)

    def _run_next(self, name: str) -> None:
        waiting = self._checks.get(name)
        if waiting is None:
            return
        try:
            self._run(waiting)
        except OSError as error:
            self._fail_or_postpone(waiting, error, time.monotonic())

    def _read(self, check: _Check) -> bool:
        """Read once from a command's output. Returns False if there is nothing to read, or no more."""
        try:
            data = os.read(check.fd, _READ_SIZE)
        except BlockingIOError:
            return False
        if not data:
            self._hang_up(check)
            return False
        check.read_bytes += len(data)
        check.output = (check.output + data)[-OUTPUT_MAX:]
        if check.read_bytes > _FLOOD_BYTES:
            self._answer(check, False, "the probe was killed: it wrote more than 1 MiB")
        return True

    # --- the end of a check --------------------------------------------------------------------------

    def _answer(self, check: _Check, passed: bool, output: str | Reason) -> None:
        check.answered = True
        if check.connection is None or not check.connection.replied:
            self._end(check)
        if isinstance(output, Reason):
            self._context.emit(events.Probed(check.name, passed, text_of(output), output))
        else:
            self._context.emit(events.Probed(check.name, passed, output))

    def _end(self, check: _Check) -> None:
        check.ended = True
        if self._checks.get(check.name) is check:
            del self._checks[check.name]
            self._context.poller.cancel(("probe", check.name))
        self._hang_up(check)
        if self._running.get(check.name) is check:
            self._context.kill_program(_key(check))

    def _hang_up(self, check: _Check) -> None:
        # Unregister explicitly: a child between fork and exec shares the descriptor, so closing it would leave its open
        # file description in the epoll set (epoll(7), Q6).
        if check.watched:
            check.watched = False
            self._context.poller.remove(check.fd)
        if check.connection is not None:
            check.connection.close()
        elif check.fd >= 0:
            os.close(check.fd)
        check.fd = -1

    def _register(self, check: _Check, mask: int) -> None:
        if check.watched:
            self._context.poller.modify(check.fd, mask)
        else:
            self._context.poller.add(check.fd, mask, lambda _: self._continue(check))
            check.watched = True

    def _call_at(self, when: float, check: _Check, callback: Callable[[], None], *, patient: bool = False) -> None:
        self._context.poller.call_at(("probe", check.name), when, callback, patient=patient)


def _key(check: _Check) -> str:
    return f"{check.name}\0probe"


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace").strip()
