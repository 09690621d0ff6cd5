"""engine/started.py: the line in the log at the end of the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohabit.engine.events import Exited, Probed, Requested
from unit.engine_story import PROBE, checks_of, completed, healthy, plan, service, up
from unit.test_plan_conditions import skipped

if TYPE_CHECKING:
    from unit.engine_story import Story

STORIES: dict[str, Story] = {
    "everything is ready": (
        plan(service("job", essential=False), service("web", completed("job"), probe=PROBE)),
        (
            (0.0, up("job"), ()),
            (1.0, Exited("job", 0), ("spawn web",)),
            (1.0, up("web"), ("probe web",)),
            (2.5, Probed("web", True), ("all ready", "logs everything is ready after 2.5s: 1 service; completed: job")),
            (3.0, Probed("web", True), ()),
        ),
    ),
    "one was skipped": (
        plan(service("sshd"), service("web")),
        (
            (0.0, skipped("sshd"), ()),
            (1.0, up("web"), ("all ready", "logs : ready after 1s: 1 service; skipped: sshd")),
        ),
    ),
    "not everything is ready": (
        plan(service("a", essential=False), service("b", healthy("a"), essential=False), service("web")),
        (
            (0.0, up("web"), ()),
            (
                1.0,
                skipped("a").replace(cause=skipped("a").cause.replace(kind="not-found", code=127, path="/x")),
                ("logs : not everything is ready after 1s: a cannot start: '/x' does not exist (and 1 more); ready",),
            ),
            (2.0, Requested("start", ("a",)), ("spawn a",)),
        ),
    ),
}

test_story, test_reexecution, test_deadlines = checks_of(STORIES)
