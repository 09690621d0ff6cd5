"""plan/file_words.py: what people read names the options of the file in which a program is written."""

from __future__ import annotations

from typing import Any

import pytest

from cohabit.api.status import ServiceStatus
from cohabit.engine.effects import Report
from cohabit.engine.events import Due, Exited, Loaded, Requested, StopRequested
from cohabit.engine.supervisor import Supervisor
from cohabit.plan import file_words
from cohabit.plan.model import Restart, Startup
from cohabit.plan.reason import CANNOT_START, EXITED_TOO_QUICKLY, NOT_PRIVILEGED, STOP_TIMED_OUT, Reason, end_of_run
from cohabit.rendering import advice
from unit.engine_story import plan, service, up
from unit.status_story import NOW, container, ps, why
from unit.status_story import service as status

_KEYS = (
    "cohabit.yaml", "stop_grace_period", "kill_mode", "pid_file", "essential: ", "restart: ", "autostart: ", "user:",
    "working_dir", "environment:", "tty: ", "healthcheck:", "mode: ", "stop_signal", "remove_before_start",
)  # fmt: skip


def program(**fields: Any) -> dict[str, Any]:
    """The status of a program of a supervisord.conf."""
    own = {"restart": "on-failure", "startup_seconds": 1.0, "start_retries": 3, "exitcodes": [0, 2], "essential": False}
    return status("web", **(own | fields))


def test_no_word_for_supervisord_is_a_key_of_a_cohabit_yaml() -> None:
    for meaning in file_words._WORDS:
        written = file_words.word(meaning, supervisord=True)
        if meaning != "total grace":
            assert not [key for key in _KEYS if key in written], meaning


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {"state": "EXITED", "code": 1, "reason": end_of_run(1, 5.0), "restart": "no"},
            "it is not restarted (autorestart=false)",
        ),
        (
            {"state": "EXITED", "code": 2, "reason": end_of_run(2, 5.0)},
            "it is not restarted (autorestart=unexpected, exitcodes=0,2)",
        ),
        (
            {
                "state": "FATAL", "code": 1, "restarts": 3,
                "reason": Reason(EXITED_TOO_QUICKLY, 1, cause=end_of_run(1, 0.1), seconds=1.0, restarts=3),
            },
            "it is not restarted (startsecs=1, startretries=3)",
        ),
        (
            {
                "state": "BACKOFF", "code": 1, "restarts": 2, "next": NOW + 2,
                "reason": Reason(EXITED_TOO_QUICKLY, 1, cause=end_of_run(1, 0.1), seconds=1.0),
            },
            "next attempt: start retry 2 of 3 in 2s, at 02:40:02Z (startsecs=1, startretries=3)",
        ),
        (
            {"state": "STOPPED", "want": "down", "autostart": False, "started": None, "starts": 0},
            "web is not started by itself (autostart=false)",
        ),
        (
            {"state": "STOPPING", "want": "down", "since": NOW - 4, "next": NOW + 6, "command": ["sh", "-c", "x"]},
            "(stopwaitsecs 10s)",
        ),
    ],
)  # fmt: skip
def test_why(fields: dict[str, Any], line: str) -> None:
    text = "\n".join(why(container(), [program(**fields)], "web"))
    assert line in text
    assert not [key for key in _KEYS if key in text], text


def test_ps() -> None:
    text = "\n".join(ps(container(), [program(state="STOPPED", want="down", autostart=False)], width=0, colour=False))
    assert "autostart=false" in text


@pytest.mark.parametrize("command", [["sh"], ["./daemon"]])
@pytest.mark.parametrize(
    "fields",
    [
        {"state": "EXITED", "code": 0, "reason": end_of_run(0, 5.0)},
        {"state": "EXITED", "code": 1, "reason": end_of_run(1, 5.0), "output": ["permission denied"]},
        {"state": "EXITED", "code": 1, "reason": end_of_run(1, 5.0), "output": ["pid file /x.pid exists"]},
        {"state": "STOPPED", "code": 137, "reason": Reason(STOP_TIMED_OUT, 137)},
        {"state": "FATAL", "code": 126, "reason": Reason(CANNOT_START, 126, cause=Reason(NOT_PRIVILEGED))},
    ],
)
def test_advice(fields: dict[str, Any], command: list[str]) -> None:
    """It names no key of a cohabit.yaml."""
    found = "\n".join(why(container(), [program(command=command, **fields)], "web"))
    assert not [key for key in _KEYS if key in found], found
    assert advice.stop_advice(ServiceStatus.from_json(program(command=["sh"])))[0].endswith("`stopasgroup=true`")


def test_the_log() -> None:
    """What the engine says, too."""
    engine = Supervisor()
    spec = service("web", startup=Startup(0.0), stop_grace_seconds=1.0, essential=True, restart=Restart("no"))
    other = service("other", startup=Startup(0.0), essential=False)
    said: list[str] = []
    for event, now in (
        (Loaded(plan(spec, other).replace(stays=True)), 0.0), (up("web"), 0.0), (up("other"), 0.0),
        (Requested("stop", ("web",)), 1.0), (Due(), 2.0), (Exited("web", 137), 2.0),
        (StopRequested(15), 3.0), (Due(), 99.0),
    ):  # fmt: skip
        said += [effect.text for effect in engine.step(event, now) if isinstance(effect, Report)]
    assert any("not stopped within its stopwaitsecs of 1s" in text for text in said)
    assert not [text for text in said for key in _KEYS if key in text.replace("[x-cohabit] stop_grace_period", "")]
