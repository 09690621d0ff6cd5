"""views/why.py with causes.py, ending.py, advice.py and telltales.py: `cohabit why`."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohabit.rendering.text import columns
from cohabit.rendering.why import why, why_json
from unit.status_story import (
    NOW,
    answer,
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
)
from unit.test_rendering_table import SERVICES, strange

Status = dict[str, Any]

DOWN = container(ready=False)
DENIED = (
    "its user may not do that: look at the owner and mode of the file that it names, and at its `user:` "
    "(ports below 1024 may need root, too)"
)
HEALTHY, DONE = "service_healthy", "service_completed_successfully"


def advice(told: Status, whole: Status = DOWN) -> str:
    """What `why` advises about this one service."""
    return " / ".join(one for cause in why_json(whole, [told], told["name"]) for one in cause["advice"])


def text(told: Status, whole: Status = DOWN) -> str:
    """The first line about this one service."""
    return why(whole, [told], told["name"])[0]


# --- chains -------------------------------------------------------------------------------------------


def test_a_chain_goes_down_to_the_root_cause() -> None:
    """Who waits for one who waits for one who keeps failing: each with its time, the last with all that is known."""
    db = crashing("db", output=["LOG: hello", "FATAL: /data: Permission denied"])
    others = [
        waiting("web", needs("api", HEALTHY), since=NOW - 75),
        waiting("api", needs("db", HEALTHY), since=NOW - 75),
    ]
    assert why(DOWN, [*others, db, healthy("cache")], "web") == [
        "web waits for api to be ready, since 02:38:45Z (1m15s ago)",
        "  api waits for db to be ready, since 02:38:45Z (1m15s ago)",
        "    db keeps failing: the last time it ended with exit code 1 after 2s, at 02:39:59Z (1s ago)",
        "      restart 3 in a row comes in 600ms, at 02:40:00Z (restart: always)",
        "      last lines of output:",
        "        | LOG: hello",
        "        | FATAL: /data: Permission denied",
        "what to do:",
        f'  - its output says "Permission denied": {DENIED}',
    ]


def test_the_whole_container_is_told_by_root_causes() -> None:
    """Whoever waits stands beside the one it waits for in the end; the most wanted comes first."""
    told = [
        ended("mail", 3),
        waiting("web", needs("api", HEALTHY)),
        waiting("api", needs("db", HEALTHY)),
        crashing("db"),
        healthy("cache"),
    ]
    lines = why(DOWN, told, None)
    assert lines[0].startswith("web, api wait for db, which keeps failing: the last time it ended with exit code 1")
    assert [line for line in lines if line.startswith("mail")] == [
        "mail ended with exit code 3 after 2s, at 02:39:48Z (12s ago)"
    ]
    assert not any("cache" in line for line in lines)


def test_what_is_not_known_is_not_called_well() -> None:
    """When the container says that it is not ready, it is believed, even if no reason can be found."""
    assert why(DOWN, [service()], None)[0].startswith("not everything is ready yet, though nothing is known")


def test_all_is_well_in_one_line() -> None:
    """Jobs that are done, those between two runs and those stopped by hand need no more than their names."""
    told = [
        healthy("db"),
        service("web"),
        ended("migrate", 0, job=True),
        ended("backup", 0, job=True, schedule="@daily"),
        stopped("cron"),
    ]
    assert why(container(), told, None) == [
        "all is well, up for 1h: 2 services ready; migrate done; backup between two runs",
        "",
        "stopped by hand: cron (cohabit start cron)",
    ]


def test_a_healthy_service_needs_one_line() -> None:
    """Since when it runs and is ready, and how often it was started again before."""
    told = healthy(
        "db",
        restarts=2,
        history=[happened("BACKOFF", 3605, "ended with exit code 2 after 1s", 2), happened("ready", 30)],
    )
    before = "2 restarts before (the last: ended with exit code 2 after 1s)"
    assert why(container(), [told], "db") == [
        f"db is healthy, pid 7, runs since 01:40:00Z (1h ago), ready since 02:39:30Z (30s ago), {before}"
    ]


def test_who_was_refused_has_to_be_started_again_with_the_culprit() -> None:
    """After a job failed for good, those who needed it are given up; one command starts all, in the right order."""
    refused = {"state": "FATAL", "since": NOW - 12, "why": "cannot start: it waits for migrate, which ended"}
    told = [ended("migrate", 1, job=True), waiting("web", needs("migrate", DONE), **refused)]
    assert why(DOWN, told, "web")[0].startswith("web was given up: it needed migrate to end well")
    lines = why(DOWN, told, None)
    assert lines[0].startswith("web cannot start without migrate, which ended with exit code 1")
    assert lines[-1] == "  - `cohabit restart migrate web` (after a change of the file `cohabit reload`)"
    slow = service("db", ready=False, probe=probe())
    told[1]["depends_on"].append(needs("db", HEALTHY))
    assert not any("without db" in line for line in why(DOWN, [*told, slow], None))


def test_a_service_stopped_by_hand_is_to_be_started() -> None:
    """Whoever waits for it waits until somebody starts it."""
    assert why(DOWN, [stopped("db"), waiting("web", needs("db"))], "web")[1:] == [
        "  db was stopped by hand (stop, kill), since 02:39:00Z (1m ago)",
        "what to do:",
        "  - `cohabit start db`",
    ]


def test_a_dependency_stopped_by_hand_is_named() -> None:
    """A service that runs on without it is not well for long, and the whole always names who was stopped."""
    told = [stopped("db"), service("web", depends_on=[needs("db")])]
    assert why(container(), told, "web")[1:] == [
        "  db, which it depends on, was stopped by hand",
        "what to do:",
        "  - `cohabit start db`",
    ]
    assert why(container(), told, None)[-1] == "stopped by hand: db (cohabit start db)"
    assert why(DOWN, [*told, ended("mail", 3)], None)[-2:] == ["", "stopped by hand: db (cohabit start db)"]
    waits = why(DOWN, [stopped("db"), waiting("web", needs("db"))], None)
    assert not any(line.startswith("stopped by hand") for line in waits)


def test_the_only_advice_needs_no_then() -> None:
    """Where nothing is known, its log may tell, if there is any."""
    again = "`cohabit restart web` (after a change of the file `cohabit reload`)"
    told = ended("web", 3, restart="on-failure")
    assert why(DOWN, [told], "web")[-2:] == ["what to do:", f"  - {again}"]
    assert why(DOWN, [told | {"output": ["x"]}], "web")[-3:] == [
        "what to do:",
        "  - look at all that it wrote: `cohabit logs web`",
        f"  - then {again}",
    ]


def test_a_port_in_use_is_somebodys() -> None:
    """A service of the same file whose probe or command shows the port, or the one that it wants itself."""
    lines = ["bind 0.0.0.0:8080: Address already in use"]
    others = [service("api", command=["serve", "--port=8080"]), healthy("db")]
    assert "port 8080 is that of api" in why(DOWN, [crashing(output=lines), *others], "web")[-1]
    bare = crashing(output=["OSError: [Errno 98] Address already in use"], command=["serve", "5432"])
    assert "port 5432 is that of db" in "".join(why(DOWN, [bare, *others], "web"))
    other = crashing(output=["listen tcp :9090: bind: address already in use"])
    assert not any("is that of" in line for line in why(DOWN, [other, *others], "web"))


def test_a_failure_in_unknown_words_hides_what_came_before() -> None:
    """What a program got over is not what it died of."""
    assert "refused" not in advice(crashing(output=["db: connection refused, trying again", "FATAL: no licence"]))
    assert "refused" in advice(crashing(output=["FATAL: no licence", "db: connection refused"]))


def test_a_restart_for_the_probes_sake_is_called_so() -> None:
    """Not its restart policy starts it again."""
    lines = why(DOWN, [crashing(why="unhealthy: no answer within 5s", restart="no", on_failure="restart")], "web")
    assert lines[1].endswith("(on_failure: restart)")


def test_a_name_stands_for_all_its_replicas() -> None:
    """The name web is that of web-1 and web-2; a name that nobody has is said to be none."""
    replicas = [service(f"web-{number}", service="web", replica=number) for number in (1, 2)]
    assert [line.split()[0] for line in why(container(), replicas, "web") if line] == ["web-1", "web-2"]
    assert why(container(), replicas, "w\nb") == [r"there is no service 'w\nb' (there are: web, web-1, web-2)"]
    assert why(container(), replicas, "wep") == ["there is no service 'wep' (did you mean 'web'?)"]
    many = [service(f"s{number:02}") for number in range(12)]
    told = f"there is no service 'x' (there are: {', '.join(one['name'] for one in many[:10])} and 2 more)"
    assert why(container(), many, "x") == [told]


def test_a_circle_ends() -> None:
    """A Plan has none; an answer may be anything. Each is told once, where it was first met."""
    told = [waiting("a", needs("b")), waiting("b", needs("a"))]
    assert [(cause["service"], cause["depth"]) for cause in why_json(DOWN, told, "b")] == [("b", 0), ("a", 1)]
    assert [cause["service"] for cause in why_json(DOWN, told, None)] == ["a", "b"]


# --- the life of the container ------------------------------------------------------------------------


def test_while_the_file_is_being_read_nothing_else_is_known() -> None:
    """Every question has the same answer then."""
    whole = container(phase="loading", started=NOW - 1)
    assert (
        why(whole, [], None)
        == why(whole, [], "web")
        == ["nothing runs yet: the file is being read, since 02:39:59Z (1s ago)"]
    )


def test_a_stop_tells_who_is_left_and_when_the_kill_comes() -> None:
    """Who waits for whom to end, and what each has been sent."""
    told = [
        service("db", want="down"),
        service("web", state="STOPPING", want="down", since=NOW - 1, next=NOW + 9, depends_on=[needs("db")]),
        ended("mail"),
    ]
    whole = container(phase="stopping", exit_reason="mail ended with exit code 1", code=1)
    assert why(whole, told, None) == [
        "everything is being stopped: mail ended with exit code 1",
        "  all of it within 9s (x-cohabit stop_grace_period), then SIGKILL to what is left",
        "  web is being stopped, since 02:39:59Z (1s ago)",
        "    it got SIGTERM at 02:39:59Z (1s ago); SIGKILL comes in 9s, at 02:40:09Z (stop_grace_period 10s)",
        "  db is to be stopped, and waits for web to end first",
    ]


def test_a_shell_that_does_not_go_is_told_how() -> None:
    """The shell form swallows the signal."""
    told = service(state="STOPPING", want="down", since=NOW - 5, next=NOW + 5, command=["sh", "-c", "./run"])
    assert "keeps SIGTERM for itself" in advice(told)


# --- single situations --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (crashing(code=0, command=["nginx"]), "keeps ending"),
        (crashing(restarts=1), "web ended with exit code 1 after 2s, and is started again"),
        (service(ready=False, hook_stage="post_start"), "is not ready: its post_start hook 1 still runs"),
        (
            service(state="STARTING", hook_stage="pre_start", hook_index=1),
            "is being started: its pre_start hook 2 still runs",
        ),
        (
            ended(state="FATAL", restarts=5, attempts=5),
            "was given up after 5 restarts in a row: the last time it ended",
        ),
        (ended(state="FATAL", why="pre_start hook 1 ended with exit code 3"), "could not be started: its pre_start"),
        (ended(code=1, why="post_start hook 1 ended with exit code 1"), "was ended, because its post_start hook 1"),
        (crashing(why="unhealthy: no answer within 5s"), "the last time it was unhealthy: no answer"),
        (service(restarts=7, started=NOW - 1), "runs again, after 7 restarts in a row"),
        (ended(code=0, job=True, schedule="*/5 * * * *"), "is between two runs, schedule */5 * * * *: its last run"),
        (stopped(gone=True), "no longer in the file"),
        (stopped(restart_pending=True), "about to be started again"),
        (service(ready=False), "though it has no healthcheck"),
        (waiting("web"), "is about to be started"),
        (service(state="NEW"), "is in a state that is not known here: NEW"),
        (service(state="STOPPING", restart_pending=True), "is being stopped, to be started again"),
    ],
)
def test_each_situation_has_its_words(told: Status, words: str) -> None:
    """The first line says what is the matter."""
    assert words in text(told)


def test_out_of_memory_is_told_with_the_limit() -> None:
    """The kernel's SIGKILL is not anybody's."""
    told = crashing(code=137, out_of_memory=True, why="ended with SIGKILL (killed) after 41s")
    whole = container(memory_limit=256 * 2**20)
    assert "was killed by SIGKILL after 41s: out of memory, the container's limit is 256 MiB" in text(told, whole)
    assert "docker run --memory" in advice(told, whole)
    given_up = "ended with SIGKILL (killed), out of memory, after 2s; given up after 1 restart"
    last = ended(code=137, out_of_memory=True, why=given_up, state="FATAL", restarts=1, attempts=1)
    assert text(last).startswith(
        "web was given up after 1 restart in a row: the last time it was killed by SIGKILL after 2s: out of memory, at"
    )
    child = crashing(code=1, out_of_memory=True, why="ended with exit code 1, out of memory, after 2s")
    assert "ended with exit code 1 after 2s; the kernel had killed a process of it: out of memory" in text(child)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (ended(code=127, command=["gunicorn"]), "gunicorn is not installed in the image, or not in PATH"),
        (ended(code=127, command=["/app/x"]), "/app/x is not in the image, or the interpreter"),
        (ended(code=127, command=["./run --fast"]), "taken as one word"),
        (ended(code=127, command=["sh", "-c", "x"]), "the shell did not find a program"),
        (ended(code=126, command=["./run"]), "./run is there but cannot be run"),
        (
            ended(code=126, command=["sh", "-c", "x"], output=["sh: 1: /x/no.sh: Permission denied"]),
            "/x/no.sh is there but cannot be run",
        ),
        (ended(code=127, command=["sh", "-c", "x"], output=["sh: 1: serve: not found"]), "did not find serve"),
        (
            ended(
                code=126,
                why="cannot start: cannot change to its working directory /srv: it does not exist",
                command=["sh"],
                state="FATAL",
            ),
            "make the directory /srv in the image",
        ),
        (
            ended(code=127, why="cannot start: './x' exists, but the interpreter that its first line names does not"),
            "CRLF",
        ),
        (
            ended(code=137, command=["sh", "-c", "x"]),
            "exit code 137: a child of its shell, or the shell, was killed by SIGKILL, or",
        ),
        (ended(code=137), "SIGKILL came from outside"),
        (ended(code=137, why="ended with SIGKILL (killed) after 9s, having ignored SIGTERM"), "stop_grace_period"),
        (ended(code=139), "a crash in native code"),
        (ended(code=135), "--shm-size"),
        (ended(code=143), "SIGTERM came from outside"),
        (ended(code=0, command=["/usr/sbin/nginx"]), "run nginx -g 'daemon off;'"),
        (ended(code=0, command=["php-fpm8.2"]), "php-fpm -F"),
        (ended(code=0, command=["./x"]), "`pid_file:`"),
        (ended(code=0, command=["bash", "x.sh"]), "`exec PROGRAM`"),
        (crashing(output=["bind: Address already in use"]), '"Address already in use": another process has that port'),
        (crashing(output=["open /x: No such file or directory"]), "a file that it needs is not there"),
        (crashing(output=['"root" execution of the PostgreSQL server is not permitted.']), "give it a `user:`"),
        (crashing(output=["ok", "x: connection refused", ""]), "service_healthy"),
        (crashing(next=NOW + 40), "does not wait for the next attempt"),
        (ended(code=2, job=True, schedule="@daily"), "`cohabit start web` runs it now"),
    ],
)
def test_known_mistakes_have_their_advice(told: Status, words: str) -> None:
    """What somebody who made the same mistake would say."""
    assert words in advice(told)


@pytest.mark.parametrize(
    ("asked", "said", "words"),
    [
        ("TCP 127.0.0.1:80", "connection refused (127.0.0.1:80)", "only on another address ([::1]"),
        ("TCP [::1]:80", "connection refused ([::1]:80)", "only on another address (127.0.0.1"),
        ("UNIX /run/x.sock", "no such file or directory (/run/x.sock)", "nobody listens on that socket"),
        ("TCP 127.0.0.1:80", "no answer within 5s", "hangs or is overloaded"),
        ("HTTP http://127.0.0.1/", "HTTP/1.1 404 Not Found", "is the path of the `healthcheck:` right"),
        ("HTTP http://127.0.0.1/", "HTTP/1.1 503 Service Unavailable", "its own log says why"),
        ("HTTP http://127.0.0.1/", "not an HTTP answer: 'x' (127.0.0.1:80)", "does not speak HTTP"),
        ("EXEC curl", "cannot run the probe: cannot execute curl: No such file", "is not in the image"),
        ("EXEC check -x", "the probe ended with exit code 1", "`cohabit exec web -- check -x`"),
        ("EXEC /bin/sh -c a || b", "the probe ended with exit code 1", "`cohabit exec web -- /bin/sh -c 'a || b'`"),
        ("EXEC check", "no answer within 5s", "its probe command did not end within 5s"),
        ("NOTIFY", "it has not said that it is ready", "READY=1"),
        ("LOG ready", "it has not said that it is ready", "`cohabit logs web`"),
        ("FD 3", "it has not said that it is ready", "a newline to that descriptor"),
    ],
)
def test_a_probe_that_does_not_pass_is_explained(asked: str, said: str, words: str) -> None:
    """What is asked, what the answer was, and what that means."""
    told = service(ready=False, health="starting", probe=probe(asked, failures=1), results=[answer(said)])
    lines = why(DOWN, [told], "web")
    assert any(asked in line and "1 failure in a row, 3 make it unhealthy" in line for line in lines)
    assert any(line.strip() == f"last answer: {said}, at 02:39:59Z (1s ago)" for line in lines)
    assert words in advice(told)
    assert "start_period" in advice(told)


def test_output_that_is_not_kept_is_found_elsewhere() -> None:
    """A driver that keeps no lines is no proof of silence."""
    assert any("it has written nothing" in line for line in why(DOWN, [crashing()], "web"))
    for driver in ("raw", "inherit"):
        assert any("`docker logs`" in line for line in why(DOWN, [crashing(driver=driver)], "web"))
    for driver in ("", "json", "none", "file", "syslog", "raw, file"):
        assert any("it has written nothing" in line for line in why(DOWN, [crashing(driver=driver)], "web"))


def test_a_job_that_never_ends_is_waited_for_in_vain() -> None:
    """Who waits for the end of a server, or of what is always started again, is told so."""
    always = [service("migrate", restart="always"), waiting("web", needs("migrate", DONE))]
    assert "it is never done" in why(DOWN, always, "web")[-1]
    again = [crashing("migrate", 0), waiting("web", needs("migrate", DONE))]
    assert "it is never done" in why(DOWN, again, "web")[-1]


# --- both forms, and anything at all ------------------------------------------------------------------


def test_programs_get_the_same() -> None:
    """One object for each cause, in reading order."""
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
    """What a service wrote stands behind its mark, on one line."""
    lines = why(DOWN, [crashing(output=["x\nweb is well\x1b[1A"])], "web")
    assert r"    | x\nweb is well\x1b[1A" in lines


@given(
    whole=strange(container()),
    services=SERVICES,
    name=st.none() | st.sampled_from(["a", "b"]) | st.text(max_size=5),
    width=st.integers(8, 160),
)
def test_no_answer_however_strange_is_left_without_words(
    whole: Status, services: list[Status], name: str | None, width: int
) -> None:
    """No exception, at least one line, none too wide, nothing that a terminal would obey."""
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
    """Whoever waits for whomever, in circles too: each is told once, and the whole names everybody who is not well."""
    told = [
        make(name, depends_on=[needs(other) for other in sorted(others)])
        for make, name, others in zip(made, NAMES, wanted, strict=True)
    ]
    for name in NAMES:
        found = [cause["service"] for cause in why_json(DOWN, told, name)]
        assert found[0] == name
        assert len(found) == len(set(found)) <= len(NAMES) + 1
    whole = " ".join(re.sub(r"[,`]", " ", line) for line in why(DOWN, told, None))
    for one in told:
        if one["state"] == "BACKOFF" or (one["state"] == "STOPPED" and one["want"] == "up"):
            assert f" {one['name']} " in f" {whole} "
