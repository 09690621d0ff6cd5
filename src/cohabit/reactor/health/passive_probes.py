"""Passive probes: the service itself shows that it is ready, by a message, on a descriptor or in its output.

What it needs for that is opened before each start.
"""

from __future__ import annotations

from cohabit.reactor.health.log_match import LogMatches
from cohabit.reactor.health.notification_fd import NotificationFds
from cohabit.reactor.health.notify import Notify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cohabit.plan.model import Service
    from cohabit.reactor.context import Context
    from cohabit.reactor.logs.output import Output
    from cohabit.reactor.processes.child import SpawnSpec
    from cohabit.reactor.processes.children import Children
    from cohabit.reactor.rundir import RuntimeDirectory


class PassiveProbes:
    """notify: sd_notify; notification_fds: as in s6; log_matches: a pattern in the output."""

    def __init__(self, context: Context, directory: RuntimeDirectory, children: Children, output: Output) -> None:
        self.notify = Notify(context, directory, children)
        self.notification_fds = NotificationFds(context)
        self.log_matches = LogMatches(context, output)

    def prepare(self, service: Service, start: SpawnSpec, opened: list[int]) -> None:
        """Open what the service's probe needs for this start. What must be closed after it is added to `opened`.

        Raises OSError.
        """
        kind = service.probe.kind if service.probe else ""
        if kind == "notify":
            start.environment.update(self.notify.open(service))
        elif kind == "fd":
            writer, number = self.notification_fds.open(service)
            opened.append(writer)
            start.descriptors += ((writer, number),)
        elif kind == "log":
            self.log_matches.open(service)

    def close(self, service: str) -> None:
        """Stop reading of the service's readiness. Its messages and its output are still read."""
        self.notification_fds.close(service)
        self.log_matches.close(service)

    # --- re-execution state --------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """Return the descriptors that must stay open across the exec."""
        return [fd for part in (self.notify, self.notification_fds, self.log_matches) for fd in part.descriptors()]

    def to_plain(self) -> tuple[dict[str, Any], ...]:
        """Return plain values for restore."""
        return self.notify.to_plain(), self.notification_fds.to_plain(), self.log_matches.to_plain()

    def restore(self, plain: tuple[dict[str, Any], ...]) -> None:
        """Continue with the values of to_plain. Output must be restored before."""
        notify, notification_fds, log_matches = plain
        self.notify.restore(notify)
        self.notification_fds.restore(notification_fds)
        self.log_matches.restore(log_matches)
