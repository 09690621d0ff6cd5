"""The end of `cohabit init`, when something is left of its command. `init` loads this only then."""

from __future__ import annotations

from cohabit.reactor.processes import remaining
from cohabit.reactor.processes.sweep import SILENT_SECONDS, Watch
from cohabit.units import format_duration, signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.reactor.init import Init, Rules


def end_remaining(init: Init, rules: Rules, name: str) -> None:
    """End what has outlived the command, and the command itself if it has not ended in its grace period.

    name: the command's name.
    """
    grace = init.grace_left
    if init.code is None:
        rules.say(
            f"the command ({init.main}, {name}) has not ended within {format_duration(rules.grace_seconds)} of "
            f"{signal_name(init.stop_signal)}: sending SIGTERM to all processes, and SIGKILL in "
            f"{format_duration(grace)} (-t sets the time, 0: no limit)"
        )

    def waiting() -> None:
        pids = remaining.descendants() if init.adopts else remaining.members_of(init.main)
        hint = "^C" if init.has_terminal else "another SIGTERM"
        rules.say(remaining.text_of_wait(grace - SILENT_SECONDS, pids, f"{hint} ends them at once"))

    end = remaining.end_descendants if init.adopts else remaining.end_group
    if end(init.main, grace, Watch(reaped=init.reaped, waiting=waiting)):
        rules.say("killed the remaining processes: the grace period expired, or another stop signal came")
