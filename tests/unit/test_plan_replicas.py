"""plan/replicas.py and build.py: what replicas a service has, who waits for them, and what cannot be."""

from __future__ import annotations

import pytest

from cohabit.plan.build import build
from cohabit.plan.draft import Draft, DraftService, SourceLocation
from cohabit.plan.model import COMPLETED, HEALTHY, Dependency, Plan, Schedule, Service
from cohabit.plan.replicas import scaled

FILE = SourceLocation("f")


def service(name: str, *needs: Dependency, replicas: int | None = None, **words: object) -> DraftService:
    """A service with so many replicas, each key standing in a line of its own."""
    places = {key: SourceLocation("f", 20 + i) for i, key in enumerate(("tty", "stdin_open", "schedule"))}
    return DraftService(Service(name, ("x",), depends_on=needs, **words), FILE, places, replicas=replicas)  # type: ignore[arg-type]


def draft(*services: DraftService) -> Draft:
    return Draft(FILE, {item.service.name: item for item in services})


def plan(*services: DraftService) -> Plan:
    made, problems = build(draft(*services))
    assert problems == ()
    assert made is not None
    return made


def texts(*services: DraftService) -> list[str]:
    made, problems = build(draft(*services))
    assert made is None
    return [str(problem) for problem in problems]


def test_a_service_without_a_number_keeps_its_name() -> None:
    (web,) = plan(service("web")).services.values()
    assert (web.name, web.service, web.replica, web.environment) == ("web", "web", 0, {})


def test_a_number_makes_instances_with_their_number_in_the_environment() -> None:
    """Also the number one: whoever writes scale may write another one tomorrow."""
    made = plan(service("web", replicas=3, environment={"A": "b"}), service("one", replicas=1)).services
    assert list(made) == ["web-1", "web-2", "web-3", "one-1"]
    assert [(one.name, one.service, one.replica) for one in made.values()] == [
        ("web-1", "web", 1),
        ("web-2", "web", 2),
        ("web-3", "web", 3),
        ("one-1", "one", 1),
    ]
    assert made["web-2"].environment == {"A": "b", "COHABIT_REPLICA": "2"}


def test_who_waits_for_a_service_waits_for_all_its_instances() -> None:
    """With the same condition, and whoever has replicas itself waits with each of them."""
    need = Dependency("db", COMPLETED, restart=True)
    made = plan(service("db", replicas=2), service("web", need, replicas=2), service("x", Dependency("web"))).services
    assert made["web-1"].depends_on == made["web-2"].depends_on
    assert made["web-1"].depends_on == (need.replace(service="db-1"), need.replace(service="db-2"))
    assert made["x"].depends_on == (Dependency("web-1"), Dependency("web-2"))
    assert not made["db-1"].essential
    assert made["db-2"].job


def test_no_replica_is_not_started_and_nobody_waits_for_it() -> None:
    """As in Compose, whatever the condition."""
    made = plan(service("db", replicas=0), service("web", Dependency("db", HEALTHY), Dependency("x")), service("x"))
    assert list(made.services) == ["web", "x"]
    assert made.services["web"].depends_on == (Dependency("x"),)


def test_nothing_but_zeros_is_nothing_to_start() -> None:
    assert texts(service("a", replicas=0), service("b", replicas=0)) == [
        "f: nothing to start: a, b is to have 0 replicas (write scale: 1)"
    ]


@pytest.mark.parametrize(("name", "clash"), [("web-1", True), ("web-2", True), ("web-3", False), ("web-01", False)])
def test_an_instance_cannot_have_the_name_of_another_service(name: str, *, clash: bool) -> None:
    services = (service("web", replicas=2), service(name))
    if clash:
        assert texts(*services) == [
            f"f: services.{name}: one of the 2 replicas of web has this name, too (choose another)"
        ]
    else:
        assert list(plan(*services).services) == ["web-1", "web-2", name]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ({"tty": True}, "f:20: services.web.tty: there is one terminal, but web has 2 replicas (remove one of both)"),
        (
            {"stdin": True},
            "f:21: services.web.stdin_open: there is one standard input, but web has 2 replicas (remove one of both)",
        ),
        (
            {"schedule": Schedule("* * * * *")},
            (
                "f:22: services.web.schedule: a job on a schedule never runs twice at a time, but web has 2 replicas "
                "(remove one of both)"
            ),
        ),
    ],
)
def test_what_there_is_one_of_cannot_be_had_by_several(words: dict[str, object], problem: str) -> None:
    assert texts(service("web", replicas=2, **words)) == [problem]
    assert list(plan(service("web", replicas=1, **words)).services) == ["web-1"]


def test_very_many_are_refused_before_they_are_made() -> None:
    """A thousand that each wait for a thousand are a million."""
    assert texts(service("db", replicas=1000), service("web", Dependency("db"), replicas=1000)) == [
        "f: the replicas and what they depend on come to 1,002,000 (at most 100,000; use fewer replicas)"
    ]
    assert len(plan(service("a", replicas=1000), service("b", Dependency("a"))).services) == 1001


def test_scale_takes_the_place_of_the_number_in_the_file() -> None:
    """Also where the file has none."""
    made, problems = build(scaled(draft(service("web", replicas=5), service("db")), {"web": 1, "db": 2}, ("web",)))
    assert problems == ()
    assert made is not None
    assert list(made.services) == ["web-1", "db-1", "db-2"]


def test_scale_of_what_is_gone_from_the_file_is_an_error_only_when_it_is_asked_for() -> None:
    """A number that was given long ago must not make every later reading fail."""
    assert build(scaled(draft(service("web")), {"wbe": 3}, ()))[1] == ()
    (problem,) = build(scaled(draft(service("web")), {"wbe": 3}, ("wbe",)))[1]
    assert problem.text == "cannot scale 'wbe': no such service (did you mean 'web'?)"
    assert problem.exit_code == 64
