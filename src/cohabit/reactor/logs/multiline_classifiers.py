"""The children that say for each line of a service whether it begins a record (tasks/multiline.py).

Process 1 never runs a user's regular expression. A child for each service with a multiline pattern does. Process 1
holds the lines until they are answered, so a child that dies loses nothing; each line is then a record until the
service's next start, and a warning is logged.

At most 1 MiB of a service may be unanswered: beyond that the child is `full`, and the service's streams are paused
(destination.py).
"""

from __future__ import annotations

import select

from cohabit.program import program
from cohabit.reactor import signals
from cohabit.reactor.poller import is_ready
from cohabit.reactor.processes import start_failure
from cohabit.reactor.side_process import SideProcess
from cohabit.units import describe_exit, format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeAlias

    from cohabit.reactor.context import Context, Ended

    Answered: TypeAlias = tuple[int, bytes, bytes, int]  # source, lines, an answer for each, time of the read

KEY = "\0lines"  # a child's key: the service's name, this and a number, since the previous child may still run
BEGINS, GOES_ON = b"1", b"0"  # what tasks/multiline.py writes
_UNANSWERED_MAX = 1_048_576
_UNANSWERED_RESUME = _UNANSWERED_MAX // 2  # hysteresis: streams are read again below this
_SECONDS_MAX = 2.0  # CPU time of the child for the lines of one read
_STALL_SECONDS = 1.0  # in finish(): children that answer nothing for this long are given up
_TOO_LONG = 128 + 26  # SIGVTALRM


class Classifier:
    """One child process. answers: it reads lines and answers, which ends with its output; it may still be running.

    unanswered: (source, lines, number of lines, time of the read), bytes_unanswered in all; received: answers to the
    first of them. unanswered_at_end: it ended before it had answered everything.
    """

    __slots__ = (
        "answers", "bytes_unanswered", "full", "pattern", "process", "received", "service", "unanswered",
        "unanswered_at_end",
    )  # fmt: skip

    def __init__(self, service: str, pattern: str, process: SideProcess) -> None:
        self.service = service
        self.pattern = pattern
        self.process = process
        self.answers = False
        self.unanswered: list[tuple[int, bytes, int, int]] = []
        self.bytes_unanswered = 0
        self.received = bytearray()
        self.full = self.unanswered_at_end = False

    def feed(self, source: int, lines: bytes, now_ns: int) -> None:
        """Give it whole lines, at least one."""
        self.unanswered.append((source, lines, lines.count(b"\n"), now_ns))
        self.bytes_unanswered += len(lines)
        self.full = self.full or self.bytes_unanswered >= _UNANSWERED_MAX
        self.process.input.write(lines)

    def take_answered(self) -> Answered | None:
        """Take the first piece, if it is completely answered."""
        if not self.unanswered or len(self.received) < self.unanswered[0][2]:
            return None
        source, lines, count, now_ns = self.unanswered.pop(0)
        starts = bytes(self.received[:count])
        del self.received[:count]
        self.bytes_unanswered -= len(lines)
        return source, lines, starts, now_ns

    def has_room_again(self) -> bool:
        """Whether it was full, and has answered enough since."""
        if not self.full or self.bytes_unanswered > _UNANSWERED_RESUME:
            return False
        self.full = False
        return True

    def to_plain(self) -> tuple[Any, ...]:
        """Plain values for restore() of Classifiers. The child keeps running."""
        return (
            (self.service, self.pattern, self.process.key),
            self.process.to_plain(),
            (self.answers, bytes(self.received), self.full, self.unanswered_at_end),
            self.unanswered,
        )


class Classifiers:
    """All children. on_answers(child): it has answered, or answers no more; then all its lines have an answer."""

    def __init__(self, context: Context, on_answers: Callable[[Classifier], None]) -> None:
        # A stop signal that is sent to all processes (kill -1) must not end a child with lines to answer: it ends with
        # its input. The signals are blocked, not ignored: that holds from before the exec on.
        given = context.given
        self._given = signals.InheritedSignals(given.mask | signals.STOP_SIGNALS | {signals.HUP}, given.ignored)
        self._context = context
        self._on_answers = on_answers
        self._current: dict[str, Classifier] = {}
        self._running: dict[str, Classifier] = {}  # key -> child, from its fork until it is reaped
        self._count = 0

    def of(self, service: str, pattern: str) -> Classifier:
        """The service's child with this pattern, started if there is none."""
        child = self._current.get(service)
        if child is None or child.pattern != pattern or not child.answers or child.process.input.ending:
            self.forget(service)
            child = self._current[service] = self._start(service, pattern)
        return child

    def forget(self, service: str) -> None:
        """The service has no pattern any more, or is gone: its child ends when it has answered."""
        child = self._current.pop(service, None)
        if child is not None:
            child.process.input.end()

    def close(self) -> None:
        """End all children when they have answered."""
        for child in self._current.values():
            child.process.input.end()

    def finish(self, seconds_left: Callable[[], float]) -> None:
        """Wait for all answers, at the end of the container, as long as children answer in time."""
        self.close()
        while (children := self._answering()) and (left := seconds_left()) > 0:
            poll = select.poll()
            for child in children:
                poll.register(child.process.output, select.POLLIN)
                if child.process.input.fd >= 0:
                    poll.register(child.process.input.fd, select.POLLOUT)
            if not is_ready(poll, min(left, _STALL_SECONDS)):
                break
            for child in children:
                child.process.input.flush()
                child.process.read()
        for child in self._answering():
            self._stop_using(child)

    def _answering(self) -> list[Classifier]:
        return [child for child in self._running.values() if child.answers]

    def _new(self, service: str, pattern: str, key: str) -> Classifier:
        process = SideProcess(
            self._context,
            "multiline",
            key,
            lambda data: self._read(child, data),
            lambda code, why: self._ended(child, code, why),
            given=self._given,
        )
        child = Classifier(service, pattern, process)
        return child

    def _start(self, service: str, pattern: str) -> Classifier:
        self._count += 1
        child = self._new(service, pattern, f"{service}{KEY}{self._count}")
        try:
            child.process.start(program("multiline", str(_SECONDS_MAX), pattern))
        except OSError as error:
            self._warn(service, start_failure.no_room(error))
            return child
        child.answers = True
        self._running[child.process.key] = child
        return child

    def _read(self, child: Classifier, data: bytes) -> None:
        if data:
            child.received += data
            self._on_answers(child)
        else:
            self._stop_using(child)

    def _stop_using(self, child: Classifier) -> None:
        """The child answers no more: its unanswered lines become a record each."""
        if not child.answers:
            return
        child.answers = False
        child.process.input.close()
        child.process.close_output()
        child.unanswered_at_end = bool(child.unanswered)
        child.received += BEGINS * (sum(count for _, _, count, _ in child.unanswered) - len(child.received))
        self._on_answers(child)

    def _ended(self, child: Classifier, code: int, why: str) -> None:
        del self._running[child.process.key]
        self._stop_using(child)
        if not child.process.input.ending or (code and child.unanswered_at_end):
            self._warn(child.service, _failure(code, why))

    def _warn(self, service: str, why: str) -> None:
        effect = "each line is a record until the next start"
        self._context.log("warning", service, f"cannot assemble multiline records: {why} ({effect})")

    # --- re-execution --------------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """Descriptors that must stay open across the exec."""
        return [fd for child in self._running.values() for fd in child.process.descriptors()]

    def to_plain(self, used: Iterable[Classifier]) -> dict[str, Any]:
        """The whole state. The children keep running. used: by sources."""
        children = dict.fromkeys((*self._current.values(), *self._running.values(), *used))
        return {
            "count": self._count,
            "children": [each.to_plain() for each in children],
            "wanted": [each.process.key for each in self._current.values()],
        }

    def restore(self, plain: dict[str, Any]) -> dict[str, Classifier]:
        """Take over the state from to_plain(). Returns the children by key."""
        self._count = plain["count"]
        children: dict[str, Classifier] = {}
        for names, process, (child_answers, received, *states), unanswered in plain["children"]:
            child = children[names[-1]] = self._new(*names)
            child.process.restore(process)
            child.answers = child_answers
            child.received += received
            child.full, child.unanswered_at_end = states
            child.unanswered += unanswered
            child.bytes_unanswered = sum(len(lines) for _, lines, _, _ in unanswered)
        self._current = {children[key].service: children[key] for key in plain["wanted"]}
        self._running = {key: child for key, child in children.items() if child.process.running}
        return children

    def tasks(self) -> dict[str, Ended]:
        """The keys of the running children, and what must be called when they end."""
        return {key: child.process.ended for key, child in self._running.items()}


def _failure(code: int, why: str) -> str:
    if why:
        return f"cannot start the child that searches for the pattern: {why}"
    if code == _TOO_LONG:
        return f"the regular expression takes more than {format_duration(_SECONDS_MAX)} (make it simpler)"
    return f"the child that searches for the pattern ended with {describe_exit(code)}"
