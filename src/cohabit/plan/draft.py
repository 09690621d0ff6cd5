"""What a reader understood of one text, before anybody asked whether it fits together.

Every reader (the Compose file, the command line of `run`; later supervisord.conf and Procfile) ends in a
Draft; plan/build.py turns it into a Plan. A Draft remembers where each thing was written, so that every
problem can name its file and line, and it holds the problems that the reader already met.
"""

from __future__ import annotations

from cohabit.errors import EXIT_FILE
from cohabit.plan.model import TOTAL_GRACE_SECONDS, Logging, Secret, Service
from cohabit.plan.record import Record

UNREADABLE = "?"  # stands for the program of a command that is wrong, and was told so


class SourceLocation(Record):
    """A place in what the user wrote; line 0 when the whole file (or the command line) is meant."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Diagnostic(Record):
    """One thing that is wrong, in one sentence. A warning does not stop the start."""

    where: SourceLocation
    text: str
    warning: bool = False
    exit_code: int = EXIT_FILE

    def __str__(self) -> str:
        return f"{self.where}: {'warning: ' if self.warning else ''}{self.text}"


class DraftService(Record):
    """One service as it was written. `service.essential` is not decided when `essential` is None.

    replicas: how many instances there shall be, None when nothing was written of that.
    places: line of each key by its path, "restart" or "depends_on.db"; `where` is the service's own line.
    """

    service: Service
    where: SourceLocation
    places: dict[str, SourceLocation] = {}  # noqa: RUF012 - a record's default is never changed
    profiles: tuple[str, ...] = ()
    essential: bool | None = None
    replicas: int | None = None

    def place(self, key: str) -> SourceLocation:
        """Where a key was written, or the service itself if the key was not."""
        return self.places.get(key, self.where)


class Draft(Record):
    """All services of the text, in its order, and what was wrong with it."""

    where: SourceLocation
    services: dict[str, DraftService]
    stop_grace_seconds: float = TOTAL_GRACE_SECONDS
    problems: tuple[Diagnostic, ...] = ()
    secrets: dict[str, Secret] = {}  # noqa: RUF012 - a record's default is never changed
    configs: dict[str, Secret] = {}  # noqa: RUF012 - same
    control_gid: int | None = None
    logging: tuple[Logging, ...] = (Logging(),)
    mask: bool = False
