"""The public names of cohabit.client: what `from cohabit.client import Client` loads."""

from __future__ import annotations

from cohabit.api.status import (
    ContainerStatus,
    Counters,
    DependencyStatus,
    Event,
    ProbeResult,
    ProbeStatus,
    ProgramStatus,
    ServiceStatus,
    Status,
    TimelineEntry,
)
from cohabit.client.client import DROPPED, Client, Health, LogRecord, Version
from cohabit.client.connection import Answer, RefusedError, VersionMismatchError
from cohabit.client.discovery import ConnectionFailedError, NoAnswerError, PermissionDeniedError
from cohabit.errors import CohabitError, UsageError
from cohabit.plan.reason import Reason

__all__ = [
    "DROPPED",
    "Answer",
    "Client",
    "CohabitError",
    "ConnectionFailedError",
    "ContainerStatus",
    "Counters",
    "DependencyStatus",
    "Event",
    "Health",
    "LogRecord",
    "NoAnswerError",
    "PermissionDeniedError",
    "ProbeResult",
    "ProbeStatus",
    "ProgramStatus",
    "Reason",
    "RefusedError",
    "ServiceStatus",
    "Status",
    "TimelineEntry",
    "UsageError",
    "Version",
    "VersionMismatchError",
]
