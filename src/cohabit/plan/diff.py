"""What is different between two Plans, and whose processes must be started anew for it. Pure.

For a reload: only what changed is touched. A change of something that only concerns supervision is taken over
while the service runs on; every other one is in the process itself (its command, its environment, its open
files) or in what was prepared for it at its start.
"""

from __future__ import annotations

from cohabit.plan.model import GRANTED, PASSIVE_PROBES, Service
from cohabit.plan.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.plan.model import Plan, Probe

# Nothing of these is in the process: they are looked at when something happens to it.
_SUPERVISION = frozenset(
    {"restart", "stop_signal", "stop_grace_seconds", "essential", "job", "depends_on", "schedule", "pre_stop"}
)
# The same for a probe that is asked; what tells by itself was prepared at the start (its watchdog, its descriptor).
_WHEN_ASKED = {
    "interval_seconds": 0.0,
    "timeout_seconds": 0.0,
    "retries": 0,
    "start_period_seconds": 0.0,
    "start_interval_seconds": 0.0,
    "on_failure": "",
}


# Fields of Plan that are settings of the whole, by their keys in x-cohabit.
_WHOLE = {"control_gid": "control_group", "logging": "logging", "mask": "mask"}


class Difference(Record):
    """Names of instances, in the order of the new Plan; what was removed in that of the old one.

    changed: with the fields of Service that differ; restarting: those among them that must be started anew.
    stop_grace_seconds: the total's, before and now; () where it is the same. whole: other keys of x-cohabit.
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
    """What has to happen to come from one Plan to the other."""
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
        tuple(key for field, key in _WHOLE.items() if getattr(old, field) != getattr(new, field)),
    )


def _value(plan: Plan, service: Service, field: str) -> object:
    """What a field comes to: where the texts come from belongs to what a service is granted."""
    value = getattr(service, field)
    return tuple((grant, getattr(plan, field).get(grant.source)) for grant in value) if field in GRANTED else value


def _needs_restart(before: Service, after: Service, field: str) -> bool:
    """Whether a field that differs is something that the running process has."""
    if field == "probe":
        return _untimed(before.probe) != _untimed(after.probe)
    if field == "schedule" and None in (before.schedule, after.schedule):
        return True  # from now on it runs at its times, or all the time
    return field not in _SUPERVISION


def _untimed(probe: Probe | None) -> Probe | None:
    """A probe that is asked, without the rules of when; another one as it is."""
    return probe if probe is None or probe.kind in PASSIVE_PROBES else probe.replace(**_WHEN_ASKED)
