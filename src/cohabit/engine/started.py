"""The line in the log that says how the start of the container went: once everything is ready, or has failed."""

from __future__ import annotations

from cohabit.plan.reason_text import text_of
from cohabit.units import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from cohabit.engine.unit import Unit

_NAMED = 5  # services named in one list


def will_not_be_ready(not_ready: Iterable[Unit]) -> bool:
    """Whether none of the services whose start is not complete can still complete it without a request."""
    return all(unit.ended and not unit.restart_pending for unit in not_ready)


def report(units: Collection[Unit], seconds: float) -> tuple[str, str]:
    """The level and the text of the line. seconds: since the file was read."""
    after = f"after {format_duration(seconds)}"
    failed = [unit for unit in units if not unit.start_complete]
    skipped = [unit.name for unit in units if unit.skipped]
    ready = sum(unit.run.ready for unit in units)
    completed = [unit.name for unit in units if unit.succeeded and not unit.skipped]
    parts = [f"{ready} service{'' if ready == 1 else 's'}"] if ready else []
    parts += [f"completed: {_named(completed)}"] if completed else []
    parts += [f"skipped: {_named(skipped)}"] if skipped else []
    details = "; ".join(parts)
    if failed:
        first = f"{failed[0].name} {text_of(failed[0].run.reason)}"
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        return "warning", f"not everything is ready {after}: {first}{more}" + (f"; ready: {details}" if details else "")
    what = "ready" if skipped else "everything is ready"
    return "info", f"{what} {after}" + (f": {details}" if details else "")


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
