"""`cohabit why`: rendering/why.py, causes.py, ending.py, advice.py and log_hints.py."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.plan import reason as reasons
from cohabit.plan.reason import Reason, dependency_failed, end_of_run, exited_too_quickly
from cohabit.plan.reason_text import text_of
from cohabit.rendering.text import columns
from unit.status_story import (
    NOW,
    answer,
    blocked,
    container,
    crashing,
    ended,
    happened,
    healthy,
    needs,
    probe,
    service,
    stopped,
    waiting,
    why,
    why_json,
)
from unit.test_rendering_table import SERVICES, strange

Status = dict[str, Any]

DOWN = container(ready=False)
DENIED = (
    "its user lacks permission (check the owner and mode of the file in the message, and its `user:`; "
    "ports below 1024 may require root, or ambient_capabilities: [NET_BIND_SERVICE])"
)
UNWELL = Reason(reasons.UNHEALTHY, detail="no answer within 5s")
NO_ANSWER = Reason(reasons.PROBE_TIMED_OUT, seconds=5.0)
HEALTHY, DONE = "service_healthy", "service_completed_successfully"


FILES = Reason(reasons.FILES_CHANGED, path="/srv/x.py", detail="2 others")


def advice(status: Status, whole: Status = DOWN) -> str:
    """Return the advice on this service."""
    return " / ".join(one for cause in why_json(whole, [status], status["name"]) for one in cause["advice"])


def cannot_start(kind: str, code: int, **fields: Any) -> Reason:
    """Return the reason of a failed start."""
    return Reason(reasons.CANNOT_START, code, cause=Reason(kind, code, **fields))


def hook_failed(stage: str) -> Reason:
    """Return the reason of a service whose first hook of this stage ended with 3."""
    return Reason(reasons.HOOK_FAILED, 3, hook_stage=stage, hook_index=0)


def failed_at(path: str, kind: str, detail: str) -> Reason:
    """Return the reason of a failed connection of a probe."""
    return Reason(kind, path=path, detail=detail)


def text(status: Status, whole: Status = DOWN) -> str:
    """Return the first line about this service."""
    return str(why(whole, [status], status["name"])[0])


# --- chains -------------------------------------------------------------------------------------------


def test_a_chain_goes_down_to_the_root_cause() -> None:
    """Each waiting service has its time; the root cause has its details, its output and advice."""
    db = crashing("db", output=["LOG: hello", "FATAL: /data: Permission denied"])
    others = [
        waiting("web", needs("api", HEALTHY), since=NOW - 75),
        waiting("api", needs("db", HEALTHY), since=NOW - 75),
    ]
    assert why(DOWN, [*others, db, healthy("cache")], "web") == [
        "web waits for api to be ready, since 02:38:45Z (1m15s ago)",
        "  api waits for db to be ready, since 02:38:45Z (1m15s ago)",
        "    db keeps failing: the last time it ended with exit code 1 after 2s, at 02:39:59Z (1s ago)",
        "      next attempt: restart 3 in 600ms, at 02:40:00Z (restart: always)",
        "      last lines of output:",
        "        | LOG: hello",
        "        | FATAL: /data: Permission denied",
        "what to do:",
        f'  - its output contains "Permission denied": {DENIED}',
    ]


def test_the_container_is_explained_by_its_root_causes() -> None:
    """A root cause names the services that wait for it; the one with the most dependents comes first."""
    status = [
        ended("mail", 3),
        waiting("web", needs("api", HEALTHY)),
        waiting("api", needs("db", HEALTHY)),
        crashing("db"),
        healthy("cache"),
    ]
    lines = why(DOWN, status, None)
    assert lines[0].startswith("web, api wait for db, which keeps failing: the last time it ended with exit code 1")
    assert [line for line in lines if line.startswith("mail")] == [
        "mail ended with exit code 3 after 2s, at 02:39:48Z (12s ago)"
    ]
    assert not any("cache" in line for line in lines)


def test_a_container_that_is_not_ready_for_an_unknown_reason() -> None:
    """It is not reported as ready, even if no cause is found."""
    assert why(DOWN, [service()], None)[0].startswith("the container is not ready, but no cause is known")


def test_a_ready_container_needs_one_line() -> None:
    """Completed jobs, scheduled jobs and manually stopped services are only named."""
    status = [
        healthy("db"),
        service("web"),
        ended("migrate", 0, job=True),
        ended("backup", 0, job=True, schedule="@daily"),
        stopped("cron"),
    ]
    assert why(container(), status, None) == [
        "the container is ready, up for 1h: 2 services ready; migrate completed; backup scheduled",
        "",
        "stopped manually: cron (cohabit start cron)",
    ]


def test_a_healthy_service_needs_one_line() -> None:
    """The line has the times since it runs and is ready, and its restarts."""
    status = healthy(
        "db",
        restarts=2,
        history=[happened("BACKOFF", 3605, end_of_run(2, 1.0), 2), happened("ready", 30)],
    )
    before = "2 restarts before (the last: ended with exit code 2 after 1s)"
    assert why(container(), [status], "db") == [
        f"db is healthy, pid 7, runs since 01:40:00Z (1h ago), ready since 02:39:30Z (30s ago), {before}"
    ]


def test_changed_files_are_the_cause_of_one_run() -> None:
    """That of the run which they led to, not that of later ones."""
    history = [happened("RUNNING", 50), happened("changed", 9, FILES), happened("STOPPED", 9), happened("RUNNING", 8)]
    assert text(service(history=history)).endswith("restarted: files changed: /srv/x.py and 2 others")
    assert "files" not in text(service(history=[*history, happened("RUNNING", 1)]))
    assert "files" not in text(service(history=history[:1]))


def test_a_refused_service_is_restarted_together_with_its_root_cause() -> None:
    """After a job has failed, its dependents are given up; one command restarts all, dependencies first."""
    refused = {"state": "FATAL", "since": NOW - 12, "reason": dependency_failed("migrate", end_of_run(1, 2.0))}
    status = [ended("migrate", 1, job=True), waiting("web", needs("migrate", DONE), **refused)]
    assert why(DOWN, status, "web")[0].startswith("web was not started: it needs migrate to complete successfully")
    lines = why(DOWN, status, None)
    assert lines[0].startswith("web cannot start without migrate, which ended with exit code 1")
    assert lines[-1] == "  - `cohabit restart migrate web` (after a change of the file: `cohabit reload`)"
    slow = service("db", ready=False, probe=probe())
    status[1]["depends_on"].append(needs("db", HEALTHY))
    assert not any("without db" in line for line in why(DOWN, [*status, slow], None))


def test_a_manually_stopped_service_must_be_started() -> None:
    """Its dependents wait until it is started."""
    assert why(DOWN, [stopped("db"), waiting("web", needs("db"))], "web")[1:] == [
        "  db was stopped manually (cohabit stop, cohabit kill), since 02:39:00Z (1m ago)",
        "what to do:",
        "  - `cohabit start db`",
    ]


def test_a_manually_stopped_dependency_is_named() -> None:
    """Also for a dependent that continues to run; the report on the container names every stopped service."""
    status = [stopped("db"), service("web", depends_on=[needs("db")])]
    assert why(container(), status, "web")[1:] == [
        "  its dependency db was stopped manually",
        "what to do:",
        "  - `cohabit start db`",
    ]
    assert why(container(), status, None)[-1] == "stopped manually: db (cohabit start db)"
    assert why(DOWN, [*status, ended("mail", 3)], None)[-2:] == ["", "stopped manually: db (cohabit start db)"]
    waits = why(DOWN, [stopped("db"), waiting("web", needs("db"))], None)
    assert not any(line.startswith("stopped manually") for line in waits)


def test_advice_to_restart_without_other_advice() -> None:
    """It begins with "then" only after other advice; without a known cause that is a pointer to the log."""
    again = "`cohabit restart web` (after a change of the file: `cohabit reload`)"
    status = ended("web", 3, restart="on-failure")
    assert why(DOWN, [status], "web")[-2:] == ["what to do:", f"  - {again}"]
    assert why(DOWN, [status | {"output": ["x"]}], "web")[-3:] == [
        "what to do:",
        "  - see its full output: `cohabit logs web`",
        f"  - then {again}",
    ]


def test_the_other_service_with_a_used_port_is_named() -> None:
    """The port of the message, or of its own command, is searched in probes and commands of other services."""
    lines = ["bind 0.0.0.0:8080: Address already in use"]
    others = [service("api", command=["serve", "--port=8080"]), healthy("db")]
    assert "port 8080 is also in the command or probe of api" in why(DOWN, [crashing(output=lines), *others], "web")[-1]
    bare = crashing(output=["OSError: [Errno 98] Address already in use"], command=["serve", "5432"])
    assert "port 5432 is also in the command or probe of db" in "".join(why(DOWN, [bare, *others], "web"))
    other = crashing(output=["listen tcp :9090: bind: address already in use"])
    assert not any("is also in the command" in line for line in why(DOWN, [other, *others], "web"))


def test_an_unknown_failure_hides_earlier_messages() -> None:
    """The program may have recovered from earlier errors."""
    assert "refused" not in advice(crashing(output=["db: connection refused, trying again", "FATAL: no licence"]))
    assert "refused" in advice(crashing(output=["FATAL: no licence", "db: connection refused"]))


def test_output_that_waits_is_the_cause_of_a_failing_probe() -> None:
    """The destination, its problem and since when; the probe's failures follow from it."""
    waits = blocked("/log/web", "No space left on device", ago=12.0)
    web = healthy(health="unhealthy", blocked_output=[waits, blocked("stderr", stream="stderr")], output=["a line"])
    what = "/log/web, which accepts none (No space left on device)"
    lines = why(container(ready=False), [web], None)
    assert lines == [
        f"web runs, but its stdout waits for {what}, since 02:39:48Z (12s ago)",
        "  its stderr waits for the container's stderr, which accepts none",
        "  once its pipe is full, it blocks whenever it writes (logging: mode: blocking)",
        "  probe: TCP 127.0.0.1:5432, every 30s: 0 failures in a row (retries: 3)",
        "  last result: passed, at 02:39:59Z (1s ago)",
        "  last lines of output:",
        "    | a line",
        "what to do:",
        "  - make room on its file system, or correct `path:` or its permissions",
        "  - to drop lines instead of waiting: set `mode: non-blocking` in the options of `logging:`",
    ]
    assert why_json(container(), [web], "web")[0]["kind"] == "blocked"


@pytest.mark.parametrize(
    ("destination", "problem", "advice"),
    [
        ("stdout", "", "what reads the container's output does not read it"),
        ("stderr", "No space left on device", "make room on its disk"),
        ("/log/web", "", "its file system does not answer"),
        ("tcp://log:514", "Connection refused", "check that the syslog server runs"),
    ],
)
def test_advice_on_output_that_waits(destination: str, problem: str, advice: str) -> None:
    """By the kind of the destination."""
    lines = why(container(), [service(blocked_output=[blocked(destination, problem)])], "web")
    assert advice in "\n".join(lines)


def test_output_that_waits_is_a_fact_of_every_other_state() -> None:
    """For example of a service that does not end after its stop signal, or has ended before its output was read."""
    waits = [blocked("/log/web")]
    stopping = service(state="STOPPING", want="down", since=NOW - 4, next=NOW + 6, blocked_output=waits)
    for one in (stopping, ended(blocked_output=waits)):
        assert "  its stdout waits for /log/web, which accepts none" in why(container(), [one], "web")


def test_a_restart_of_an_unhealthy_service_names_on_failure() -> None:
    """It is not attributed to the restart policy."""
    lines = why(DOWN, [crashing(reason=UNWELL, restart="no", on_failure="restart")], "web")
    assert lines[1].endswith("(on_failure: restart)")


def test_the_output_of_a_probe_does_not_decide_what_is_said() -> None:
    """A probe may print any text, for example one that reads like a reason of ours."""
    texts = (
        "not ready, it waits for the cache",
        "cannot start: it waits for db, which failed",
        "pre_start hook 1",
        "x; given up after 9 restarts",
    )
    for text in texts:
        unwell = Reason(reasons.UNHEALTHY, detail=text, restarts=1)
        status = ended(reason=unwell, state="FATAL", starts=2, restarts=1, attempts=1, restart="on-failure")
        first, *more = why(DOWN, [status], "web")
        assert first.startswith(
            f"web was given up after 1 restart in a row: the last time it was unhealthy: {text}, at"
        )
        assert not any("was not started" in line or "is met now" in line for line in [first, *more])


def test_a_refused_service_names_its_dependency_also_when_that_is_well_again() -> None:
    """The dependency is that of the reason, whatever else the text contains."""
    refused = dependency_failed("db", Reason(reasons.UNHEALTHY, detail="it waits for api, really"))
    status = [
        waiting("web", needs("api"), needs("db"), state="FATAL", reason=refused),
        service("api", ready=False),
        ended("db"),
    ]
    assert why_json(DOWN, status, "web")[0]["because"] == ["db"]
    met = waiting("web", needs("db", satisfied=True), state="FATAL", reason=refused)
    expected = "web was not started: it waits for db, which was unhealthy: it waits for api, really; that condition is"
    assert text(met).startswith(expected)


def test_a_stop_that_timed_out_is_not_explained_as_a_kill_from_outside() -> None:
    """SIGKILL came from cohabit itself, also because of a hook or on request."""
    late = end_of_run(137, 9.0).replace(kind=reasons.STOP_TIMED_OUT)
    in_hook = late.replace(kind=reasons.STOPPED_UNASKED, hook_stage="pre_stop", hook_index=1)
    job: Status = {"code": 137, "job": True, "schedule": "@daily"}
    assert "if it ignores SIGTERM" in advice(ended(reason=late, **job))
    on_request = Reason(reasons.KILLED_ON_REQUEST, signal=9)
    for reason in (late, in_hook, on_request):
        assert "not a stop by cohabit" not in advice(ended(reason=reason, **job))
    lines = why(DOWN, [stopped(reason=in_hook)], "web")
    assert any("it was killed: it ended with SIGKILL" in line and "its pre_stop hook 2" in line for line in lines)


def test_the_code_of_a_hook_is_not_explained_as_that_of_the_command() -> None:
    """127 of a hook says nothing about the command of the service."""
    missing = Reason(reasons.HOOK_FAILED, 127, hook_stage="pre_start", hook_index=0)
    assert "not installed" not in advice(ended(code=127, state="FATAL", command=["gunicorn"], reason=missing))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (reasons.NOT_IN_PATH, "tool is not installed in the image"),
        (reasons.UNKNOWN_FORMAT, "check the first line of tool"),
        (reasons.NOT_EXECUTABLE, "tool exists but cannot be executed"),
        (reasons.DIRECTORY_FORBIDDEN, "no permission to enter tool"),
        (reasons.NOT_PRIVILEGED, "start the container as root"),
        (reasons.PROCESS_LIMIT, ""),  # the reason itself says what to do
        (reasons.STEP_FAILED, ""),
    ],
)
def test_each_failed_start_gets_its_advice(kind: str, expected: str) -> None:
    """By the kind of the reason, whatever the command is."""
    reason = cannot_start(kind, 126, path="tool", detail="x")
    found = advice(ended(code=126, state="FATAL", command=["sh"], reason=reason)).split(" / ")
    assert expected in found[0]
    assert len(found) == (2 if expected else 1)  # the last one is the restart


def test_a_service_name_selects_all_its_replicas() -> None:
    """The name web selects web-1 and web-2; an unknown name is reported."""
    replicas = [service(f"web-{number}", service="web", replica=number) for number in (1, 2)]
    assert [line.split()[0] for line in why(container(), replicas, "web") if line] == ["web-1", "web-2"]
    assert why(container(), replicas, "w\nb") == [r"there is no service 'w\nb' (there are: web, web-1, web-2)"]
    assert why(container(), replicas, "wep") == ["there is no service 'wep' (did you mean 'web'?)"]
    many = [service(f"s{number:02}") for number in range(12)]
    status = f"there is no service 'x' (there are: {', '.join(one['name'] for one in many[:10])} and 2 more)"
    assert why(container(), many, "x") == [status]


def test_a_cycle_ends() -> None:
    """A Plan has no cycle, but an answer may hold anything. Each service is reported once."""
    status = [waiting("a", needs("b")), waiting("b", needs("a"))]
    assert [(cause["service"], cause["depth"]) for cause in why_json(DOWN, status, "b")] == [("b", 0), ("a", 1)]
    assert [cause["service"] for cause in why_json(DOWN, status, None)] == ["a", "b"]


# --- phases of the container --------------------------------------------------------------------------


def test_while_the_file_is_read_every_question_has_the_same_answer() -> None:
    """No service is known then."""
    whole = container(phase="loading", started=NOW - 1)
    assert (
        why(whole, [], None)
        == why(whole, [], "web")
        == ["no service runs yet: the file is being read, since 02:39:59Z (1s ago)"]
    )


def test_a_stop_shows_remaining_services_and_the_time_of_sigkill() -> None:
    """It shows the order of the stop and the signal that each service was sent."""
    status = [
        service("db", want="down"),
        service("web", state="STOPPING", want="down", since=NOW - 1, next=NOW + 9, depends_on=[needs("db")]),
        ended("mail"),
    ]
    whole = container(phase="stopping", exit_reason="mail ended with exit code 1", code=1)
    assert why(whole, status, None) == [
        "the container is being stopped: mail ended with exit code 1",
        "  time limit 9s (x-cohabit: stop_grace_period), then SIGKILL to the remaining processes",
        "  web is being stopped, since 02:39:59Z (1s ago)",
        "    SIGTERM sent at 02:39:59Z (1s ago); SIGKILL in 9s, at 02:40:09Z (stop_grace_period 10s)",
        "  db will be stopped, and waits for web to end first",
    ]


def test_a_shell_that_does_not_end_gets_advice() -> None:
    """A shell does not forward the signal."""
    status = service(state="STOPPING", want="down", since=NOW - 5, next=NOW + 5, command=["sh", "-c", "./run"])
    assert "does not forward SIGTERM" in advice(status)


# --- single situations --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (crashing(code=0, command=["nginx"]), "keeps exiting"),
        (crashing(restarts=1), "web ended with exit code 1 after 2s, and will be restarted"),
        (service(ready=False, hook_stage="post_start"), "is not ready: its post_start hook 1 is running"),
        (
            service(state="STARTING", hook_stage="pre_start", hook_index=1),
            "is starting: its pre_start hook 2 is running",
        ),
        (
            ended(state="FATAL", restarts=5, attempts=5, reason=end_of_run(1, 2.0).replace(restarts=5)),
            "was given up after 5 restarts in a row: the last time it ended",
        ),
        (
            ended(state="FATAL", reason=hook_failed("pre_start")),
            "could not be started: its pre_start",
        ),
        (
            ended(code=1, reason=hook_failed("post_start")),
            "was stopped: its post_start hook 1",
        ),
        (crashing(reason=UNWELL), "the last time it was unhealthy: no answer"),
        (service(restarts=7, started=NOW - 1), "runs after 7 restarts in a row"),
        (
            ended(code=0, job=True, schedule="*/5 * * * *"),
            "waits for its next scheduled run (*/5 * * * *): its last run",
        ),
        (stopped(gone=True), "it was removed from the file"),
        (stopped(restart_pending=True), "is about to be restarted"),
        (service(ready=False), "runs but is not ready, and has no healthcheck"),
        (waiting("web"), "it is about to start"),
        (service(state="NEW"), "is in an unknown state: NEW"),
        (service(state="STOPPING", restart_pending=True), "is being stopped for a restart"),
        (
            service(
                state="STOPPING", restart_pending=True, history=[happened("RUNNING", 9), happened("changed", 1, FILES)]
            ),
            "is being stopped for a restart: files changed: /srv/x.py and 2 others",
        ),
    ],
)
def test_each_situation_has_its_text(status: Status, expected: str) -> None:
    """The first line describes it."""
    assert expected in text(status)


def test_out_of_memory_is_reported_with_the_limit() -> None:
    """A SIGKILL of the kernel's OOM killer is reported as such."""
    status = crashing(code=137, out_of_memory=True, reason=end_of_run(137, 41.0, out_of_memory=True))
    whole = container(memory_limit=256 * 2**20)
    assert "was killed by SIGKILL after 41s: out of memory, the container's limit is 256 MiB" in text(status, whole)
    assert "docker run --memory" in advice(status, whole)
    given_up = end_of_run(137, 2.0, out_of_memory=True).replace(restarts=1)
    last = ended(code=137, out_of_memory=True, reason=given_up, state="FATAL", restarts=1, attempts=1)
    assert text(last).startswith(
        "web was given up after 1 restart in a row: the last time it was killed by SIGKILL after 2s: out of memory, at"
    )
    child = crashing(code=1, out_of_memory=True, reason=end_of_run(1, 2.0, out_of_memory=True))
    assert "ended with exit code 1 after 2s; the kernel killed one of its processes: out of memory" in text(child)


def test_out_of_memory_is_known_after_the_next_start() -> None:
    """The history has it, and the advice names the limit; without evidence the limit is still named."""
    limit = container(memory_limit=64 * 2**20)
    killed = end_of_run(137, 2.0, out_of_memory=True)
    history = [happened("BACKOFF", 3.0, killed, 137), happened("RUNNING", 2.0)]
    again = service(restarts=1, code=137, started=NOW - 2, history=history, output=["new"], output_before=["old"])
    shown = "\n".join(why(limit, [again], "web"))
    assert "the last time it was killed by SIGKILL after 2s: out of memory, the container's limit is 64 MiB" in shown
    assert "the container ran out of its 64 MiB of memory: reduce workers" in advice(again, limit)
    assert "| old" in shown
    assert "| new" not in shown
    assert "the container's limit of memory is 64 MiB" in advice(ended(code=137), limit)
    assert "limit of memory" not in advice(ended(code=143), limit)
    assert "limit of memory" not in advice(ended(code=137))


def test_a_silent_program_may_buffer_its_output() -> None:
    """Said of one that runs or was killed; one that ended by itself has written its buffer."""
    silent = service(ready=False, probe=probe(), health="starting")
    for one in (silent, ended(code=137)):
        assert "PYTHONUNBUFFERED=1" in advice(one)
    for one in (ended(code=1), service(ready=False, probe=probe(), output=["x"]), ended(code=137, output=["x"])):
        assert "PYTHONUNBUFFERED" not in advice(one)
    assert "PYTHONUNBUFFERED" not in advice(service(ready=False, probe=probe(), driver="inherit"))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (ended(code=127, reason=cannot_start(reasons.NO_LOADER, 127, path="/x")), "/x was built for another C library"),
        (
            ended(code=126, reason=cannot_start(reasons.ARGUMENTS_TOO_LONG, 126, path="x", detail="the variable A is")),
            "pass the value in a file",
        ),
        (ended(code=127, command=["gunicorn"]), "gunicorn is not installed in the image, or not in PATH"),
        (ended(code=127, command=["/app/x"]), "/app/x, the interpreter in its #! line"),
        (ended(code=127, command=["./run --fast"]), "is a single argument"),
        (ended(code=127, command=["sh", "-c", "x"]), "the shell did not find a program"),
        (ended(code=126, command=["./run"]), "./run exists but cannot be executed"),
        (
            ended(code=126, command=["sh", "-c", "x"], output=["sh: 1: /x/no.sh: Permission denied"]),
            "/x/no.sh exists but cannot be executed",
        ),
        (ended(code=127, command=["sh", "-c", "x"], output=["sh: 1: serve: not found"]), "did not find serve"),
        (
            ended(
                code=126,
                reason=cannot_start(reasons.NO_DIRECTORY, 126, path="/srv", detail="it does not exist"),
                command=["sh"],
                state="FATAL",
            ),
            "create the directory /srv in the image",
        ),
        (
            ended(code=127, reason=cannot_start(reasons.NO_INTERPRETER, 127, path="./x")),
            "CRLF",
        ),
        (
            ended(code=137, command=["sh", "-c", "x"]),
            "exit code 137: SIGKILL killed the shell or its child, or",
        ),
        (ended(code=137), "not a stop by cohabit: SIGKILL comes from"),
        (
            ended(code=137, reason=end_of_run(137, 9.0).replace(kind=reasons.STOP_TIMED_OUT)),
            "stop_grace_period",
        ),
        (ended(code=139), "a crash in native code"),
        (ended(code=135), "--shm-size"),
        (ended(code=143), "not a stop by cohabit: SIGTERM comes from"),
        (ended(code=0, command=["/usr/sbin/nginx"]), "run nginx -g 'daemon off;'"),
        (ended(code=0, command=["php-fpm8.2"]), "php-fpm -F"),
        (ended(code=0, command=["./x"]), "`pid_file:`"),
        (ended(code=0, command=["bash", "x.sh"]), "`exec PROGRAM`"),
        (crashing(output=["bind: Address already in use"]), '"Address already in use": another process uses that port'),
        (
            ended(code=0, command=["apache2", "-D", "FOREGROUND"], output=["httpd (pid 9) already running"]),
            "`remove_before_start:`",
        ),
        (crashing(output=["setpgid: Operation not permitted"]), "`setsid: false`"),
        (crashing(output=["(EE) Server is already active for display 99"]), "`remove_before_start:`"),
        (
            crashing(output=["FATAL: Squid is already running", "    exception location: Instance.cc(121) Throw"]),
            "`remove_before_start:`",
        ),
        (crashing(output=['Failed to start message bus: The pid file "/run/dbus/pid" exists']), "a pid or lock file"),
        (crashing(output=["bind(/run/app.sock): Address already in use"]), "the socket is in use by a second instance"),
        (crashing(output=["open /x: No such file or directory"]), "a file is missing"),
        (crashing(output=['"root" execution of the PostgreSQL server is not permitted.']), "set its `user:`"),
        (crashing(output=["ok", "x: connection refused", ""]), "service_healthy"),
        (crashing(next=NOW + 40), "to restart it without waiting: `cohabit restart web`"),
        (ended(code=2, job=True, schedule="@daily"), "to run it now: `cohabit start web`"),
    ],
)
def test_known_mistakes_get_advice(status: Status, expected: str) -> None:
    """The advice fits the exit code, the output or the reason."""
    assert expected in advice(status)


@pytest.mark.parametrize(
    ("probe_text", "result", "expected"),
    [
        (
            "TCP 127.0.0.1:80",
            failed_at("127.0.0.1:80", reasons.CONNECTION_REFUSED, "connection refused"),
            "only on another address ([::1]",
        ),
        (
            "TCP [::1]:80",
            failed_at("[::1]:80", reasons.CONNECTION_REFUSED, "connection refused"),
            "only on another address (127.0.0.1",
        ),
        (
            "UNIX /run/x.sock",
            failed_at("/run/x.sock", reasons.NO_SOCKET, "no such file or directory"),
            "no process listens on that socket",
        ),
        ("TCP 127.0.0.1:80", NO_ANSWER, "the server hangs or is overloaded"),
        (
            "HTTP http://127.0.0.1/",
            Reason(reasons.HTTP_STATUS, 404, detail="HTTP/1.1 404 Not Found"),
            "check the path in `healthcheck:`",
        ),
        (
            "HTTP http://127.0.0.1/",
            Reason(reasons.HTTP_STATUS, 503, detail="HTTP/1.1 503 Service Unavailable"),
            "the server reports an error of its own",
        ),
        ("HTTP http://127.0.0.1/", failed_at("127.0.0.1:80", reasons.NOT_HTTP, "x"), "does not speak HTTP"),
        ("EXEC curl", Reason(reasons.PROBE_NOT_RUN, detail="cannot execute curl"), "is not in the image"),
        ("EXEC check", "sh: curl: not found", "is not in the image"),
        ("UNIX /run/x.sock", failed_at("/run/x", reasons.CONNECTION_FORBIDDEN, "permission denied"), "check its mode"),
        ("EXEC check -x", "the probe ended with exit code 1", "`cohabit exec web -- check -x`"),
        ("EXEC /bin/sh -c a || b", "the probe ended with exit code 1", "`cohabit exec web -- /bin/sh -c 'a || b'`"),
        ("EXEC check", NO_ANSWER, "its probe command did not end within 5s"),
        ("NOTIFY", "it has not reported that it is ready", "READY=1"),
        ("LOG ready", "it has not reported that it is ready", "`cohabit logs web`"),
        ("FD 3", "it has not reported that it is ready", "a newline to that descriptor"),
    ],
)
def test_a_probe_that_does_not_pass_is_explained(probe_text: str, result: str | Reason, expected: str) -> None:
    """The report has the probe, its last result and advice."""
    status = service(ready=False, health="starting", probe=probe(probe_text, failures=1), results=[answer(result)])
    lines = why(DOWN, [status], "web")
    shown = text_of(result) if isinstance(result, Reason) else result
    assert any(probe_text in line and "1 failure in a row, unhealthy after 3" in line for line in lines)
    assert any(line.strip() == f"last result: {shown}, at 02:39:59Z (1s ago)" for line in lines)
    assert expected in advice(status)
    assert "start_period" in advice(status)


def test_output_that_is_not_kept_is_in_docker_logs() -> None:
    """With a driver that does not keep lines, missing output does not mean that there was none."""
    assert any("it has written no output" in line for line in why(DOWN, [crashing()], "web"))
    for driver in ("raw", "inherit"):
        assert any("`docker logs`" in line for line in why(DOWN, [crashing(driver=driver)], "web"))
    for driver in ("", "json", "none", "file", "syslog", "raw, file"):
        assert any("it has written no output" in line for line in why(DOWN, [crashing(driver=driver)], "web"))


def test_waiting_for_a_job_that_never_completes_gets_advice() -> None:
    """Because it is a server, or is always restarted."""
    always = [service("migrate", restart="always"), waiting("web", needs("migrate", DONE))]
    assert "it never completes" in why(DOWN, always, "web")[-1]
    again = [crashing("migrate", 0), waiting("web", needs("migrate", DONE))]
    assert "it never completes" in why(DOWN, again, "web")[-1]


# --- JSON, and arbitrary answers ----------------------------------------------------------------------


def test_json_has_one_object_for_each_cause() -> None:
    """In reading order."""
    found = why_json(DOWN, [waiting("web", needs("db")), crashing("db", output=["x"])], "web")
    assert [(cause["service"], cause["kind"], cause["depth"]) for cause in found] == [
        ("web", "waits", 0),
        ("db", "restarting", 1),
    ]
    assert found[0]["because"] == ["db"]
    assert found[1]["time"] == NOW - 1
    assert found[1]["output"] == ["x"]
    whole = why_json(DOWN, [waiting("web", needs("db")), crashing("db", output=["x"])], None)
    assert [(cause["service"], cause["waiting"]) for cause in whole] == [("db", ["web"])]


def test_output_cannot_forge_a_line() -> None:
    """Output is escaped, and follows a mark on one line."""
    lines = why(DOWN, [crashing(output=["x\nweb is well\x1b[1A"])], "web")
    assert r"    | x\nweb is well\x1b[1A" in lines


@given(
    whole=strange(container()),
    services=SERVICES,
    name=st.none() | st.sampled_from(["a", "b"]) | st.text(max_size=5),
    width=st.integers(8, 160),
)
def test_any_answer_is_explained(whole: Status, services: list[Status], name: str | None, width: int) -> None:
    """At least one line, none too wide, no control characters, no exception."""
    lines = why(whole, services, name, width=width)
    assert any(lines)
    assert all(line.isprintable() and columns(line) <= width for line in lines)
    assert why_json(whole, services, name)


def idle(name: str, **fields: Any) -> Status:
    """A service that does not run yet."""
    return waiting(name) | fields


NAMES = ["a", "b", "c", "d", "e"]
MADE = st.sampled_from([idle, idle, idle, idle, service, crashing, ended, stopped, healthy])


@given(
    st.lists(MADE, min_size=5, max_size=5), st.lists(st.sets(st.sampled_from([*NAMES, "gone"])), min_size=5, max_size=5)
)
def test_every_chain_ends(made: list[Any], wanted: list[set[str]]) -> None:
    """With cycles, too: each service is reported once, and the container's report names every failing service."""
    status = [
        make(name, depends_on=[needs(other) for other in sorted(others)])
        for make, name, others in zip(made, NAMES, wanted, strict=True)
    ]
    for name in NAMES:
        found = [cause["service"] for cause in why_json(DOWN, status, name)]
        assert found[0] == name
        assert len(found) == len(set(found)) <= len(NAMES) + 1
    whole = " ".join(re.sub(r"[,`]", " ", line) for line in why(DOWN, status, None))
    for one in status:
        if one["state"] == "BACKOFF" or (one["state"] == "STOPPED" and one["want"] == "up"):
            assert f" {one['name']} " in f" {whole} "


def test_post_stop_hooks_are_a_part_of_the_stop() -> None:
    """Why it has ended, or that it is being stopped; no stop signal follows."""
    hook: Status = {"state": "STOPPING", "hook_stage": "post_stop", "hook_index": 1, "pid": 0, "next": NOW + 6}
    runs = "  its post_stop hook 2 runs; SIGKILL in 6s"
    first, second, *_ = why(DOWN, [ended(**hook, want="up", reason=end_of_run(3, 2.0))], "web")
    assert first.startswith("web ended with exit code 3 after 2s; its post_stop hooks run")
    assert second.startswith(runs)
    first, second, *_ = why(DOWN, [ended(**hook, want="down")], "web")
    assert first.startswith("web is being stopped")
    assert second.startswith(runs)


# --- programs of supervisord --------------------------------------------------------------------------

PROGRAM: Status = {"startup_seconds": 1.0, "start_retries": 3, "exitcodes": [0], "restart": "on-failure"}
TOO_QUICKLY = exited_too_quickly(end_of_run(1, 0.2), 1.0)


def test_a_program_is_explained_in_the_words_of_supervisord() -> None:
    """startsecs, startretries and autorestart, in each state."""
    starting = service(state="STARTING", ready=False, next=NOW + 0.4, **PROGRAM)
    assert text(starting).startswith("web is starting")
    assert "it is RUNNING in 400ms, if it does not end before (startsecs)" in " ".join(why(DOWN, [starting], "web"))
    failing = crashing(reason=TOO_QUICKLY, why=text_of(TOO_QUICKLY), restarts=2, **PROGRAM)
    lines = " ".join(why(DOWN, [failing], "web"))
    assert "exited too quickly (process log may have details)" in lines
    assert "next attempt: start retry 2 of 3" in lines
    assert "(startsecs=1, startretries=3)" in lines
    again = crashing(restarts=0, **PROGRAM)
    assert "next attempt: restart " in " ".join(why(DOWN, [again], "web"))
    assert "(autorestart=unexpected, exitcodes=0)" in " ".join(why(DOWN, [again], "web"))
    given_up = ended("web", 1, state="FATAL", reason=TOO_QUICKLY.replace(restarts=3), restarts=3, **PROGRAM)
    assert text(given_up).startswith("web was given up after 3 start retries: the last time it exited too quickly")


def test_an_expected_exit_code_is_shown_as_an_end() -> None:
    """As a completed service, with its code."""
    done = ended("web", 2, expected_end=True, **PROGRAM)
    (cause,) = why_json(DOWN, [done], "web")
    assert (cause["kind"], "exit code 2" in text(done)) == ("ended", True)
    assert "autorestart=unexpected" in " ".join(why(DOWN, [done], "web"))
