"""The nouns: Plan, Service and their parts, frozen and checked, with every default filled in.

Process 1 runs on these and nothing else, so this module imports nothing but records. Words are Compose's
(compose-spec 05-services.md), ECS's for `essential`; durations are seconds, signals are numbers.
"""

from __future__ import annotations

from cohabit.plan.record import Record

# Compose's three conditions of depends_on, word for word.
STARTED = "service_started"
HEALTHY = "service_healthy"
COMPLETED = "service_completed_successfully"
CONDITIONS = (STARTED, HEALTHY, COMPLETED)

SIGTERM = 15
STOP_GRACE_SECONDS = 10.0  # Compose's default for one service
TOTAL_GRACE_SECONDS = 9.0  # for everything together: inside the 10 s of `docker stop`


class Dependency(Record):
    """One entry of depends_on: `service` must have reached `condition` before the owner starts.

    A dependency that is not required is left out of the Plan when its service is not in it.
    """

    service: str
    condition: str = STARTED
    required: bool = True


class Restart(Record):
    """When a service is started again after its end, and how soon.

    condition: "no", "on-failure" (a code other than 0) or "always". attempts: how many restarts in a row
    at the most, None for no end; a run that lasted `window_seconds` forgives all before it.
    delay_seconds: a fixed pause; None for Docker's back-off (100 ms, doubling, to 60 s).
    """

    condition: str = "no"
    attempts: int | None = None
    delay_seconds: float | None = None
    window_seconds: float = 10.0


class Identity(Record):
    """Who a service runs as: numbers for the kernel, a name and a home for the environment."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    name: str = ""
    home: str = ""


class Probe(Record):
    """How to learn that a service is ready. kind: "tcp" (host, port) or "http" (and path).

    Until the first success it is asked every `start_interval_seconds`.
    """

    kind: str
    host: str
    port: int
    path: str = "/"
    timeout_seconds: float = 5.0
    start_interval_seconds: float = 0.1


class Service(Record):
    """One service: a command and the rules of its life.

    environment: what is added to the container's own; a value of None removes the variable.
    driver: "prefix" (lines with the service's name) or "raw" (bytes as they are).
    """

    name: str
    command: tuple[str, ...]
    environment: dict[str, str | None] = {}  # noqa: RUF012 - a record's default is never changed
    working_dir: str | None = None
    user: Identity | None = None
    depends_on: tuple[Dependency, ...] = ()
    restart: Restart = Restart()
    stop_signal: int = SIGTERM
    stop_grace_seconds: float = STOP_GRACE_SECONDS
    essential: bool = True
    probe: Probe | None = None
    driver: str = "prefix"


class Plan(Record):
    """Everything that shall run, in the order in which it was written."""

    services: dict[str, Service]
    stop_grace_seconds: float = TOTAL_GRACE_SECONDS
