"""The eight display states of services in tables and pictures, each with a colour and a sign.

Supervisord's seven states say what the engine does. A display state says whether the service is ready, waits or has
failed. `state_of` derives it from the answer to `status`.
The colours are Okabe and Ito's (jfly.uni-koeln.de/color), which can be distinguished with any kind of colour vision.
Colour is never the only indication: a word or a sign stands beside it. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cohabit.api.status import ServiceStatus

READY, RUNNING, WAITING, STARTING = "ready", "running", "waiting", "starting"
FAILED, STOPPING, STOPPED, DONE = "failed", "stopping", "stopped", "done"


class Style(NamedTuple):
    """How a display state is shown.

    ansi: parameters of SGR (ECMA-48), for `paint`. fill, ink: hex colours of an area and of the text on it.
    sign: one ASCII character, as "+" and "-" in `service --status-all`. meaning: its text in a legend.
    """

    ansi: str
    fill: str
    ink: str
    sign: str
    meaning: str


STYLES: dict[str, Style] = {
    READY: Style("32", "#009e73", "#ffffff", "+", "runs and is ready"),
    RUNNING: Style("36", "#56b4e9", "#000000", "~", "runs, not ready or not completed yet"),
    STARTING: Style("34", "#0072b2", "#ffffff", ">", "is starting"),
    WAITING: Style("33", "#f0e442", "#000000", ".", "waits for dependencies or its next start"),
    FAILED: Style("1;31", "#d55e00", "#ffffff", "!", "failed, keeps crashing, is unhealthy, or its output is blocked"),
    STOPPING: Style("35", "#cc79a7", "#000000", "<", "is being stopped, or will be"),
    STOPPED: Style("2", "#bdbdbd", "#000000", "-", "is stopped or paused"),
    DONE: Style("2;32", "#5f6b6d", "#ffffff", "=", "has completed"),
}


def state_of(service: ServiceStatus) -> str:
    """Return the display state of a service, a key of STYLES."""
    state, down, restart = service.state, service.want == "down", service.restart_pending
    if state == "RUNNING":
        if down or restart:
            return STOPPING  # once no running service depends on it
        if service.paused:
            return STOPPED
        if service.health == "unhealthy" or service.blocked_output:
            return FAILED
        done = not service.job or service.probe  # a job has to complete
        return READY if service.ready and done else RUNNING
    if service.skipped:
        return STOPPED
    if state == "EXITED":
        return FAILED if service.failed_code else DONE
    if state == "STOPPED":
        return STOPPED if down and not restart else WAITING
    if state == "BACKOFF":  # exit code 0: it only waits for its next run
        return FAILED if service.code else WAITING
    return {"STARTING": STARTING, "STOPPING": STOPPING, "FATAL": FAILED}.get(state, STOPPED)


def paint(text: str, state: str, *, colour: bool) -> str:
    """Return the text in the colour of a display state; without colour the text itself."""
    return f"\x1b[{STYLES[state].ansi}m{text}\x1b[0m" if colour and text else text
