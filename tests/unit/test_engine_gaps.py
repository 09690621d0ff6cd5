"""Stories about a time in which nothing ran (docker pause, a suspended machine), and about a service that succeeds.

engine_story.py describes the format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cohabit.engine.events import Due, Exited, Gap, Loaded, Notified, Requested, StopRequested, Swept
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import Probe, Restart
from unit.engine_story import PROBE, TERM, checks_of, plan, service, up

if TYPE_CHECKING:
    from unit.engine_story import Story

WATCHED = Probe("notify", watchdog_seconds=5.0, retries=1)
WORK = {"ends_on_success": False}

STORIES: dict[str, Story] = {
    "a gap is not part of a grace period, nor of the total": (
        plan(service("web", "db", stop_grace_seconds=4.0), service("db", stop_grace_seconds=4.0), total=9.0),
        (
            (0.0, up("db"), ("spawn web",)),
            (0.0, up("web"), ()),
            (1.0, StopRequested(TERM), ("signal web TERM",)),
            (8.0, Gap(6.0, 7.0), ()),
            (11.0, Due(), ("kill web",)),  # 1 + 4 + 6
            (11.0, Exited("web", 137), ("signal db TERM",)),
            (11.5, Gap(0.5, 0.5), ()),
            (15.5, Due(), ("kill db",)),  # 11 + 4 + 0.5, and the total is over at 16.5
            (15.5, Exited("db", 137), ("sweep",)),
            (15.5, Swept(), ("exit 137",)),
        ),
    ),
    "a gap is not a missing report, even if the service needs longer to run again": (
        plan(service("web", probe=WATCHED)),
        (
            (0.0, up("web"), ()),
            (0.0, Notified("web", ready=True), ("logs web: ready",)),
            (1.0, Notified("web", watchdog="1"), ()),
            (7.0, Gap(1.0, 6.0), ()),
            (12.0, Due(), ("logs unhealthy: no watchdog message for 5 s",)),  # 1 + 5 + 6
        ),
    ),
    "a gap in a start period makes it longer": (
        plan(service("web", probe=PROBE.replace(start_period_seconds=3.0, interval_seconds=1.0, retries=1))),
        (
            (0.0, up("web"), ("probe web",)),
            (6.0, Gap(6.0, 6.0), ()),
            (13.0, Requested("stop", ("web",)), ("stop probe web", "signal web TERM")),
        ),
    ),
    "a success does not end the work of others, and the log names them": (
        plan(*(service(f"job{number}", **WORK) for number in range(8))),
        (
            *((0.0, up(f"job{number}"), ()) for number in range(8)),
            (
                1.0,
                Exited("job0", 0),
                (
                    "logs job0 has completed; the container continues with job1, job2, job3, job4, job5 and 2",
                    "logs (essential: true would end it)",
                ),
            ),
            *((2.0, Exited(f"job{number}", 0), ()) for number in range(1, 7)),
            (3.0, Exited("job7", 0), ("sweep",)),
            (3.0, Swept(), ("exit 0", "logs exit reason: all services have ended")),
        ),
    ),
    "a failure ends the container, and the reason names the rule": (
        plan(service("web", **WORK), service("db", **WORK)),
        (
            (0.0, up("web"), ()),
            (0.0, up("db"), ()),
            (2.0, Exited("web", 3), ("signal db TERM",)),
            (2.1, Exited("db", 0), ("sweep",)),
            (
                2.1,
                Swept(),
                (
                    "exit 3",
                    "logs web ended with exit code 3 after 2s (a failure ends the container, unless essential: false)",
                ),
            ),
        ),
    ),
    "restart attempts that are used up are a failure, also with exit code 0": (
        plan(service("web", restart=Restart("always", 1, 0.0), **WORK), service("db", **WORK)),
        (
            (0.0, up("web"), ()),
            (0.0, up("db"), ()),
            (1.0, Exited("web", 0), ()),
            (1.0, Due(), ("spawn web",)),
            (1.0, up("web"), ()),
            (2.0, Exited("web", 0), ("signal db TERM", "logs given up after 1 restart")),
            (2.1, Exited("db", 0), ("sweep",)),
            (2.1, Swept(), ("exit 0",)),
        ),
    ),
}

test_story, test_reexecution, test_deadlines = checks_of(STORIES)


@pytest.mark.parametrize(
    ("probe", "stop", "patient"),
    [(WATCHED, False, True), (PROBE, False, False), (None, False, False), (None, True, True)],
)
def test_deadlines_for_others_are_known(probe: Probe | None, stop: bool, patient: bool) -> None:
    """A report that is missing, and the end of a grace period; not the time of the next probe, nor of a restart."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("web", probe=probe))), 0.0)
    engine.step(up("web"), 0.0)
    if stop:
        engine.step(Requested("stop", ("web",)), 1.0)
    assert (engine.patient, engine.stops) == (patient, stop)
    engine.step(StopRequested(TERM), 2.0)
    assert engine.patient
    assert engine.stops


def test_a_restart_delay_is_our_own_deadline() -> None:
    """Nothing of the service's is missed."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("web", restart=Restart("always")))), 0.0)
    engine.step(up("web"), 0.0)
    engine.step(Exited("web", 1), 1.0)
    assert engine.deadline() is not None
    assert not engine.patient
