"""`conditions` of a service: read, checked at the start, and what a skipped service means for others."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from cohabit import paths
from cohabit.api.conditions import readiness, started, whether_ended
from cohabit.config.system import check_machine, skipped_now
from cohabit.engine.events import Exited, HookEnded, Loaded, Requested, ScheduleDue, SpawnFailed, StopRequested, Swept
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.build import build
from cohabit.plan.conditions import unmet
from cohabit.plan.model import Condition, Hook, Restart, Schedule
from cohabit.plan.reason import SKIPPED, Reason
from cohabit.reactor.linux import os as posix
from cohabit.reactor.processes import child, start_conditions, start_failure
from unit.engine_story import PROBE, TERM, checks_of, completed, healthy, plan, service, up
from unit.file_story import draft, reported_once
from unit.file_story import service as written
from unit.status_story import container, ps, state_of, why, why_json
from unit.status_story import service as status

if TYPE_CHECKING:
    from pathlib import Path

    from cohabit.api.protocol import Answer
    from unit.engine_story import Story

NOT_SET = "the variable KEY is not set"
WHY = Reason(SKIPPED, detail=NOT_SET)
TEXT = f"was skipped: {NOT_SET} (conditions)"
ALWAYS = Restart("always")


def skipped(name: str) -> SpawnFailed:
    """The event for a start that was skipped."""
    return SpawnFailed(name, WHY)


def said(answer: Answer | None) -> tuple[int, str]:
    """Its code and text."""
    assert answer is not None
    return answer.code, answer.text


# --- whether they hold --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "negated", "why"),
    [
        ("KEY", False, None),
        ("KEY", True, "the variable KEY is set"),
        ("EMPTY", False, "the variable EMPTY is empty"),
        ("EMPTY", True, None),
        ("GONE", False, "the variable GONE is not set"),
        ("GONE", True, None),
        ("KEY=s3cret", False, None),
        ("KEY=s3cret", True, "the variable KEY has the value that is written there"),
        ("KEY=S3cret", False, "the variable KEY has another value"),
        ("KEY=S3cret", True, None),
        ("KEY=a=b", False, "the variable KEY has another value"),
        ("GONE=x", False, "the variable GONE is not set"),
        ("EMPTY=x", False, "the variable EMPTY is empty"),
        ("EMPTY=", False, None),
    ],
)
def test_a_condition_on_a_variable(text: str, why: str | None, *, negated: bool) -> None:
    """An empty variable counts as not set. No value is quoted."""
    environ = {"KEY": "s3cret", "EMPTY": ""}
    assert unmet((Condition("environment", text, negated),), environ, lambda *_: False) == why


def test_conditions_on_paths(tmp_path: Path) -> None:
    """As test -e, -s and -x do, links are followed."""
    (tmp_path / "full").mkdir()
    (tmp_path / "void").mkdir()
    (tmp_path / "full" / "text").write_text("x")
    (tmp_path / "empty").touch()
    (tmp_path / "tool").touch(0o755)
    (tmp_path / "link").symlink_to("full/text")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    for kind, holding in {
        "path_exists": {"full", "void", "full/text", "empty", "tool", "link", "fifo"},
        "file_not_empty": {"full/text", "link"},
        "directory_not_empty": {"full"},
        "file_is_executable": {"tool"},
    }.items():
        for name in ("full", "void", "full/text", "empty", "tool", "link", "loop", "fifo", "gone", "empty/below"):
            path = str(tmp_path / name)
            why = unmet((Condition(kind, path),), {}, paths.holds)
            assert (why is None) == (name in holding), (kind, name)
            assert why is None or why.startswith(f"{path} ")
            assert (unmet((Condition(kind, path, negated=True),), {}, paths.holds) is None) == (name not in holding)


def test_the_first_condition_that_does_not_hold_is_named() -> None:
    conditions = (Condition("environment", "A"), Condition("path_exists", "/gone"), Condition("environment", "B"))
    assert unmet(conditions, {"A": "1"}, paths.holds) == "/gone does not exist"
    assert unmet((), {}, paths.holds) is None


def test_the_start_reports_a_skip_and_a_path_that_cannot_be_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two are different: what was not seen is not claimed."""
    start = child.SpawnSpec(("x",), {}, given=None)  # type: ignore[arg-type]
    with pytest.raises(OSError, match="is not set") as caught:
        start_conditions.check((Condition("environment", "KEY"),), {})
    message = child.describe(child.STEP_CONDITIONS, caught.value).encode()
    assert start_failure.exec_failure(start, message) == WHY

    def denied(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(posix, "stat", denied)
    with pytest.raises(PermissionError) as denial:
        start_conditions.check((Condition("path_exists", "/x"),), {})
    failure = start_failure.exec_failure(start, child.describe(child.STEP_CONDITIONS, denial.value).encode())
    assert (failure.kind, failure.detail) == ("step-failed", "check its conditions: /x: Permission denied")


# --- the file ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("here")
def test_conditions_are_read() -> None:
    """A text or a list, in the order of the table; an empty text says nothing."""
    keys = "conditions: {path_exists: ['!/a b', '/c$$d'], environment: '! KEY', file_not_empty: '${EMPTY}'}"
    assert written(keys).conditions == (
        Condition("environment", "KEY", negated=True),
        Condition("path_exists", "/a b", negated=True),
        Condition("path_exists", "/c$d"),
    )


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("keys", "diagnostic"),
    [
        (
            "conditions: {environment: '=x'}",
            "conditions.environment: a variable has no valid name (write NAME, NAME=value, or the same after !)",
        ),
        (
            "conditions: {environment: [A B]}",
            "conditions.environment: a variable has no valid name (write NAME, NAME=value, or the same after !)",
        ),
        ("conditions: {path_exists: ['!x']}", "conditions.path_exists: expected an absolute path, got 'x'"),
        ("conditions: {path_exist: /x}", "conditions.path_exist: unknown key (did you mean 'path_exists'?)"),
        ("conditions: [KEY]", "conditions: expected a map, got a list"),
        ("conditions: {environment: {A: b}}", "conditions.environment: expected a string or a list, got a map"),
    ],
)
def test_wrong_conditions(keys: str, diagnostic: str) -> None:
    assert reported_once(keys) == diagnostic


@pytest.mark.usefixtures("here")
def test_a_service_that_would_be_skipped_is_not_checked() -> None:
    """Its program, its user and its secrets may exist only where its conditions hold."""
    text = """
secrets: {key: {environment: KEY}}
services:
  sshd: {command: no-such-program, secrets: [key], conditions: {environment: KEY}}
  web: {command: sh}
"""
    made = draft(text)
    found, _ = build(made)
    assert found is not None
    assert skipped_now(found, {}) == {"sshd": NOT_SET}
    assert check_machine(found, made, {"PATH": "/bin:/usr/bin"}) == ()
    assert len(check_machine(found, made, {"PATH": "/bin:/usr/bin", "KEY": "x"})) >= 1


# --- the engine ---------------------------------------------------------------------------------------------

STORIES: dict[str, Story] = {
    "a skipped service is a success for its dependents, and its restart policy does not apply": (
        plan(
            service("db", restart=ALWAYS, probe=PROBE, essential=True, ends_on_success=True),
            service("job"),
            service("web", healthy("db"), completed("job"), "db", ends_on_success=False),
        ),
        (
            (0.0, skipped("db"), (f"logs db: {TEXT}",)),
            (0.0, skipped("job"), (f"logs job: {TEXT}", "spawn web")),
            (0.0, up("web"), ("all ready",)),
            (1.0, Exited("web", 0), ("sweep",)),
            (1.0, Swept(), ("exit 0", "logs exit reason: all services have ended [")),
        ),
    ),
    "its first hook is skipped instead of it": (
        plan(service("web", pre_start=(Hook(("x",)), Hook(("y",))), restart=ALWAYS)),
        (
            (0.0, HookEnded("web", 127, WHY), ("sweep", f"logs web: {TEXT}")),
            (0.0, Swept(), ("exit 0", "logs exit reason: all services have ended; web was skipped")),
        ),
    ),
    "a stop comes before the skip": (
        plan(service("web")),
        (
            (0.0, StopRequested(TERM), ("signal web TERM",)),
            (0.1, skipped("web"), ("sweep", f"logs web: {TEXT}")),
            (0.1, Swept(), ("exit 0",)),
        ),
    ),
    "the conditions are checked again at a restart, and by `start`": (
        plan(service("web", restart=ALWAYS), service("db")),
        (
            (0.0, up("db"), ()),
            (0.0, up("web"), ()),
            (1.0, Exited("web", 3), ()),
            (1.1, Requested("start", ("web",)), ("spawn web",)),
            (1.1, skipped("web"), (f"logs web: {TEXT}",)),
            (2.0, Requested("start", ("web",)), ("spawn web",)),
            (2.0, up("web"), ()),
        ),
    ),
    "a scheduled job is skipped until its next time": (
        plan(service("job", schedule=Schedule("* * * * *"), essential=False)),
        (
            (60.0, ScheduleDue("job"), ("spawn job",)),
            (60.0, skipped("job"), ()),
            (120.0, ScheduleDue("job"), ("spawn job",)),
        ),
    ),
    "a reload that changes the conditions checks them again": (
        plan(service("web", conditions=(Condition("environment", "KEY"),)), service("db")),
        (
            (0.0, skipped("web"), ()),
            (0.0, up("db"), ()),
            (1.0, Loaded(plan(service("web"), service("db"))), ("prepare", "spawn web")),
        ),
    ),
}

test_story, test_reexecution, test_deadlines = checks_of(STORIES)


def test_answers_to_clients() -> None:
    """`start` and `wait` say that it was skipped; the readiness of the container counts only what is ready."""
    engine = Supervisor()
    engine.step(Loaded(plan(service("sshd"), service("web"))), 0.0)
    for event in (skipped("sshd"), up("web")):
        engine.step(event, 0.0)
    units = list(engine.units.values())
    assert said(started(engine, ["web", "sshd"])) == (0, f"ready: web; sshd {TEXT}")
    assert said(started(engine, ["sshd"])) == (0, f"sshd {TEXT}")
    assert said(whether_ended(engine, ["sshd"], by_itself=True)) == (0, f"sshd {TEXT}")
    assert said(readiness(engine, units, {}, 0.0, named=False)) == (0, "ready: 1 service")


# --- what people see ------------------------------------------------------------------------------------------


def test_ps_and_why_show_the_reason() -> None:
    shown = status("sshd", state="EXITED", code=None, reason=WHY, ready=False, pid=0, started=None)
    assert f"SKIPPED ({NOT_SET})" in ps(container(), [shown], width=0, colour=False)[1]
    assert state_of(shown) == "stopped"
    (cause,) = why_json(container(), [shown], "sshd")
    assert (cause["kind"], cause["text"]) == ("skipped", f"sshd {TEXT}")
    assert any("sshd skipped" in line for line in why(container(), [shown, status("web")], None))
