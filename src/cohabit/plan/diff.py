"""The difference between two Plans, and which services must restart for it. Pure.

A reload affects only what changed. A change of a field that only the engine uses applies while the service runs. Any
other change needs a restart: the field is part of the process (command, environment, open files) or of what was
prepared at its start.
"""

from __future__ import annotations

from cohabit.plan.model import GRANTED, PASSIVE_PROBES, Service
from cohabit.plan.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.plan.model import Plan, Probe

# Fields of Service that only the engine uses, or that have no effect before the next start.
_SUPERVISION = frozenset(
    {
        "restart", "stop_signal", "stop_grace_seconds", "kill_mode", "autostart", "essential", "ends_on_success", "job",
        "depends_on", "conditions", "schedule", "pre_stop", "post_stop", "stale_files", "watch", "console",
        "startup", "priority",
    }
)  # fmt: skip
# The same for fields of an active probe. Passive probes are prepared at the start (watchdog, descriptor).
_PROBE_TIMING = {
    "interval_seconds": 0.0,
    "timeout_seconds": 0.0,
    "retries": 0,
    "start_period_seconds": 0.0,
    "start_interval_seconds": 0.0,
    "on_failure": "",
}

# Fields of Plan that are container-wide settings -> their keys in x-cohabit.
_CONTAINER_FIELDS = {"control_gid": "control_group", "logging": "logging", "mask": "mask"}


class Difference(Record):
    """Names of instances, in the order of the new Plan; `removed` in the order of the old one.

    changed: with the fields of Service that differ. restarting: those of them that must restart.
    stop_grace_seconds: the old and the new total, () if it is the same. whole: other keys of x-cohabit that changed.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 - a record's default is never changed
    restarting: tuple[str, ...] = ()
    stop_grace_seconds: tuple[float, ...] = ()
    whole: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.stop_grace_seconds or self.whole)


def diff(old: Plan, new: Plan) -> Difference:
    """The difference from one Plan to another."""
    changed = {}
    restarting = []
    for name, service in new.services.items():
        before = old.services.get(name)
        fields = [f for f in Service._fields if before and _value(old, before, f) != _value(new, service, f)]
        if before is not None and fields:
            changed[name] = tuple(fields)
            if any(_needs_restart(before, service, field) for field in changed[name]):
                restarting.append(name)
    graces = (old.stop_grace_seconds, new.stop_grace_seconds)
    return Difference(
        tuple(name for name in new.services if name not in old.services),
        tuple(name for name in old.services if name not in new.services),
        changed,
        tuple(restarting),
        graces if graces[0] != graces[1] else (),
        tuple(key for field, key in _CONTAINER_FIELDS.items() if getattr(old, field) != getattr(new, field)),
    )


def _value(plan: Plan, service: Service, field: str) -> object:
    """The value to compare. For secrets and configs it includes the source of each text."""
    value = getattr(service, field)
    return tuple((grant, getattr(plan, field).get(grant.source)) for grant in value) if field in GRANTED else value


def _needs_restart(before: Service, after: Service, field: str) -> bool:
    """Whether a change of this field affects the running process."""
    if field == "probe":
        return _without_timing(before.probe) != _without_timing(after.probe)
    if field == "schedule" and None in (before.schedule, after.schedule):
        return True  # it becomes a scheduled job, or stops being one
    return field not in _SUPERVISION


def _without_timing(probe: Probe | None) -> Probe | None:
    """An active probe with its timing fields cleared; a passive one unchanged."""
    return probe if probe is None or probe.kind in PASSIVE_PROBES else probe.replace(**_PROBE_TIMING)
