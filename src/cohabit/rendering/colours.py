"""The eight conditions that pictures and tables tell apart, and how each looks: colour, and a sign beside it.

Supervisord's seven states say what the engine does; people ask something else: is it well, does it wait, has it
failed? `state_of` answers that from one service's object in the answer to `status` (docs/reference/control.md).
Colours are Okabe and Ito's (jfly.uni-koeln.de/color), which people with any kind of colour vision tell apart; and
since pipes, printers and ears have no colours, a colour never stands without its word or its sign.
Pure; knows nothing of what is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

READY, RUNNING, WAITING, STARTING = "ready", "running", "waiting", "starting"
FAILED, STOPPING, STOPPED, DONE = "failed", "stopping", "stopped", "done"


class Look(NamedTuple):
    """How a state is shown.

    ansi: parameters of SGR (ECMA-48), for `paint`. fill, ink: hex colours of an area and of the text on it.
    sign: one ASCII character, as `service --status-all` has "+" and "-". meaning: for a legend.
    """

    ansi: str
    fill: str
    ink: str
    sign: str
    meaning: str


LOOKS: dict[str, Look] = {
    READY: Look("32", "#009e73", "#ffffff", "+", "runs and is ready"),
    RUNNING: Look("36", "#56b4e9", "#000000", "~", "runs, not ready or done yet"),
    STARTING: Look("34", "#0072b2", "#ffffff", ">", "is being started"),
    WAITING: Look("33", "#f0e442", "#000000", ".", "waits for others, or for its next attempt"),
    FAILED: Look("1;31", "#d55e00", "#ffffff", "!", "failed, keeps crashing, or is unhealthy"),
    STOPPING: Look("35", "#cc79a7", "#000000", "<", "is being stopped, or to be"),
    STOPPED: Look("2", "#bdbdbd", "#000000", "-", "does not run, nor is it to"),
    DONE: Look("2;32", "#5f6b6d", "#ffffff", "=", "has done its work"),
}


def state_of(service: Mapping[str, Any]) -> str:
    """Which of the eight a service's `status` object is in; a key of LOOKS, whatever the object holds."""
    state, down, renew = service.get("state"), service.get("want") == "down", bool(service.get("restart_pending"))
    if state == "RUNNING":
        if down or renew:
            return STOPPING  # as soon as nobody depends on it any more
        if service.get("health") == "unhealthy":
            return FAILED
        done = not service.get("job") or service.get("probe")  # a job is there for its end
        return READY if service.get("ready") and done else RUNNING
    if state == "EXITED":
        return FAILED if service.get("code") else DONE
    if state == "STOPPED":
        return STOPPED if down and not renew else WAITING
    if state == "BACKOFF":  # who ends well is only between two runs; who crashes again and again fails
        return FAILED if service.get("code") else WAITING
    known = {"STARTING": STARTING, "STOPPING": STOPPING, "FATAL": FAILED}
    return known.get(state, STOPPED) if isinstance(state, str) else STOPPED


def paint(text: str, state: str, *, colour: bool) -> str:
    """The text in a state's colour, or as it is."""
    return f"\x1b[{LOOKS[state].ansi}m{text}\x1b[0m" if colour and text else text
