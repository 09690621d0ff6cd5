"""plan/replicas.py and build.py: instances, their dependencies, and invalid combinations."""

from __future__ import annotations

import pytest

from cohabit.plan.build import build
from cohabit.plan.draft import Draft, DraftService, SourceLocation
from cohabit.plan.model import COMPLETED, HEALTHY, Dependency, LogFile, Plan, Schedule, Service
from cohabit.plan.node import Node
from cohabit.plan.replicas import scaled

FILE = SourceLocation("f")


def service(name: str, *depends_on: Dependency, replicas: int | None = None, **fields: object) -> DraftService:
    """A service with a number of replicas; each key is in a line of its own, from 20 on."""
    written = {key: Node("", 20 + i) for i, key in enumerate(("tty", "stdin_open", "schedule", "log_files"))}
    return DraftService(Service(name, ("x",), depends_on=depends_on, **fields), FILE, written, replicas=replicas)  # type: ignore[arg-type]


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
    """Also with one replica, so that the name stays the same when the number changes."""
    made = plan(service("web", replicas=3, environment={"A": "b"}), service("one", replicas=1)).services
    assert list(made) == ["web-1", "web-2", "web-3", "one-1"]
    assert [(one.name, one.service, one.replica) for one in made.values()] == [
        ("web-1", "web", 1),
        ("web-2", "web", 2),
        ("web-3", "web", 3),
        ("one-1", "one", 1),
    ]
    assert made["web-2"].environment == {"A": "b", "COHABIT_REPLICA": "2"}


def test_a_dependent_waits_for_all_instances() -> None:
    """With the same condition; if the dependent has replicas, each of them waits."""
    dependency = Dependency("db", COMPLETED, restart=True)
    made = plan(
        service("db", replicas=2), service("web", dependency, replicas=2), service("x", Dependency("web"))
    ).services
    assert made["web-1"].depends_on == made["web-2"].depends_on
    assert made["web-1"].depends_on == (dependency.replace(service="db-1"), dependency.replace(service="db-2"))
    assert made["x"].depends_on == (Dependency("web-1"), Dependency("web-2"))
    assert not made["db-1"].essential
    assert made["db-2"].job


def test_a_service_with_0_replicas_is_not_started_and_not_waited_for() -> None:
    """As in Compose, for any condition."""
    made = plan(service("db", replicas=0), service("web", Dependency("db", HEALTHY), Dependency("x")), service("x"))
    assert list(made.services) == ["web", "x"]
    assert made.services["web"].depends_on == (Dependency("x"),)


def test_0_replicas_of_all_services_is_a_problem() -> None:
    assert texts(service("a", replicas=0), service("b", replicas=0)) == [
        "f: nothing to start: 0 replicas of a, b (write scale: 1)"
    ]


@pytest.mark.parametrize(("name", "clash"), [("web-1", True), ("web-2", True), ("web-3", False), ("web-01", False)])
def test_an_instance_cannot_have_the_name_of_another_service(name: str, *, clash: bool) -> None:
    services = (service("web", replicas=2), service(name))
    if clash:
        assert texts(*services) == [
            f"f: services.{name}: one of the 2 replicas of web has the same name (choose another name)"
        ]
    else:
        assert list(plan(*services).services) == ["web-1", "web-2", name]


def test_a_service_with_a_schedule_has_no_replicas() -> None:
    schedule = Schedule("* * * * *")
    text = "a scheduled job never overlaps itself, but web has 2 replicas (remove one of the two)"
    assert texts(service("web", replicas=2, schedule=schedule)) == [f"f:22: services.web.schedule: {text}"]
    assert list(plan(service("web", replicas=1, schedule=schedule)).services) == ["web-1"]


def test_a_service_with_log_files_has_no_replicas() -> None:
    """Each instance would show the lines of all of them."""
    files = (LogFile("/var/log/x.log"),)
    text = "each instance would show the lines of all of them, but web has 2 replicas (remove one of the two)"
    assert texts(service("web", replicas=2, log_files=files)) == [f"f:23: services.web.log_files: {text}"]
    assert list(plan(service("web", replicas=1, log_files=files)).services) == ["web-1"]


def test_too_many_replicas_are_refused_before_they_are_created() -> None:
    """1000 replicas that each depend on 1000 others have a million dependencies."""
    assert texts(service("db", replicas=1000), service("web", Dependency("db"), replicas=1000)) == [
        "f: there are 1,002,000 replicas and dependencies between them (at most 100,000; use fewer replicas)"
    ]
    assert len(plan(service("a", replicas=1000), service("b", Dependency("a"))).services) == 1001


def test_scale_replaces_the_number_in_the_file() -> None:
    """Also if the file has no number."""
    made, problems = build(scaled(draft(service("web", replicas=5), service("db")), {"web": 1, "db": 2}, ("web",)))
    assert problems == ()
    assert made is not None
    assert list(made.services) == ["web-1", "db", "db-2"]


def test_scale_of_an_unknown_service_is_an_error_only_in_the_request_that_names_it() -> None:
    """A number from an earlier request must not make every later read fail."""
    assert build(scaled(draft(service("web")), {"wbe": 3}, ()))[1] == ()
    (problem,) = build(scaled(draft(service("web")), {"wbe": 3}, ("wbe",)))[1]
    assert problem.text == "cannot scale 'wbe': no such service (did you mean 'web'?)"
    assert problem.exit_code == 64


def test_a_service_without_a_number_keeps_its_name_when_it_is_scaled() -> None:
    """Its first instance is the one that runs; the others are numbered from 2."""
    file = draft(service("web"))
    for number, expected in ((0, []), (1, ["web"]), (3, ["web", "web-2", "web-3"])):
        made, _ = build(scaled(file, {"web": number}, ["web"]))
        assert (list(made.services) if made else []) == expected
    after, _ = build(scaled(file, {"web": 2}, ["web"]))
    before, _ = build(file)
    assert after is not None
    assert before is not None
    assert after.services["web"] == before.services["web"]
    assert after.services["web-2"].environment["COHABIT_REPLICA"] == "2"
