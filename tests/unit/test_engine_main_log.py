"""The main log of supervisord, from the transitions of the engine."""

from __future__ import annotations

import pytest

from cohabit.engine import main_log
from cohabit.engine.events import Due, Event, Exited, Loaded, SpawnFailed, StopRequested
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import Plan, Startup
from cohabit.plan.reason import (
    CANNOT_START,
    EXITED_TOO_QUICKLY,
    IS_DIRECTORY,
    KILLED_BY_SIGNAL,
    NOT_EXECUTABLE,
    NOT_FOUND,
    NOT_IN_PATH,
    SYSTEM_ERROR,
    Reason,
    end_of_run,
)
from cohabit.plan.supervisord_text import TOO_QUICKLY, how_it_ended, is_by_signal, spawn_error
from unit.engine_story import service, up
from unit.test_engine_startup import program, staying

_PID = 7
_SPAWNED = (0.0, up("web"), ["info spawned: 'web' with pid 100"])
_SUCCESS = "info success: web entered RUNNING state, process has stayed up for > than %d seconds (startsecs)"
_RUNNING = (1.0, Due(), [_SUCCESS % 1])
_NO_RETRIES = Startup(1.0, 0)
_AT_ONCE = Startup(0.0, 3)
_GAVE_UP = "info gave up: web entered FATAL state, too many start retries too quickly"


@pytest.mark.parametrize(
    ("first", "rows"),
    [
        pytest.param(
            staying(program()),
            [
                _SPAWNED,
                _RUNNING,
                (2.0, Exited("web", 1), ["warning exited: web (exit status 1; not expected)"]),
                (2.0, Due(), []),
                (2.0, up("web"), ["info spawned: 'web' with pid 100"]),
            ],
            id="it is restarted",
        ),
        pytest.param(
            staying(program()),
            [_SPAWNED, _RUNNING, (2.0, Exited("web", 0), ["info exited: web (exit status 0; expected)"])],
            id="an expected code",
        ),
        pytest.param(
            staying(program(startup=_AT_ONCE)),
            [
                (
                    0.0,
                    up("web"),
                    [
                        "info spawned: 'web' with pid 100",
                        _SUCCESS % 0,
                    ],
                )
            ],
            id="without startsecs",
        ),
        pytest.param(
            staying(program(startup=_NO_RETRIES)),
            [_SPAWNED, (0.5, Exited("web", 0), ["warning exited: web (exit status 0; not expected)", _GAVE_UP])],
            id="too quickly",
        ),
        pytest.param(
            staying(program(startup=_NO_RETRIES)),
            [(0.0, SpawnFailed("web", Reason(NOT_IN_PATH, 127)),
              ["info spawnerr: can't find command 'web'", _GAVE_UP])],
            id="its command is missing",
        ),
        pytest.param(
            staying(program()),
            [
                _SPAWNED,
                _RUNNING,
                (2.0, StopRequested(15), ["info waiting for web to die"]),
                (2.1, Exited("web", 143, by_signal=True), ["warning stopped: web (terminated by SIGTERM)"]),
            ],
            id="the container ends",
        ),
        pytest.param(
            staying(service("gateway"), program("all:web")),
            [
                (0.0, up("gateway"), []),
                (0.0, up("all:web"), ["info spawned: 'web' with pid 100"]),
            ],
            id="without the gateway, and without the name of the group",
        ),
    ],
)  # fmt: skip
def test_lines(first: Plan, rows: list[tuple[float, Event, list[str]]]) -> None:
    engine = Supervisor()
    engine.step(Loaded(first), 0.0)
    for now, event, expected in rows:
        engine.step(event, now)
        found = [" ".join(line) for line in main_log.lines(engine, _PID)]
        found = [line for line in found if line != f"info supervisord started with pid {_PID}"]
        assert found == expected, event


def test_the_first_line() -> None:
    engine = Supervisor()
    engine.step(Loaded(staying(program())), 0.0)
    assert ("info", f"supervisord started with pid {_PID}") in list(main_log.lines(engine, _PID))


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (Reason(CANNOT_START, 127, cause=Reason(NOT_FOUND)), "can't find command './x'"),
        (Reason(CANNOT_START, 126, cause=Reason(IS_DIRECTORY)), "command at './x' is a directory"),
        (Reason(CANNOT_START, 126, cause=Reason(NOT_EXECUTABLE)), "command at './x' is not executable"),
        (Reason(CANNOT_START, 126, cause=Reason(SYSTEM_ERROR, detail="too busy")), "cannot start: too busy"),
        (Reason(EXITED_TOO_QUICKLY, 1, cause=end_of_run(1, 0.1)), TOO_QUICKLY),
    ],
)
def test_why_it_was_not_started(reason: Reason, text: str) -> None:
    assert spawn_error(reason, "./x") == text


@pytest.mark.parametrize(
    ("reason", "code", "text"),
    [
        (end_of_run(3, 1.0), 3, "exit status 3"),
        (None, 0, "exit status 0"),
        (Reason(KILLED_BY_SIGNAL, 137, signal=9), 137, "terminated by SIGKILL"),
        (Reason(EXITED_TOO_QUICKLY, 134, cause=Reason(KILLED_BY_SIGNAL, 134, signal=6)), 134, "terminated by SIGABRT"),
    ],
)
def test_how_it_ended(reason: Reason | None, code: int, text: str) -> None:
    assert how_it_ended(reason, code) == text
    assert is_by_signal(reason) == text.startswith("terminated")
