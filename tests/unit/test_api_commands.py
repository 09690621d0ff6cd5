"""api/commands.py and conditions.py: what each command asks of the engine, and when it is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from cohabit.api import commands
from cohabit.api.commands import PendingReply, RequestContext, Subscription
from cohabit.api.conditions import affected
from cohabit.api.protocol import Answer, Request, RequestError, encode
from cohabit.api.serialisers import Clock
from cohabit.api.status import BlockedOutput
from cohabit.engine.events import (
    Due,
    Exited,
    HookEnded,
    Loaded,
    LoadFailed,
    Probed,
    ReloadRequested,
    Requested,
    SignalRefused,
    StopRequested,
)
from cohabit.engine.supervisor import Supervisor
from cohabit.errors import EXIT_USAGE
from cohabit.plan.model import Hook, Logging, Restart, Schedule
from cohabit.plan.reason import SIGNAL_REFUSED, Reason
from unit.engine_story import PROBE, completed, healthy, plan, service, up

if TYPE_CHECKING:
    from cohabit.engine.events import Event
    from cohabit.plan.model import Plan

ALWAYS = Restart("always")


class Backend:
    """A real engine with virtual time, and fixed values for what the reactor knows."""

    def __init__(self, first: Plan | None = None) -> None:
        self.engine = Supervisor()
        self.now = 0.0
        self.successor: str | None = None
        self.blocked: dict[str, tuple[BlockedOutput, ...]] = {}
        if first is not None:
            self.feed(Loaded(first))

    def feed(self, *events: Event) -> None:
        """Feed events to the engine, one second apart."""
        for event in events:
            self.now += 1.0
            self.engine.step(event, self.now)

    def run(self, command: str, *names: str, trusted: bool = True, purpose: str = "", **options: str) -> Any:
        """Return the outcome of a request, with the events of a PendingReply fed. purpose: the option `for`."""
        options |= {"for": purpose} if purpose else {}
        clock = Clock(1_000_000.0 + self.now, self.now)
        outcome = commands.begin(RequestContext(Request(command, options, names), self, clock, trusted=trusted))
        if isinstance(outcome, PendingReply):
            self.feed(*outcome.events)
        return outcome

    def container_details(self) -> dict[str, Any]:
        """Return fixed values."""
        return {"pid": 1, "started": 1_000_000.0, "memory_limit": None, "programs": ()}

    def service_details(self, services: list[str], lines: int) -> dict[str, dict[str, Any]]:
        """Return one process and the given number of lines for each service."""
        return {
            name: {"pids": (7,), "next_run": None, "output": ("x",) * lines or None, "output_before": None}
            for name in services
        }

    def blocked_output(self, _clock: Clock) -> dict[str, tuple[BlockedOutput, ...]]:
        """Return what a test has set."""
        return self.blocked

    def environment_of(self, service: str) -> dict[str, Any]:
        """Return the name only."""
        return {"name": service}

    def replace(self) -> None:
        """Begin the check of the installed program."""
        self.successor = None

    def replacing(self) -> str | None:
        """Return the result of the check."""
        return self.successor


def up_with(*services: Any) -> Backend:
    """Return a backend in which these services run. Those with a probe have passed it."""
    backend = Backend(plan(*services))
    for one in services:
        if one.schedule is None:
            backend.feed(up(one.name))
        if one.probe:
            backend.feed(Probed(one.name, passed=True))
    return backend


def refusal(backend: Backend, command: str, *names: str, trusted: bool = True, **options: str) -> tuple[int, str]:
    """Return code and text of a request that is refused."""
    with pytest.raises(RequestError) as caught:
        backend.run(command, *names, trusted=trusted, purpose="", **options)
    return caught.value.code, str(caught.value)


# --- changes -------------------------------------------------------------------------------------------


def test_stop_is_answered_when_no_process_is_left() -> None:
    """A stop waits for the end of all its services, and names those that were killed."""
    backend = up_with(service("db"), service("web"))
    waiting = backend.run("stop", "db", "web")
    assert waiting.events == (Requested("stop", ("db", "web")),)
    backend.feed(Exited("db", 0))
    assert waiting.poll() is None
    backend.engine.units["web"].run.kill()
    backend.feed(Exited("web", 137))
    assert waiting.poll() == Answer(0, "stopped: db, web (killed: web)")


def test_start_is_answered_when_the_service_is_ready() -> None:
    """A start waits for the probe, not only for the process."""
    backend = up_with(service("web", probe=PROBE))
    backend.run("stop", "web")
    backend.feed(Exited("web", 143))
    waiting = backend.run("start", "web")
    assert waiting.poll() is None
    backend.feed(up("web"))
    assert waiting.poll() is None
    backend.feed(Probed("web", passed=True))
    assert waiting.poll() == Answer(0, "ready: web")


def test_start_of_a_service_that_does_not_take_part_reads_the_file_with_it() -> None:
    """Services of the file behind an inactive profile start, as in Compose; the answer waits until they are ready."""
    backend = up_with(service("web"))
    backend.feed(ReloadRequested())
    backend.feed(Loaded(plan(service("web")).replace(inactive=("dbg", "other"))))
    waiting = backend.run("start", "dbg", "web")
    assert waiting.events == (Requested("start", ("web",)), ReloadRequested({"dbg": None}))
    assert waiting.poll() is None
    backend.feed(Loaded(plan(service("web"), service("dbg")).replace(inactive=("other",))))
    assert waiting.poll() is None
    backend.feed(up("dbg"))
    assert waiting.poll() == Answer(0, "ready: web, dbg")
    assert refusal(backend, "stop", "other")[0] == EXIT_USAGE
    assert refusal(backend, "start", "other", "nope")[0] == EXIT_USAGE


def test_start_of_a_service_that_takes_part_for_another_one_records_it() -> None:
    """It stays when the other one is scaled to 0: it was started by name, too."""
    backend = up_with(service("web"))
    backend.feed(ReloadRequested())
    backend.feed(Loaded(plan(service("web"), service("mock")).replace(joined=("mock",), inactive=("other",))))
    backend.feed(up("mock"))
    waiting = backend.run("start", "mock", "other")
    assert waiting.events == (Requested("start", ("mock",)), ReloadRequested({"mock": None, "other": None}))
    assert backend.run("start", "web").events == (Requested("start", ("web",)),)


def test_a_reload_reports_a_signal_that_it_needs_and_that_is_refused() -> None:
    """`scale` and `reload` fail if an instance that they remove or restart cannot be signalled; others do not count."""
    refused = Reason(SIGNAL_REFUSED, signal=15, detail="process 7 (x) of user 33")
    backend = up_with(service("web"), service("old"), service("db"))
    backend.feed(Requested("stop", ("db",)))
    backend.feed(SignalRefused("db", refused))
    waiting = backend.run("scale", web="0")
    backend.feed(Loaded(plan(service("web"), service("db"))))
    backend.feed(SignalRefused("old", refused))
    answer = waiting.poll()
    assert answer is not None
    assert answer.code == 1
    assert answer.text.startswith("cannot stop old: SIGTERM could not be sent to process 7 (x) of user 33")
    assert {"text": "reload: old was removed: stopping it"} in answer.body
    backend.run("reload")
    backend.feed(Loaded(plan(service("web"), service("db"))))


def test_a_refused_signal_is_the_answer() -> None:
    """`signal` and `stop` fail with the reason as soon as the kernel has refused."""
    refused = Reason(SIGNAL_REFUSED, signal=1, detail="process 7 (x) of user 33")
    backend = up_with(service("web"))
    waiting = backend.run("kill", "web", signal="HUP")
    backend.feed(SignalRefused("web", refused))
    answer = waiting.poll()
    assert answer is not None
    assert answer.code == 1
    assert "SIGHUP could not be sent to process 7 (x) of user 33" in answer.text
    waiting = backend.run("stop", "web")
    assert waiting.poll() is None
    backend.feed(SignalRefused("web", refused))
    answer = waiting.poll()
    assert answer is not None
    assert (answer.code, answer.text.startswith("cannot stop web: ")) == (1, True)


def test_restart_is_answered_by_the_new_run_only() -> None:
    """A restart is not answered while the old run is still ready."""
    backend = up_with(service("web"))
    waiting = backend.run("restart", "web")
    assert waiting.poll() is None
    backend.feed(Exited("web", 143))
    assert waiting.poll() is None
    backend.feed(up("web"))
    assert waiting.poll() == Answer(0, "ready: web")


def test_start_fails_at_the_first_crash_and_wait_does_not() -> None:
    """`start` is answered at the first crash; `wait` waits through the restart."""
    backend = up_with(service("web", restart=ALWAYS, probe=PROBE))
    backend.run("stop", "web")
    backend.feed(Exited("web", 143))
    starting, waiting = backend.run("start", "web"), backend.run("wait", "web")
    backend.feed(up("web"), Exited("web", 3))
    assert starting.poll() == Answer(1, "web ended with exit code 3 after 1s; it will be restarted")
    assert waiting.poll() is None


def test_start_is_answered_when_the_service_is_stopped_meanwhile() -> None:
    """A start and a wait end when another request stops the service."""
    backend = up_with(service("db", probe=PROBE), service("web", healthy("db")))
    backend.run("stop", "web")
    backend.feed(Exited("web", 143))
    waiting = backend.run("start", "web")
    backend.feed(up("web"))
    backend.run("stop", "web")
    backend.feed(Exited("web", 143))
    assert waiting.poll() == Answer(1, "web was stopped")
    backend.feed(StopRequested(15))
    assert backend.run("wait", "web").poll().code == 1


def test_wait_for_exit_gives_the_code() -> None:
    """The code is the service's exit code, as for `docker wait`, and the text is the reason."""
    backend = up_with(service("db"), service("job", essential=False))
    waiting = backend.run("wait", "job", purpose="exit")
    assert waiting.poll() is None
    backend.feed(Exited("job", 9))
    assert waiting.poll() == Answer(9, "job ended with exit code 9 after 1s", error="ok")


def test_start_is_answered_when_an_indirect_dependency_was_stopped() -> None:
    """A service that depends, also indirectly, on one that was stopped by request cannot start: the answer says so."""
    backend = Backend(plan(service("db", probe=PROBE), service("api", "db", healthy("db")), service("web", "api")))
    waiting = backend.run("start", "web")
    backend.feed(up("db"))
    assert waiting.poll() is None
    backend.run("stop", "db")
    backend.feed(Exited("db", 0))
    assert waiting.poll() == Answer(1, "web waits for db, which was stopped")


def test_stop_is_answered_when_the_service_is_started_meanwhile() -> None:
    """A stop does not wait for the end of the next run."""
    backend = up_with(service("web"))
    waiting = backend.run("stop", "web")
    backend.run("start", "web", wait="no")
    backend.feed(Exited("web", 0))
    assert waiting.poll() == Answer(1, "web is to start again")


def test_wait_for_exit_waits_for_a_service_that_is_about_to_start() -> None:
    """The end of an earlier run does not count while the next one waits for its conditions."""
    backend = up_with(service("db", probe=PROBE, essential=False), service("web", healthy("db"), essential=False))
    backend.feed(Exited("web", 3))
    backend.feed(Probed("db", passed=False), Probed("db", passed=False), Probed("db", passed=False))
    backend.run("start", "web", wait="no")
    assert backend.run("wait", "web", purpose="exit").poll() is None


def test_all_waiters_are_answered_when_the_container_ends() -> None:
    """Waiters are answered even when SIGKILL does not end a process."""
    backend = up_with(service("web"))
    waiting = [backend.run("wait", "web", purpose="exit"), backend.run("kill", "web"), backend.run("wait")]
    backend.feed(StopRequested(15))
    backend.now += 100.0  # all processes are killed
    backend.feed(Due())
    backend.now += 100.0  # a process that survives SIGKILL is given up
    backend.feed(Due())
    assert [one.poll().code for one in waiting] == [0, 0, 1]


def test_wait_for_all_can_begin_before_the_file_is_read() -> None:
    """It waits for the services that the file names, but not for a scheduled job that has not run yet."""
    backend = Backend()
    ready, ended = backend.run("wait"), backend.run("wait", purpose="exit")
    assert (ready.poll(), ended.poll()) == (None, None)
    backend.feed(Loaded(plan(service("web"), service("job", schedule=Schedule("* * * * *"), essential=False))))
    assert (ready.poll(), ended.poll()) == (None, None)
    backend.feed(up("web"))
    assert ready.poll() == Answer(0, "ready: web")
    assert backend.run("wait", "job").poll() == Answer(1, "job has not run yet: it runs on a schedule")


def test_kill_and_signal() -> None:
    """KILL ends the process tree; any other signal goes to the main process, which must exist."""
    backend = up_with(service("web", restart=ALWAYS))
    assert backend.run("kill", "web", signal="HUP").events == (Requested("signal", ("web",), 1),)
    waiting = backend.run("kill", "web")
    assert waiting.events == (Requested("kill", ("web",)),)
    backend.feed(Exited("web", 137))
    assert waiting.poll() == Answer(0, "stopped: web (killed: web)")
    assert refusal(backend, "kill", "web", signal="HUP") == (1, "cannot kill: web has no main process")
    assert refusal(backend, "kill", "web", signal="FOO")[0] == 64


def test_a_signal_of_the_c_library_is_refused() -> None:
    """Signals 32 and 33 are refused."""
    backend = up_with(service("web"))
    for number in ("32", "33"):
        code, why = refusal(backend, "kill", "web", signal=number)
        assert code == 64
        assert "the C library reserves" in why


def test_reload_and_scale_are_answered_by_a_reading_that_began_after_them() -> None:
    """A reading in progress may have begun too early, so the next one counts."""
    backend = up_with(service("web"))
    first = backend.run("reload")
    second = backend.run("scale", web="2")
    backend.feed(Loaded(plan(service("web"))))
    assert first.poll().body == ({"text": "reload: nothing has changed"},)
    assert second.poll() is None
    backend.feed(LoadFailed(("cohabit.yaml:3: no",), 78))
    assert second.poll() == Answer(
        78, "cannot scale: cohabit.yaml:3: no (nothing was changed)", ({"text": "cohabit.yaml:3: no"},)
    )
    assert refusal(backend, "scale")[0] == 64
    for wrong in ("many", "9999999", "-1"):
        assert refusal(backend, "scale", web=wrong)[0] == 64


def test_reexec_is_answered_when_the_installed_program_was_checked() -> None:
    """There is no answer before the result of the check."""
    backend = up_with(service("web"))
    waiting = backend.run("reexec")
    assert waiting.poll() is None
    backend.successor = "cannot re-execute: no"
    assert waiting.poll() == Answer(71, "cannot re-execute: no")
    backend.successor = ""
    assert waiting.poll().code == 0


def test_changes_are_refused_while_loading_and_stopping() -> None:
    """Requests are refused while the file is being read, and once the stop has begun."""
    backend = Backend()
    assert refusal(backend, "stop", "web") == (1, "cannot stop: the file is still being read")
    backend.feed(Loaded(plan(service("web"))), up("web"))
    assert backend.run("down").after_close == (StopRequested(15, "cohabit down"),)
    backend.feed(StopRequested(15))
    assert refusal(backend, "restart", "web") == (1, "cannot restart: everything is being stopped")
    assert backend.run("down") == Answer(0, "everything is being stopped already")


def test_names() -> None:
    """A name selects a service with all its replicas, or one replica. An unknown name is an error with a hint."""
    replicas = [service(f"web-{number}").replace(service="web", replica=number) for number in (1, 2)]
    backend = up_with(service("db"), *replicas)
    assert backend.run("stop", "web", wait="no").events[0].services == ("web-1", "web-2")
    assert backend.run("restart", "web-2", wait="no").events[0].services == ("web-2",)
    assert refusal(backend, "stop", "wbe") == (64, "cannot stop: there is no service 'wbe' (did you mean 'web'?)")
    assert "'all' (for all services: leave it out)" in refusal(backend, "stop", "all")[1]
    assert "leave it out" not in refusal(backend, "wait", "all")[1]
    assert refusal(backend, "stop") == (64, "cannot stop: no service is named")
    unknown = "cannot stop: unknown value wait=perhaps (allowed: yes, no)"
    assert refusal(backend, "stop", "db", wait="perhaps") == (64, unknown)
    assert refusal(backend, "sotp") == (64, "cannot sotp: there is no such command (did you mean 'stop'?)")
    assert refusal(backend, "logs", tail="-1")[0] == refusal(backend, "logs", tail="nan")[0] == 64


# --- queries -------------------------------------------------------------------------------------------


def test_health() -> None:
    """0 when all services that count are ready; otherwise the first reason and the number of further ones."""
    backend = Backend()
    assert backend.run("health") == Answer(1, "the file is still being read", error="loading")
    backend = Backend(plan(service("db", probe=PROBE, restart=ALWAYS), service("web", healthy("db"), restart=ALWAYS)))
    assert backend.run("health") == Answer(1, "db is starting (and 1 more)", error="not_ready")
    backend.feed(up("db"), Probed("db", passed=False, output="refused"))
    assert backend.run("health") == Answer(
        1, "db is running and not ready yet: refused (and 1 more)", error="not_ready"
    )
    assert backend.run("health", "web") == Answer(1, "web waits for db", error="not_ready")
    backend.feed(Probed("db", passed=True), up("web"))
    assert backend.run("health") == Answer(0, "ready: 2 services")
    backend.feed(Exited("web", 5))
    assert backend.run("health") == Answer(1, "web ended with exit code 5 after 1s", error="not_ready")
    assert backend.run("health", purpose="live") == Answer(0, "alive: up")


def test_a_service_whose_output_is_blocked_is_not_ready() -> None:
    """It shows in `health` and `status`, but does not make the container dead: a restart would not help."""
    backend = up_with(service("db", probe=PROBE), service("web"))
    backend.blocked = {
        "web": (BlockedOutput("stderr", "/log/web", 1_000_000.0 + backend.now - 12.0, "No space left on device"),)
    }
    waits = "the output of web has waited 12s for /log/web, which accepts none (No space left on device)"
    assert backend.run("health") == Answer(1, waits, error="not_ready")
    assert backend.run("health", "db").code == 0
    assert backend.run("health", purpose="live").code == 0
    container, db, web = backend.run("status").body
    assert (container.ready, db.blocked_output, web.blocked_output) == (False, (), backend.blocked["web"])
    backend.blocked = {"web": (BlockedOutput("stdout", "stdout", None, ""),)}
    waits = "the output of web has waited for the container's stdout, which accepts none"
    assert backend.run("health") == Answer(1, waits, error="not_ready")


def test_health_ignores_services_that_do_not_count() -> None:
    """Stopped, scheduled and non-essential services count only if they are named."""
    backend = up_with(
        service("db"), service("web"), service("extra", essential=False),
        service("job", schedule=Schedule("* * * * *"), essential=False, job=True),
    )  # fmt: skip
    backend.run("stop", "web")
    backend.feed(Exited("web", 143), Exited("extra", 1))
    assert backend.run("health") == Answer(0, "ready: 1 service")
    assert backend.run("health", "web") == Answer(1, "web is stopped", error="not_ready")


def test_live_fails_for_an_unhealthy_service() -> None:
    """`for=live` fails when a restart of the container may help."""
    backend = up_with(service("db", probe=PROBE.replace(retries=1)))
    backend.feed(Probed("db", passed=False, output="refused"))
    assert backend.run("health", purpose="live") == Answer(1, "db is unhealthy: refused")


def test_instances_stand_with_their_service() -> None:
    """Those that `scale` has added are behind the others in the engine."""
    web = [service(f"web-{number}", service="web", replica=number) for number in (1, 2)]
    backend = up_with(web[0], service("db"))
    backend.feed(ReloadRequested({"web": 2}), Loaded(plan(*web, service("db"))))
    assert list(backend.engine.units) == ["web-1", "db", "web-2"]
    names = [one.to_json()["name"] for one in backend.run("status").body[1:]]
    assert names == ["web-1", "web-2", "db"]


def test_what_does_not_run_is_not_killed() -> None:
    """A kill says what it killed, not what was killed before; a job that has ended is not killed."""
    backend = up_with(service("web"), service("job", essential=False), service("db", restart=ALWAYS))
    backend.feed(Exited("job", 0), Exited("db", 1))
    assert backend.run("kill", "web", "job", "db").events == (Requested("kill", ("web", "db")),)
    backend.feed(Exited("web", 137))
    assert refusal(backend, "kill", "web") == (1, "cannot kill: web is not running")
    assert refusal(backend, "kill", "web", "job") == (1, "cannot kill: web, job are not running")
    assert backend.run("stop", "web").poll() == Answer(0, "stopped: web")


def test_a_grace_period_is_given_to_the_engine() -> None:
    """Of stop, restart and down; it is not negative."""
    backend = up_with(service("web"))
    reply = backend.run("restart", "web", grace="3")
    assert reply.events == (Requested("restart", ("web",), grace_seconds=3.0),)
    assert backend.run("down", grace="20").after_close == (StopRequested(15, "cohabit down", 20.0),)
    assert backend.run("down").after_close == (StopRequested(15, "cohabit down"),)
    assert refusal(up_with(service("web")), "stop", "web", grace="-1")[0] == EXIT_USAGE


def test_status_is_json_with_the_documented_fields() -> None:
    """`status` can be encoded and has fields of docs/reference/control.md."""
    logging = (Logging("json"), Logging("file", path="/log/db"))
    backend = up_with(service("db", probe=PROBE, restart=ALWAYS, logging=logging), service("web", healthy("db")))
    backend.feed(Exited("db", 3))
    answer = backend.run("status", output="2")
    assert encode(answer)
    us, db, web = (one.to_json() for one in answer.body)
    assert (us["phase"], us["pid"], us["ready"]) == ("up", 1, False)
    assert (db["state"], db["code"], db["restarts"], db["output"], db["pids"]) == ("BACKOFF", 3, 1, ["x", "x"], [7])
    assert (db["why"], db["reason"]) == (
        "ended with exit code 3 after 3s",
        {"kind": "exited", "code": 3, "seconds": 3.0},
    )
    assert [(each["text"], each["reason"]) for each in db["history"][-1:]] == [(db["why"], db["reason"])]
    assert (us["exit_reason"], us["reason"], web["reason"]) == ("", None, None)
    assert db["next"] == pytest.approx(db["since"] + 0.1)
    counters = {"starts": 1, "restarts": 0, "exits": {"exited": 1}, "probes_passed": 1, "probes_failed": 0}
    assert db["counters"] == counters
    assert db["probe"]["text"] == "TCP 127.0.0.1:5432"
    assert (db["driver"], web["driver"]) == ("json, file", "prefix")
    assert web["depends_on"] == [
        {"service": "db", "condition": "service_healthy", "required": True, "satisfied": False}
    ]
    assert [each["event"] for each in web["timeline"]] == ["wanted", "STARTING", "RUNNING", "ready"]


def test_the_event_of_an_unhealthy_service_has_the_output_of_the_probe_as_its_text() -> None:
    """Its reason is the same value as in `status`."""
    backend = up_with(service("db", probe=PROBE.replace(retries=1, on_failure="exit")))
    backend.feed(Probed("db", passed=True))
    backend.feed(Probed("db", passed=False, output="refused"))
    us, db = (one.to_json() for one in backend.run("status").body)
    found = {each["event"]: each for each in (*us["history"], *db["history"])}
    reason = {"kind": "unhealthy", "detail": "refused"}
    assert (found["unhealthy"]["text"], found["unhealthy"]["reason"]) == ("refused", reason)
    assert (db["why"], db["reason"]) == ("unhealthy: refused", reason)
    assert (us["exit_reason"], us["reason"]) == (
        "db unhealthy: refused", {"kind": "service-ended", "service": "db", "cause": reason},
    )  # fmt: skip
    assert (found["stopping"]["text"], found["stopping"]["reason"]) == (us["exit_reason"], us["reason"])


def test_service_is_for_trusted_clients_only() -> None:
    """An environment may hold secrets, so other clients are refused."""
    backend = up_with(service("web"), service("db"))
    assert backend.run("service", "web") == Answer(0, "", ({"name": "web"},))
    assert refusal(backend, "service", "web", trusted=False)[0] == 77
    assert refusal(backend, "service", "web", "db")[0] == 64


def test_affected_services() -> None:
    """Those that changed and all that depend on them; all after a change of the container."""
    backend = up_with(
        *(service(*names, essential=False) for names in (("db",), ("app", "db"), ("web", "app"), ("mail",)))
    )
    backend.feed(Exited("db", 1))
    assert affected(backend.engine) == {"db", "app", "web"}
    backend.feed(Probed("mail", passed=True))
    assert affected(backend.engine) == set()
    backend.feed(Requested("stop", ("db",)))  # it is not running: no transition
    assert not backend.engine.services.transitions
    assert affected(backend.engine) == {"db", "app", "web"}
    backend.feed(StopRequested(15))
    assert affected(backend.engine) is None


def test_what_changes_without_a_transition_is_affected() -> None:
    """A job that is ready, a signal that is refused."""
    backend = Backend(plan(service("job", job=True, post_start=(Hook(("hook",)),), essential=False), service("other")))
    backend.feed(up("job"), HookEnded("job", 0))
    assert not backend.engine.services.transitions
    assert affected(backend.engine) == {"job"}
    backend.feed(Requested("stop", ("job",)), SignalRefused("job", Reason(SIGNAL_REFUSED)))
    assert affected(backend.engine) == {"job"}


def test_the_end_of_a_dependent_that_removes_a_service_answers_for_that_one() -> None:
    """A removed service is known until its removed dependents have ended. It has no transition of its own then."""
    db, web = service("db", job=True, essential=False), service("web", completed("db"), essential=False)
    mail = service("mail", probe=PROBE)
    backend = Backend(plan(db, web, mail))
    backend.feed(up("db"), Exited("db", 0), up("web"), up("mail"))
    waiting = backend.run("wait", "db", "mail")
    backend.feed(Loaded(plan(mail)))
    assert waiting.poll() is None
    backend.feed(Exited("web", 0))
    assert affected(backend.engine) == {"db", "web", "mail"}
    assert waiting.poll() == Answer(1, "db is no longer in the file")


def test_a_waiting_request_concerns_its_services() -> None:
    """Without names, all; a reload concerns the container only."""
    backend = up_with(service("web"), service("db"))
    for command in ("stop", "start", "restart", "kill", "wait"):
        assert backend.run(command, "web").services == ("web",)
    assert backend.run("wait", "web", purpose="exit").services == ("web",)
    assert backend.run("wait").services is backend.run("wait", purpose="exit").services is None
    assert backend.run("reload").services == ()


def test_streams() -> None:
    """The options of logs and events become fields of a Subscription."""
    backend = up_with(service("web"), service("db"))
    assert backend.run("logs", "web", tail="5", follow="yes") == Subscription(
        "logs", ("web",), every=False, tail=5, since=0.0, follow=True
    )
    assert backend.run("events", since="12.5") == Subscription(
        "events", ("web", "db"), every=True, tail=None, since=12.5, follow=False
    )
    assert backend.run("logs", "cohabit").services == ("cohabit",)


_NAMES = some.sampled_from(["web", "db", "cohabit", "nobody", "", "\0", "a" * 300])
_OPTIONS = some.dictionaries(
    some.sampled_from(["for", "wait", "signal", "tail", "since", "follow", "output", "web"]),
    some.sampled_from(["", "yes", "no", "ready", "live", "exit", "9", "-1", "1e999", "nan", "KILL", "x" * 50]),
)


@given(some.sampled_from([*commands.COMMANDS, "", "no"]), some.lists(_NAMES), _OPTIONS, some.booleans())
def test_any_request_has_an_outcome(command: str, names: list[str], options: dict[str, str], trusted: bool) -> None:
    """Any arguments give an outcome or a refusal, and the engine goes on."""
    backend = up_with(service("web", restart=ALWAYS), service("db", probe=PROBE))
    try:
        outcome = backend.run(command, *names, trusted=trusted, purpose=options.pop("for", ""), **options)
    except RequestError:
        return
    if isinstance(outcome, PendingReply):
        answer = outcome.poll()
        assert answer is None or encode(answer)
    elif isinstance(outcome, Answer):
        assert encode(outcome)
    backend.feed(StopRequested(15))
