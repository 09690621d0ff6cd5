"""The post_stop hooks, which run when the last process of a run has ended: systemd's ExecStopPost=.

They run once for each run, however it has ended, and before anything else follows from its end: a restart, the stop of
the services that it depends on, the end of the container. The service is STOPPING meanwhile.
"""

from __future__ import annotations

from cohabit.engine.effects import SignalTree
from cohabit.engine.machine import STAY, STOPPING, TREE_GONE
from cohabit.engine.run import DUE, OVER, RUN, Stop
from cohabit.plan import reason as reasons
from cohabit.plan.model import POST_STOP
from cohabit.plan.reason_text import text_of
from cohabit.units import exit_signal, signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cohabit.engine.surroundings import Services
    from cohabit.engine.unit import Unit
    from cohabit.plan.reason import Reason

SIGTERM = 15
# A death by one of these counts as a success, as in systemd (systemd.service(5), SuccessExitStatus=).
_CLEAN_SIGNALS = frozenset({1, 2, 13, 15})
# $SERVICE_RESULT of systemd.exec(5) by the kind of the reason, where the exit code does not decide.
_RESULTS = {
    reasons.STOP_TIMED_OUT: "timeout",
    reasons.STOPPED_UNASKED: "timeout",
    reasons.OUT_OF_MEMORY: "oom-kill",
    reasons.UNHEALTHY: "watchdog",
    reasons.HOOK_ENDED: "success",
}
_RESOURCES = frozenset({reasons.NO_ROOM, reasons.SYSTEM_ERROR, reasons.LOST})


def state(services: Services, unit: Unit) -> str:
    """The state that its post_stop hooks require, now that its last process has ended; "" if none is to run.

    STOPPING if they are due. STAY if one is running: what has ended was left behind by the one before it.
    """
    run = unit.run
    if run.hook_stage == POST_STOP:
        return STAY
    if run.post_stop or not unit.spec.post_stop or (run.reason is not None and run.reason.kind == reasons.SKIPPED):
        return ""
    run.stop = run.stop or Stop(asked=False)
    if services.total_grace.over:
        run.stop.post_stop = OVER
        services.say("warning", unit, f"its {POST_STOP} hooks do not run: the time for the stop is over")
        return ""
    run.stop.post_stop, run.stop.refused = DUE, False
    return STOPPING


def begin(services: Services, unit: Unit, stop: Stop) -> None:
    """They are due: the first one runs now."""
    stop.post_stop, stop.hooks_over = RUN, False
    services.say("info", unit, f"{text_of(unit.run.reason)}; running its {POST_STOP} hooks")


def next_runs(services: Services, unit: Unit, outcome: Reason, now: float, *, orphans: bool) -> bool:
    """One of them has ended. Its failure is reported, and changes nothing. Returns whether the next one is to run.

    orphans: it left processes behind. After the last one they are ended.
    """
    stop = unit.run.stop = unit.run.stop or Stop(asked=False)
    unit.run.orphans = orphans
    if outcome.code:
        services.say("warning", unit, text_of(outcome))
    were_over, stop.post_stop = stop.post_stop == OVER, OVER
    if not were_over and (outcome.hook_index or 0) + 1 < len(unit.spec.post_stop):
        stop.post_stop = RUN
        return True
    if not orphans:
        services.fact(unit, TREE_GONE, now)
    elif not were_over:  # else they were killed with the hook
        services.out.append(SignalTree(unit.name, SIGTERM))
    return False


def variables(unit: Unit) -> dict[str, str]:
    """How its run has ended, in the variables of systemd.exec(5).

    SERVICE_RESULT always; EXIT_CODE ("exited" or "killed") and EXIT_STATUS (exit code, or the signal without "SIG") if
    its main process was started.
    """
    code = unit.run.exit_code
    found = {"SERVICE_RESULT": _result(unit)}
    if code is None:
        return found
    signal = exit_signal(code)
    status = str(code) if signal is None else signal_name(signal).removeprefix("SIG")
    return {**found, "EXIT_CODE": "exited" if signal is None else "killed", "EXIT_STATUS": status}


def _result(unit: Unit) -> str:
    run, reason = unit.run, unit.run.reason
    kind = reason.kind if reason is not None else ""
    if kind in _RESULTS:
        return _RESULTS[kind]
    if reason is not None and reason.cause is not None and reason.cause.kind in _RESOURCES:
        return "resources"
    code = reason.code if reason is not None and reason.code is not None else run.exit_code
    signal = exit_signal(code or 0)
    if not code or (signal in _CLEAN_SIGNALS and kind != reasons.HOOK_FAILED):
        return "success"
    return "exit-code" if signal is None else "signal"
