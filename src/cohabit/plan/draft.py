"""The result of reading one file or command line, before its services are checked together.

Every reader (the Compose file, the command line of `run`) returns a Draft; plan/build.py turns it into a Plan. A Draft
has the location of each key, so that problems can name file and line, and the problems that the reader found.
"""

from __future__ import annotations

from cohabit.errors import EXIT_FILE
from cohabit.plan.model import TOTAL_GRACE_SECONDS, Logging, Secret, Service
from cohabit.plan.record import Record

UNREADABLE = "?"  # in place of a command that is not valid; the problem is already reported


class SourceLocation(Record):
    """A location in the user's input; line 0 stands for the whole file, or for the command line."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Diagnostic(Record):
    """One problem, in one sentence. A warning does not prevent the start."""

    where: SourceLocation
    text: str
    warning: bool = False
    exit_code: int = EXIT_FILE

    def __str__(self) -> str:
        return f"{self.where}: {'warning: ' if self.warning else ''}{self.text}"


class DraftService(Record):
    """One service as it was written.

    essential: None if the key is not set; `service.essential` is not valid then.
    replicas: the number of instances, None if it is not set.
    places: the location of each key by its path, "restart" or "depends_on.db". where: that of the service.
    """

    service: Service
    where: SourceLocation
    places: dict[str, SourceLocation] = {}  # noqa: RUF012 - a record's default is never changed
    profiles: tuple[str, ...] = ()
    essential: bool | None = None
    replicas: int | None = None

    def place(self, key: str) -> SourceLocation:
        """The location of a key; that of the service if the key is not set."""
        return self.places.get(key, self.where)


class Draft(Record):
    """All services of the input in its order, container-wide settings, and the problems found so far."""

    where: SourceLocation
    services: dict[str, DraftService]
    stop_grace_seconds: float = TOTAL_GRACE_SECONDS
    problems: tuple[Diagnostic, ...] = ()
    secrets: dict[str, Secret] = {}  # noqa: RUF012 - a record's default is never changed
    configs: dict[str, Secret] = {}  # noqa: RUF012 - same
    control_gid: int | None = None
    logging: tuple[Logging, ...] = (Logging(),)
    mask: bool = False
