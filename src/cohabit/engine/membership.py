"""Which services there are: those of the newest Plan, and those of older Plans that are not down yet."""

from __future__ import annotations

from cohabit.engine import startup
from cohabit.engine.transition import WANTED
from cohabit.engine.unit import Unit
from cohabit.plan.model import POST_START

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from cohabit.engine.surroundings import Services
    from cohabit.plan.diff import Difference
    from cohabit.plan.model import Plan, Service


class Membership:
    """Adds, changes and removes units. gone: those that are not in the Plan any more."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.gone: list[Unit] = []

    def begin(self, plan: Plan, now: float) -> None:
        """Take over the first Plan."""
        self.add([self._new_unit(service, now) for service in plan.services.values()])

    def _new_unit(self, service: Service, now: float) -> Unit:
        unit = Unit(service)
        if unit.desired:
            self._services.note(unit, WANTED, now)
        return unit

    def add(self, units: list[Unit]) -> None:
        """Add units: new ones, or those of a re-execution state."""
        self._services.units.update({unit.name: unit for unit in units})
        self.gone += [unit for unit in units if unit.gone]
        self._connect()

    def change(self, plan: Plan, difference: Difference, now: float) -> None:
        """Take over another Plan: removed services stop, changed ones restart where needed, new ones start."""
        units = self._services.units
        for name in difference.removed:
            unit = units[name]
            unit.gone, unit.desired, unit.restart_pending = True, False, False
            self.gone.append(unit)
        for name in difference.added:
            existing = units.get(name)
            if existing is None:
                units[name] = self._new_unit(plan.services[name], now)
            elif existing.gone:  # it was removed, and its processes have not ended yet
                self.gone.remove(existing)
                existing.gone, existing.next_spec = False, plan.services[name]
                self._services.replace_run(existing, up=_starts(existing.newest_spec))
        for name in difference.changed:
            units[name].next_spec = plan.services[name]
        self._connect()
        for name in difference.restarting:
            if not units[name].dormant:
                self._services.restart(units[name], up=plan.services[name].schedule is None)
        for name, fields in difference.changed.items():
            unit = units[name]
            now_wanted = "autostart" in fields and unit.down and unit.newest_spec.autostart  # it was false
            if now_wanted or ("conditions" in fields and unit.skipped):  # as if it were new
                self._services.replace_run(unit, up=True)
            if not unit.restart_pending:
                self._change_in_place(unit, now)

    def _change_in_place(self, unit: Unit, now: float) -> None:
        probe, startup_before = unit.spec.probe, unit.spec.startup
        unit.take_next()
        startup.changed(self._services, unit, startup_before)
        if unit.command_runs and unit.run.hook_stage != POST_START and unit.spec.probe != probe:
            self._services.health_monitor.end(unit)
            self._services.health_monitor.begin(unit, now)
        self._services.mark_dirty(unit)

    def all_ended(self, beside: Collection[str]) -> bool:
        """Whether all services that took part have ended for good. Those with `autostart: false` may never start.

        beside: those that do not count.
        """
        units = [unit for unit in self._services.units.values() if unit.name not in beside]
        took_part = [unit for unit in units if not unit.dormant]
        return all(unit.ended for unit in took_part) and (bool(took_part) or not units)

    def next_to_forget(self) -> Unit | None:
        """A removed unit without processes, unless removed dependents still stop: their order goes through it."""
        units = self._services.units
        for unit in self.gone:
            dependents = [units[name] for name in unit.dependents]
            if unit.at_rest and not any(other.gone and not other.unreachable for other in dependents):
                return unit
        return None

    def forget(self, unit: Unit) -> None:
        """Remove a unit that is not in the Plan any more and has no processes."""
        self.gone.remove(unit)
        self._services.drop(unit)
        self._connect()

    def _connect(self) -> None:
        """Rebuild the lists of dependents, and have all units reconciled."""
        units = self._services.units
        for unit in units.values():
            unit.dependents = []
        for unit in units.values():
            for dependency in unit.newest_spec.depends_on:
                if dependency.service in units:
                    units[dependency.service].dependents.append(unit.name)
        self._services.mark_all_dirty()


def _starts(service: Service) -> bool:
    """Whether it starts without a request or a schedule."""
    return service.schedule is None and service.autostart
