"""Reading the file, at the start and at a reload. The reactor's loader reads; the outcome arrives here as an event.

A reload applies the difference between two Plans: removed services stop, changed ones restart where needed, new ones
start, and the others are not affected. A reload that is requested during a read follows it.
"""

from __future__ import annotations

from cohabit.engine.container import DONE, LOADING, STOPPING, SWEEPING, UP
from cohabit.engine.effects import Exit, Load, Prepare, Report
from cohabit.plan import reason as reasons
from cohabit.plan.diff import diff
from cohabit.plan.reason import Reason
from cohabit.units import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cohabit.engine.container import Container
    from cohabit.plan.diff import Difference
    from cohabit.plan.model import Plan

_KEPT = ("again", "code", "count", "in_progress", "messages", "restart", "scale", "scale_read", "scale_requested")


class Reading:
    """The reads of the file.

    in_progress: it is being read. again: it must be read once more.
    scale: replicas by service, as in the last Load; scale_read: as in the current Plan; scale_requested: requested
    since then, for the next Load.
    restart: all services are to start anew once it has been read.
    count: how many times the file was read. messages, code: of the last read: what changed, or why nothing; 0 or its
    exit code.
    """

    __slots__ = ("_container", *_KEPT)

    def __init__(self, container: Container) -> None:
        self._container = container
        self.in_progress, self.again = True, False
        self.restart = False
        self.scale: dict[str, int | None] = {}
        self.scale_read: dict[str, int | None] = {}
        self.scale_requested: dict[str, int | None] = {}
        self.count = 0
        self.messages: tuple[str, ...] = ()
        self.code = 0

    def loaded(self, plan: Plan, now: float) -> None:
        """The file was read, with this result."""
        container = self._container
        self.in_progress, self.scale_read = False, self.scale
        if container.phase == LOADING:
            container.phase, container.plan = UP, plan
            container.services.membership.begin(plan, now)
            container.do(Prepare(plan))
            self._ended((), 0)
            container.up_at = now
            container.note("up", now)
        elif container.phase == UP and container.plan is not None:
            difference = diff(container.plan, plan)
            container.plan = plan
            before = len(container.services.out)
            self._report_difference(difference)
            self._ended(
                tuple(effect.text for effect in container.services.out[before:] if isinstance(effect, Report)), 0
            )
            container.note("reloaded", now)
            if difference:
                container.do(Prepare(plan))
                container.services.membership.change(plan, difference, now)
            self._restart_all()
            self._repeat()

    def _restart_all(self) -> None:
        """Replace the runs of all services, if that was requested. Those without autostart stay down."""
        services = self._container.services
        restart, self.restart = self.restart and not self.again, self.restart and self.again
        for unit in services.units.values() if restart else ():
            if not unit.gone:
                services.replace_run(unit, up=unit.newest_spec.autostart and unit.newest_spec.schedule is None)

    def _report_difference(self, difference: Difference) -> None:
        container = self._container
        if difference.stop_grace_seconds:
            total = " -> ".join(format_duration(seconds) for seconds in difference.stop_grace_seconds)
            container.say("info", f"reload: stop_grace_period changed: {total}")
        for key in difference.whole:
            container.say("info", f"reload: x-cohabit.{key} changed")
        for name, fields in difference.changed.items():
            how = "restarting" if name in difference.restarting else "no restart needed"
            container.say("info", f"reload: {name} changed ({', '.join(fields)}): {how}")
        for name in difference.removed:
            container.say("info", f"reload: {name} was removed: stopping it")
        for name in difference.added:
            container.say("info", f"reload: {name} is new: starting it")
        if not difference:
            container.say("info", "reload: nothing has changed")

    def failed(self, lines: tuple[str, ...], code: int, now: float) -> None:
        """The file could not be read, for the reasons in `lines`. At the start, `code` is the exit code."""
        container = self._container
        self.in_progress, self.scale, self.restart = False, self.scale_read, self.restart and self.again
        self._ended(lines, code)
        if container.phase not in (LOADING, UP):
            return
        level = (
            "problem" if container.phase == LOADING else "error"
        )  # "error" has our name in front, among other output
        for line in lines:
            container.do(Report(level, "", line))
        if container.phase == LOADING:
            container.phase = DONE
            container.do(Exit(code, None))
        else:
            container.note("reload failed", now, Reason(reasons.RELOAD_FAILED, detail=lines[0] if lines else ""), code)
            container.say("error", "cannot reload: see the messages above (nothing was changed)")
            self._repeat()

    def request(self, scale: Mapping[str, int | None], *, restart: bool = False) -> None:
        """Read the file again, with these numbers of replicas. restart: as in ReloadRequested."""
        container = self._container
        if container.phase in (STOPPING, SWEEPING, DONE):
            container.say("warning", "cannot reload: everything is being stopped")
            return
        self.scale_requested = {**self.scale_requested, **scale}
        self.restart = self.restart or restart
        if self.in_progress:
            self.again = container.phase == UP
        else:
            requested, self.scale_requested = self.scale_requested, {}
            self.in_progress, self.scale = True, {**self.scale, **requested}
            container.say("info", "reload: reading the file again")
            container.do(Load(self.scale, tuple(requested)))

    def _repeat(self) -> None:
        """Repeat a reload that was requested while the file was being read."""
        if self.again:
            self.again = False
            self.request({})

    def _ended(self, messages: tuple[str, ...], code: int) -> None:
        """Record the outcome of a read of the file."""
        self.count += 1
        self.messages, self.code = messages, code

    def to_plain(self) -> dict[str, Any]:
        """The re-execution state, as plain values."""
        return {name: getattr(self, name) for name in _KEPT}

    def restore(self, plain: dict[str, Any]) -> None:
        """The inverse of to_plain. A field that the older program did not write keeps its initial value."""
        for name in _KEPT:
            if name in plain:
                setattr(self, name, plain[name])
