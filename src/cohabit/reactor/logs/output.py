"""All output: what services write, and messages of cohabit itself.

A service writes to its pipes, the Reader reads them (reader.py), and the Router passes the lines to their destinations
(router.py). Own messages go to the targets of a service named `cohabit`, in non-blocking mode. destination.py describes
what happens when a destination accepts no output.
"""

from __future__ import annotations

import time

from cohabit.plan.model import OWN_NAME
from cohabit.plan.record import from_plain, to_plain
from cohabit.reactor.logs.destinations import Destinations
from cohabit.reactor.logs.followers import Followers
from cohabit.reactor.logs.mask import Mask
from cohabit.reactor.logs.reader import Reader
from cohabit.reactor.logs.recent_lines import RecentLines
from cohabit.reactor.logs.router import Router
from cohabit.reactor.logs.stream import Stream
from cohabit.reactor.logs.unfinished import visible_part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from cohabit.plan.model import Logging
    from cohabit.reactor.context import Context, Ended
    from cohabit.reactor.logs.sink import Sink

_NAMED_MAX = 3


class Output:
    """The parts of output. recent_lines: the last lines of each service; mask: hides secrets.

    report_ended: see Followers.
    """

    def __init__(
        self, context: Context, stdout: Sink, stderr: Sink, *, report_ended: Callable[[], None] = lambda: None
    ) -> None:
        self.mask = Mask()
        self.recent_lines = RecentLines()
        self.destinations = Destinations(context, stdout, stderr)
        self.router = Router(context, self.destinations, self.mask, self.recent_lines)
        self.reader = Reader(context.poller, self.router)
        self.followers = Followers(context, self.reader, report_ended)
        self._own = self.destinations.own(())
        self._own_entries: tuple[Logging, ...] = ()
        self._early_messages: list[tuple[str, str, str]] | None = []  # own messages, until their format is known

    # --- services ------------------------------------------------------------------------------------

    def name_services(self, names: list[str], own: tuple[Logging, ...] = ()) -> None:
        """Set all names; prefix width and colours follow. own: the logging entries for cohabit's own messages."""
        self.destinations.name_services(names)
        self.recent_lines.name_services(names)
        self._own_entries = own
        self._own = self.destinations.own(own)
        self._close_unused()
        self._write_early_messages()

    def hide(self, paths: Iterable[str]) -> list[str]:
        """Mask what these secret files contain from now on. Returns warnings. Raises OSError: out of resources."""
        problems = self.mask.learn(paths)
        if self.mask.texts:
            self.reader.pass_no_raw_bytes()
        return problems

    def forget(self, service: str) -> None:
        """Drop what is held for a service that is in no plan any more and has no processes."""
        self.followers.forget(service)
        self.recent_lines.forget(service)
        self.router.multiline.forget(service)
        self._close_unused()

    def _close_unused(self) -> None:
        used = {target.destination for each in self._streams() for target in each.targets}
        self.destinations.close_unused(used | {target.destination for target in self._own})

    def _streams(self) -> list[Stream]:
        """All streams, open or with records to come, each once."""
        return list(dict.fromkeys((*self.reader.streams.values(), *self.router.sources.values())))

    def finish(self, seconds_left: Callable[[], float]) -> int:
        """Write all that is in pipes or pending, within seconds_left(). Returns how many bytes were not accepted."""
        self._write_early_messages()
        destinations = self.destinations.all()
        self.followers.finish(seconds_left)
        unread = self.reader.finish(seconds_left)
        if self.router.sources:
            self.router.multiline.finish(seconds_left)
        for destination in destinations:
            destination.drain(seconds_left)
        return unread + sum(destination.pending_bytes for destination in destinations)

    def last_lines(self, service: str, count: int) -> list[bytes]:
        """The last lines of both streams of the last run, without newlines, oldest first; unfinished ones last."""
        lines = self.recent_lines.last_lines(service, count)
        return [*lines, *(line for _, line in self.unfinished(service))][-count:]

    def unfinished(self, service: str, *, shown: bool = False) -> list[tuple[str, bytes]]:
        """The unfinished lines of a service, masked: (stream, line). shown: what followers have of them."""
        streams = [each for each in self.reader.streams.values() if each.service == service and each.partial]
        lines = [(each, each.partial[: each.shown] if shown else visible_part(each, self.mask)) for each in streams]
        return [(each.origin.stream, bytes(line)) for each, line in lines if line]

    def what_refuses(self) -> str:
        """After finish(): the destinations with output that they did not accept, as " (NAME: why, ...)"; or ""."""
        refusing = [one for one in self.destinations.all() if one.pending_bytes]
        names = [one.name + (f": {one.sink.problem}" if one.sink.problem else "") for one in refusing[:_NAMED_MAX]]
        more = [f"{len(refusing) - _NAMED_MAX} more"] if len(refusing) > _NAMED_MAX else []
        return f" ({', '.join(names + more)})" if refusing else ""

    # --- own messages --------------------------------------------------------------------------------

    def say(self, level: str, label: str, text: str) -> None:
        """Write a message of cohabit itself.

        level: "info", "warning" or "error"; label: "" writes the text without a prefix where the format is for people.
        Messages wait until the first plan sets their format. An error is written at once, after those that wait.
        """
        if self._early_messages is not None:
            if level != "error":
                self._early_messages.append((level, label, text))
                return
            self._write_early_messages()
        now_ns = time.time_ns()
        message = self.mask.hide(text.encode("utf-8", "surrogateescape"))
        for target in self._own:
            target.message(level, message, now_ns, bare=not label)
        self.router.record(OWN_NAME, "stderr", message + b"\n", now_ns)

    def _write_early_messages(self) -> None:
        messages, self._early_messages = self._early_messages or (), None
        for level, label, text in messages:
            self.say(level, label, text)

    # --- re-execution --------------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """Descriptors that must stay open across the exec."""
        return [*self.reader.streams, *self.followers.descriptors(), *self.destinations.descriptors()]

    def tasks(self) -> dict[str, Ended]:
        """The keys of the running children, and what must be called when they end."""
        return {**self.destinations.tasks(), **self.followers.tasks()}

    def to_plain(self) -> dict[str, Any]:
        """Descriptors, and what was read and not yet written."""
        streams = self._streams()
        saved_elsewhere = {target for each in streams for target in each.targets} | set(self._own)
        return {
            "streams": [stream.to_plain() for stream in streams],
            "targets": [target.to_plain() for target in self._own],
            "destinations": self.destinations.to_plain(saved_elsewhere),
            "followers": self.followers.to_plain(),
            "memory": self.recent_lines.to_plain(),
            "names": self.destinations.names,
            "own": to_plain(self._own_entries),
            "mask": self.mask.to_plain(),
            "held": self._early_messages,
        }

    def restore(self, plain: dict[str, Any]) -> None:
        """Take over the state from to_plain(). The descriptors are open under the same numbers."""
        self.mask.restore(plain["mask"])
        self._early_messages = plain["held"]
        if self._early_messages is None:
            self.name_services(plain["names"], from_plain(plain["own"]))
        self.recent_lines.restore(plain["memory"])
        streams = [(Stream.from_plain(one), one) for one in plain["streams"]]
        for stream, _ in streams:
            self.reader.add(stream)
        self.followers.restore(plain["followers"])
        self.destinations.restore(plain["destinations"])
        targets = [target for stream, _ in streams for target in stream.targets]
        states = [state for _, one in streams for state in one["targets"]]
        for target, state in zip((*targets, *self._own), (*states, *plain["targets"]), strict=True):
            target.restore(state)
        for destination in self.destinations.all():
            destination.watch()
