"""doors/commands.py and states.py: what each request asks of the engine, and when it is answered with what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from cohabit.api import commands
from cohabit.api.commands import PendingReply, RequestContext, Subscription
from cohabit.api.protocol import Answer, Request, RequestError, encode
from cohabit.api.serialisers import Clock
from cohabit.engine.events import Due, Exited, Loaded, LoadFailed, Probed, Requested, StopRequested
from cohabit.engine.supervisor import Supervisor
from cohabit.plan.model import Logging, Restart, Schedule
from unit.engine_story import PROBE, healthy, plan, service, up

if TYPE_CHECKING:
    from cohabit.engine.events import Event
    from cohabit.plan.model import Plan

ALWAYS = Restart("always")


class Backend:
    """An engine with a clock, and what a reactor would know."""

    def __init__(self, first: Plan | None = None) -> None:
        self.engine = Supervisor()
        self.now = 0.0
        self.successor: str | None = None
        if first is not None:
            self.happens(Loaded(first))

    def happens(self, *facts: Event) -> None:
        """Facts, each a second later."""
        for fact in facts:
            self.now += 1.0
            self.engine.step(fact, self.now)

    def ask(self, verb: str, *names: str, trusted: bool = True, purpose: str = "", **options: str) -> Any:
        """The outcome of a request; facts of a Waiting are fed. purpose: of the option `for`."""
        options |= {"for": purpose} if purpose else {}
        clock = Clock(1_000_000.0 + self.now, self.now)
        outcome = commands.begin(RequestContext(Request(verb, options, names), self, clock, trusted=trusted))
        if isinstance(outcome, PendingReply):
            self.happens(*outcome.facts)
        return outcome

    def facts_of_us(self) -> dict[str, Any]:
        """What the engine does not know."""
        return {"pid": 1, "started": 1_000_000.0, "memory_limit": None}

    def facts_of(self, services: list[str], lines: int) -> dict[str, dict[str, Any]]:
        """A process and some lines for each."""
        return {name: {"pids": [7], **({"output": ["x"] * lines} if lines else {})} for name in services}

    def environment_of(self, service: str) -> dict[str, Any]:
        """Its name only."""
        return {"name": service}

    def replace(self) -> None:
        """A successor is being asked."""
        self.successor = None

    def replacing(self) -> str | None:
        """What it has said."""
        return self.successor


def up_with(*services: Any) -> Backend:
    """A house in which these run; those with a probe have passed it."""
    house = Backend(plan(*services))
    for one in services:
        if one.schedule is None:
            house.happens(up(one.name))
        if one.probe:
            house.happens(Probed(one.name, passed=True))
    return house


def refusal(house: Backend, verb: str, *names: str, trusted: bool = True, **options: str) -> tuple[int, str]:
    """Code and text of a request that is refused."""
    with pytest.raises(RequestError) as caught:
        house.ask(verb, *names, trusted=trusted, purpose="", **options)
    return caught.value.code, str(caught.value)


# --- acting --------------------------------------------------------------------------------------------


def test_stop_is_answered_when_nothing_lives() -> None:
    """A stop waits for the end of all it stops, and says whom it had to kill."""
    house = up_with(service("db"), service("web"))
    waiting = house.ask("stop", "db", "web")
    assert waiting.facts == (Requested("stop", ("db", "web")),)
    house.happens(Exited("db", 0))
    assert waiting.done() is None
    house.engine.units["web"].killed = True
    house.happens(Exited("web", 137))
    assert waiting.done() == Answer(0, "stopped: db, web (killed: web)")


def test_start_is_answered_when_it_is_ready() -> None:
    """A start waits for the probe, not only for the process."""
    house = up_with(service("web", probe=PROBE))
    house.ask("stop", "web")
    house.happens(Exited("web", 143))
    waiting = house.ask("start", "web")
    assert waiting.done() is None
    house.happens(up("web"))
    assert waiting.done() is None
    house.happens(Probed("web", passed=True))
    assert waiting.done() == Answer(0, "ready: web")


def test_restart_is_answered_by_the_new_run_only() -> None:
    """The old run is ready, too: that is no answer."""
    house = up_with(service("web"))
    waiting = house.ask("restart", "web")
    assert waiting.done() is None
    house.happens(Exited("web", 143))
    assert waiting.done() is None
    house.happens(up("web"))
    assert waiting.done() == Answer(0, "ready: web")


def test_a_start_that_fails_says_so_at_the_first_crash() -> None:
    """Somebody who types `start` wants to know; `wait` is patient."""
    house = up_with(service("web", restart=ALWAYS, probe=PROBE))
    house.ask("stop", "web")
    house.happens(Exited("web", 143))
    starting, waiting = house.ask("start", "web"), house.ask("wait", "web")
    house.happens(up("web"), Exited("web", 3))
    assert starting.done() == Answer(1, "web ended with exit code 3 after 1s; it will be started again")
    assert waiting.done() is None


def test_a_start_of_what_somebody_stops_again_ends() -> None:
    """Nobody waits for ever."""
    house = up_with(service("db", probe=PROBE), service("web", healthy("db")))
    house.ask("stop", "web")
    house.happens(Exited("web", 143))
    waiting = house.ask("start", "web")
    house.happens(up("web"))
    house.ask("stop", "web")
    house.happens(Exited("web", 143))
    assert waiting.done() == Answer(1, "web was stopped")
    house.happens(StopRequested(15))
    assert house.ask("wait", "web").done().code == 1


def test_wait_for_exit_gives_the_code() -> None:
    """As `docker wait`, with the reason behind it."""
    house = up_with(service("db"), service("job", essential=False))
    waiting = house.ask("wait", "job", purpose="exit")
    assert waiting.done() is None
    house.happens(Exited("job", 9))
    assert waiting.done() == Answer(9, "job ended with exit code 9 after 1s")


def test_a_start_that_is_held_up_by_a_stop_is_answered() -> None:
    """Who waits for somebody who is down by request, and be it through others, waits in vain: that is said."""
    house = Backend(plan(service("db", probe=PROBE), service("api", "db", healthy("db")), service("web", "api")))
    waiting = house.ask("start", "web")
    house.happens(up("db"))
    assert waiting.done() is None
    house.ask("stop", "db")
    house.happens(Exited("db", 0))
    assert waiting.done() == Answer(1, "web waits for db, which was stopped")


def test_a_stop_of_what_somebody_starts_again_is_answered() -> None:
    """It was down, and nobody saw it: a stop does not wait for the end of the next run."""
    house = up_with(service("web"))
    waiting = house.ask("stop", "web")
    house.ask("start", "web", wait="no")
    house.happens(Exited("web", 0))
    assert waiting.done() == Answer(1, "web was asked for again")


def test_wait_for_exit_waits_for_who_is_still_to_run() -> None:
    """The end of an earlier run is no answer when another one is on its way."""
    house = up_with(service("db", probe=PROBE, essential=False), service("web", healthy("db"), essential=False))
    house.happens(Exited("web", 3))
    house.happens(Probed("db", passed=False), Probed("db", passed=False), Probed("db", passed=False))
    house.ask("start", "web", wait="no")
    assert house.ask("wait", "web", purpose="exit").done() is None


def test_whoever_waits_is_answered_when_the_container_ends() -> None:
    """Also for a process that even SIGKILL does not end."""
    house = up_with(service("web"))
    waiting = [house.ask("wait", "web", purpose="exit"), house.ask("kill", "web"), house.ask("wait")]
    house.happens(StopRequested(15))
    house.now += 100.0  # all are killed
    house.happens(Due())
    house.now += 100.0  # and who does not die of it is left alone
    house.happens(Due())
    assert [one.done().code for one in waiting] == [0, 0, 1]


def test_wait_for_all_begins_before_the_file_is_read() -> None:
    """It waits for the services that the file will name, and not for a job whose time has not come."""
    house = Backend()
    ready, ended = house.ask("wait"), house.ask("wait", purpose="exit")
    assert (ready.done(), ended.done()) == (None, None)
    house.happens(Loaded(plan(service("web"), service("job", schedule=Schedule("* * * * *"), essential=False))))
    assert (ready.done(), ended.done()) == (None, None)
    house.happens(up("web"))
    assert ready.done() == Answer(0, "ready: web")
    assert house.ask("wait", "job").done() == Answer(1, "job has not run yet: its schedule says when")


def test_kill_and_signal() -> None:
    """KILL is for the tree, any other signal for the main process, and there has to be one."""
    house = up_with(service("web", restart=ALWAYS))
    assert house.ask("kill", "web", signal="HUP").facts == (Requested("signal", ("web",), 1),)
    waiting = house.ask("kill", "web")
    assert waiting.facts == (Requested("kill", ("web",)),)
    house.happens(Exited("web", 137))
    assert waiting.done() == Answer(0, "stopped: web (killed: web)")
    assert refusal(house, "kill", "web", signal="HUP") == (1, "cannot kill: web has no process now")
    assert refusal(house, "kill", "web", signal="FOO")[0] == 64


def test_a_signal_of_the_c_library_is_refused() -> None:
    """Whoever asks, and whatever for."""
    house = up_with(service("web"))
    for number in ("32", "33"):
        code, why = refusal(house, "kill", "web", signal=number)
        assert code == 64
        assert "the C library keeps for itself" in why


def test_reload_and_scale_are_answered_by_their_own_reading() -> None:
    """A reading that is under way may have begun too early, so the next one counts."""
    house = up_with(service("web"))
    first = house.ask("reload")
    second = house.ask("scale", web="2")
    house.happens(Loaded(plan(service("web"))))
    assert first.done().body == ({"text": "reload: nothing has changed"},)
    assert second.done() is None
    house.happens(LoadFailed(("cohabit.yaml:3: no",), 78))
    assert second.done() == Answer(
        78, "cannot scale: cohabit.yaml:3: no (nothing was changed)", ({"text": "cohabit.yaml:3: no"},)
    )
    assert refusal(house, "scale")[0] == 64
    for wrong in ("many", "9999999", "-1"):
        assert refusal(house, "scale", web=wrong)[0] == 64


def test_reexec_is_answered_when_the_successor_was_asked() -> None:
    """Nothing is promised before."""
    house = up_with(service("web"))
    waiting = house.ask("reexec")
    assert waiting.done() is None
    house.successor = "cannot re-execute: no"
    assert waiting.done() == Answer(71, "cannot re-execute: no")
    house.successor = ""
    assert waiting.done().code == 0


def test_nothing_is_asked_of_a_house_that_goes_down() -> None:
    """Nor of one that still reads its file."""
    house = Backend()
    assert refusal(house, "stop", "web") == (1, "cannot stop: the file is still being read")
    house.happens(Loaded(plan(service("web"))), up("web"))
    assert house.ask("down").then == (StopRequested(15, "cohabit down"),)
    house.happens(StopRequested(15))
    assert refusal(house, "restart", "web") == (1, "cannot restart: everything is being stopped")
    assert house.ask("down") == Answer(0, "everything is being stopped already")


def test_names() -> None:
    """A name stands for a service with all its replicas, or for one of them; another one is an error with a hint."""
    replicas = [service(f"web-{number}").replace(service="web", replica=number) for number in (1, 2)]
    house = up_with(service("db"), *replicas)
    assert house.ask("stop", "web", wait="no").facts[0].services == ("web-1", "web-2")
    assert house.ask("restart", "web-2", wait="no").facts[0].services == ("web-2",)
    assert refusal(house, "stop", "wbe") == (64, "cannot stop: there is no service 'wbe' (did you mean 'web'?)")
    assert refusal(house, "stop") == (64, "cannot stop: no service is named")
    assert refusal(house, "stop", "db", wait="perhaps") == (64, "cannot stop: wait=perhaps is unknown")
    assert refusal(house, "sotp") == (64, "cannot sotp: there is no such request (did you mean 'stop'?)")
    assert refusal(house, "logs", tail="-1")[0] == refusal(house, "logs", tail="nan")[0] == 64


# --- looking -------------------------------------------------------------------------------------------


def test_health() -> None:
    """Ready when all that matter are; the first reason is told, and how many more there are."""
    house = Backend()
    assert house.ask("health") == Answer(1, "the file is still being read")
    house = Backend(plan(service("db", probe=PROBE, restart=ALWAYS), service("web", healthy("db"), restart=ALWAYS)))
    assert house.ask("health") == Answer(1, "db is starting (and 1 more)")
    house.happens(up("db"), Probed("db", passed=False, output="refused"))
    assert house.ask("health") == Answer(1, "db is running and not ready yet: refused (and 1 more)")
    assert house.ask("health", "web") == Answer(1, "web waits for db")
    house.happens(Probed("db", passed=True), up("web"))
    assert house.ask("health") == Answer(0, "ready: 2 services")
    house.happens(Exited("web", 5))
    assert house.ask("health") == Answer(1, "web ended with exit code 5 after 1s")
    assert house.ask("health", purpose="live") == Answer(0, "alive: up")


def test_health_counts_what_matters() -> None:
    """Not what was stopped by request, has a schedule, or is not essential; unless it is named."""
    house = up_with(
        service("db"), service("web"), service("extra", essential=False),
        service("job", schedule=Schedule("* * * * *"), essential=False, job=True),
    )  # fmt: skip
    house.ask("stop", "web")
    house.happens(Exited("web", 143), Exited("extra", 1))
    assert house.ask("health") == Answer(0, "ready: 1 service")
    assert house.ask("health", "web") == Answer(1, "web is stopped")


def test_live_fails_for_what_a_restart_would_mend() -> None:
    """An unhealthy service does; one that starts does not."""
    house = up_with(service("db", probe=PROBE.replace(retries=1)))
    house.happens(Probed("db", passed=False, output="refused"))
    assert house.ask("health", purpose="live") == Answer(1, "db is unhealthy: refused")


def test_status_is_json_and_has_what_the_page_says() -> None:
    """Every field of docs/reference/control.md, for services in any state."""
    logging = (Logging("json"), Logging("file", path="/log/db"))
    house = up_with(service("db", probe=PROBE, restart=ALWAYS, logging=logging), service("web", healthy("db")))
    house.happens(Exited("db", 3))
    answer = house.ask("status", output="2")
    assert encode(answer)
    us, db, web = answer.body
    assert (us["phase"], us["pid"], us["ready"]) == ("up", 1, False)
    assert (db["state"], db["code"], db["restarts"], db["output"], db["pids"]) == ("BACKOFF", 3, 1, ["x", "x"], [7])
    assert db["next"] == pytest.approx(db["since"] + 0.1)
    assert db["probe"]["text"] == "TCP 127.0.0.1:5432"
    assert (db["driver"], web["driver"]) == ("json, file", "prefix")
    assert web["depends_on"] == [
        {"service": "db", "condition": "service_healthy", "required": True, "satisfied": False}
    ]
    assert [each["event"] for each in web["timeline"]] == ["wanted", "STARTING", "RUNNING", "ready"]


def test_service_is_for_the_trusted_only() -> None:
    """What is in an environment may be secret."""
    house = up_with(service("web"), service("db"))
    assert house.ask("service", "web") == Answer(0, "", ({"name": "web"},))
    assert refusal(house, "service", "web", trusted=False)[0] == 77
    assert refusal(house, "service", "web", "db")[0] == 64


def test_streams() -> None:
    """Options of logs and events."""
    house = up_with(service("web"), service("db"))
    assert house.ask("logs", "web", tail="5", follow="yes") == Subscription(
        "logs", ("web",), every=False, tail=5, since=0.0, on=True
    )
    assert house.ask("events", since="12.5") == Subscription(
        "events", ("web", "db"), every=True, tail=None, since=12.5, on=False
    )
    assert house.ask("logs", "cohabit").services == ("cohabit",)


_WORDS = some.sampled_from(["web", "db", "cohabit", "nobody", "", "\0", "a" * 300])
_OPTIONS = some.dictionaries(
    some.sampled_from(["for", "wait", "signal", "tail", "since", "follow", "output", "web"]),
    some.sampled_from(["", "yes", "no", "ready", "live", "exit", "9", "-1", "1e999", "nan", "KILL", "x" * 50]),
)


@given(some.sampled_from([*commands.COMMANDS, "", "no"]), some.lists(_WORDS), _OPTIONS, some.booleans())
def test_any_request_has_an_outcome(verb: str, names: list[str], options: dict[str, str], trusted: bool) -> None:
    """Whatever words come, there is an outcome or a refusal in words, and the engine lives."""
    house = up_with(service("web", restart=ALWAYS), service("db", probe=PROBE))
    try:
        outcome = house.ask(verb, *names, trusted=trusted, purpose=options.pop("for", ""), **options)
    except RequestError:
        return
    if isinstance(outcome, PendingReply):
        answer = outcome.done()
        assert answer is None or encode(answer)
    elif isinstance(outcome, Answer):
        assert encode(outcome)
    house.happens(StopRequested(15))
