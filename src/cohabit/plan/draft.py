"""The result of reading one file or command line, before its services are checked together.

Every reader (config/readers) returns a Draft; plan/build.py turns it into a Plan. A Draft also has the keys as they are
written, with their locations, so that problems can name file and line, and the problems that the reader found.
"""

from __future__ import annotations

from cohabit.errors import EXIT_FILE
from cohabit.plan.model import TOTAL_GRACE_SECONDS, Logging, Secret, Service
from cohabit.plan.node import Line, line_of
from cohabit.plan.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.plan.node import Node

UNREADABLE = "?"  # in place of a command that is not valid; the problem is already reported


class SourceLocation(Record):
    """A location in the user's input; line 0 stands for the whole file, or for the command line."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


def located(file: str, line: int) -> SourceLocation:
    """The location of a line of a Node. file: where it is if the line does not say it."""
    return SourceLocation(line.file if isinstance(line, Line) else file, int(line))


class Diagnostic(Record):
    """One problem, in one sentence. A warning does not prevent the start.

    at_run_time: it is about what may exist only when the container runs: a variable, a mounted file, a permission. In a
    build it is a note, which is a warning.
    """

    where: SourceLocation
    text: str
    warning: bool = False
    exit_code: int = EXIT_FILE
    at_run_time: bool = False
    note: bool = False

    def __str__(self) -> str:
        kind = "note: at run time: " if self.note else "warning: " if self.warning else ""
        return f"{self.where}: {kind}{self.text}"


class DraftService(Record):
    """One service as it was written.

    essential: None if the key is not set; `service.essential` is not valid then.
    replicas: the number of instances, None if it is not set. keeps_name: the file sets no number, so the first
    instance has the name of the service, as before it was scaled.
    replicas: the number of instances, None if it is not set. path_variables: X_FILE that keep their path.
    user: the text of `user`, "" if it is not set. probe_unread: its healthcheck has an error, which is in `problems`.
    where: its location. written: each of its keys as the file has it, with its line, before interpolation.
    foreign: those without an effect here (image, ports, deploy.resources, x-…) by their path; they are for export.
    implied: the services that it depends on because of another key than depends_on, with that key ("links").
    """

    service: Service
    where: SourceLocation
    written: dict[str, Node] = {}  # noqa: RUF012 - each record gets a copy
    foreign: dict[str, Node] = {}  # noqa: RUF012 - same
    profiles: tuple[str, ...] = ()
    essential: bool | None = None
    replicas: int | None = None
    keeps_name: bool = False
    path_variables: tuple[str, ...] = ()
    user: str = ""
    probe_unread: bool = False
    implied: dict[str, str] = {}  # noqa: RUF012 - same

    def dependency(self, other: str) -> str:
        """The key with which it depends on another service: "depends_on.db", or "links"."""
        return self.implied.get(other) or f"depends_on.{other}"

    def place(self, key: str) -> SourceLocation:
        """The location of a key, "restart" or "depends_on.db"; of what contains it if it is not written."""
        line = line_of(self.written, key)
        return located(self.where.file, line) if line else self.where


class Draft(Record):
    """All services of the input in its order, container-wide settings, and the problems found so far.

    written, foreign: as those of a service, for the keys at the top level; the services are not in `foreign`.
    main, reloads, exit_code_from: as those of Plan.
    profiles: those that the environment activates; ("",) for none, as a service may have the empty profile.
    files: the names of all files that were read, in their order.
    unmerged: a file was not read, or could not be merged into the others, which is in `problems`.
    variables: those for interpolation: the environment, .env and COMPOSE_PROJECT_NAME.
    stays, groups, pid_file: of supervisord. stays: as that of Plan; what this machine cannot run is a warning then,
    since the container goes on without it, and no service but `main` has the container's terminal or standard input.
    groups: the group of each service, which is its `service` in the Plan. pid_file: where our pid is written, or "".
    exit_when_all_ended: the container ends all the same when no service is left. beside: as that of Plan.
    """

    where: SourceLocation
    services: dict[str, DraftService]
    stop_grace_seconds: float = TOTAL_GRACE_SECONDS
    problems: tuple[Diagnostic, ...] = ()
    secrets: dict[str, Secret] = {}  # noqa: RUF012 - each record gets a copy
    configs: dict[str, Secret] = {}  # noqa: RUF012 - same
    control_gid: int | None = None
    logging: tuple[Logging, ...] = (Logging(),)
    mask: bool = False
    main: str = ""
    reloads: bool = True
    exit_code_from: str = ""
    written: dict[str, Node] = {}  # noqa: RUF012 - same
    foreign: dict[str, Node] = {}  # noqa: RUF012 - same
    profiles: tuple[str, ...] = ("",)
    files: tuple[str, ...] = ()
    unmerged: bool = True
    variables: dict[str, str] = {}  # noqa: RUF012 - same
    stays: bool = False
    groups: dict[str, str] = {}  # noqa: RUF012 - same
    pid_file: str = ""
    exit_when_all_ended: bool = False
    beside: tuple[str, ...] = ()
