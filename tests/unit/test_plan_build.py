"""plan/build.py: the selection of services, the checks between them, and the defaults."""

from __future__ import annotations

from cohabit.errors import EXIT_FILE, EXIT_USAGE
from cohabit.plan.build import build
from cohabit.plan.draft import Diagnostic, Draft, DraftService, SourceLocation
from cohabit.plan.model import COMPLETED, HEALTHY, STARTED, Dependency, Probe, Restart, Schedule, Service
from cohabit.plan.node import Node

FILE = SourceLocation("f")
PROBE = Probe("tcp", "127.0.0.1", 80)


def service(
    name: str,
    *depends_on: str | Dependency,
    profiles: tuple[str, ...] = (),
    essential: bool | None = None,
    restart: str = "no",
    probe: Probe | None = None,
) -> DraftService:
    """A service; each dependency is in a line of its own, from 10 on."""
    dependencies = tuple(Dependency(item) if isinstance(item, str) else item for item in depends_on)
    written = {"depends_on": Node({each.service: Node({}, 10 + i) for i, each in enumerate(dependencies)}, 9)}
    made = Service(name, ("x",), depends_on=dependencies, restart=Restart(restart), probe=probe)
    return DraftService(made, FILE, written, profiles=profiles, essential=essential)


def draft(*services: DraftService, problems: tuple[Diagnostic, ...] = ()) -> Draft:
    return Draft(FILE, {item.service.name: item for item in services}, problems=problems)


def names(made: Draft, wanted: tuple[str, ...] = (), profiles: tuple[str, ...] = ()) -> list[str]:
    plan, problems = build(made, wanted, profiles)
    assert problems == ()
    assert plan is not None
    return list(plan.services)


def texts(made: Draft, wanted: tuple[str, ...] = (), profiles: tuple[str, ...] = ()) -> list[str]:
    plan, problems = build(made, wanted, profiles)
    assert plan is None
    return [str(problem) for problem in problems]


def test_all_services_are_selected_in_the_order_of_the_file() -> None:
    assert names(draft(service("b"), service("a"))) == ["b", "a"]


def test_named_services_are_selected_with_their_dependencies_only() -> None:
    """`up web` starts web and its direct and indirect dependencies."""
    made = draft(service("db"), service("web", "api"), service("other"), service("api", "db"))
    assert names(made, ("web",)) == ["db", "web", "api"]


def test_a_service_with_a_profile_is_selected_when_the_profile_is_active() -> None:
    """As in Compose: a service without profiles is always selected, one active profile is enough, * is all."""
    made = draft(service("web"), service("debug", profiles=("dev", "test")))
    assert names(made) == ["web"]
    assert names(made, profiles=("test",)) == ["web", "debug"]
    assert names(made, profiles=("*",)) == ["web", "debug"]
    assert names(made, profiles=("other",)) == ["web"]


def test_naming_a_service_activates_it_and_its_profiles_for_its_dependencies() -> None:
    """As in Compose: a named service starts with its dependencies in the same profiles."""
    made = draft(service("mock", "db", profiles=("dev",)), service("db", profiles=("dev",)))
    assert names(made, ("mock",)) == ["mock", "db"]


def test_a_dependency_with_an_inactive_profile_is_a_problem_that_names_the_profile() -> None:
    made = draft(service("admin", "db", profiles=("debug",)), service("db", profiles=("dev",)))
    assert texts(made, ("admin",)) == [
        "f:10: services.admin.depends_on: db is not active (write --profile dev, or required: false)"
    ]


def test_an_inactive_dependency_that_is_not_required_is_left_out() -> None:
    made = draft(
        service("web", Dependency("cache", required=False)),
        service("cache", profiles=("fast",)),
    )
    plan, problems = build(made)
    assert plan is not None
    assert plan.services["web"].depends_on == ()
    assert problems == ()
    plan, _ = build(made, profiles=("fast",))
    assert plan is not None
    assert plan.services["web"].depends_on == (Dependency("cache", required=False),)


def test_a_missing_dependency_is_reported_with_its_line_and_the_nearest_name() -> None:
    assert texts(draft(service("web", "databse"), service("database"))) == [
        "f:10: services.web.depends_on: there is no service 'databse' (did you mean 'database'?)"
    ]


def test_a_missing_dependency_that_is_not_required_is_only_a_warning() -> None:
    plan, problems = build(draft(service("web", Dependency("nowhere", required=False))))
    assert plan is not None
    assert [problem.warning for problem in problems] == [True]


def test_a_cycle_is_reported_in_full() -> None:
    made = draft(service("a", "b"), service("b", "c"), service("c", "a"))
    assert texts(made) == [
        "f:10: depends_on has a cycle: a -> b -> c -> a (none of these services could start; remove one dependency)"
    ]


def test_a_service_that_depends_on_itself_is_reported_once() -> None:
    assert texts(draft(service("a", "a"))) == [
        "f:10: services.a.depends_on: a cannot depend on itself (remove this line)"
    ]


def test_waiting_for_health_needs_a_probe() -> None:
    """service_healthy on a service without a probe would wait for ever."""
    dependency = Dependency("db", HEALTHY)
    assert len(texts(draft(service("web", dependency), service("db")))) == 1
    assert names(draft(service("web", dependency), service("db", probe=PROBE))) == ["web", "db"]


def test_waiting_for_the_completion_of_an_always_restarted_service_is_a_problem() -> None:
    """A job with restart: always never completes; one with restart: on-failure may."""
    dependency = Dependency("job", COMPLETED)
    assert len(texts(draft(service("web", dependency), service("job", restart="always")))) == 1
    assert names(draft(service("web", dependency), service("job", restart="on-failure"))) == ["web", "job"]


def test_jobs_are_not_essential_by_default() -> None:
    """A service is not essential if another one waits for its completion; all others are."""
    made = draft(
        service("web", Dependency("job", COMPLETED), Dependency("db", STARTED), Dependency("strict", COMPLETED)),
        service("job"),
        service("db"),
        service("strict", essential=True),
        service("side", essential=False),
    )
    plan, _ = build(made)
    assert plan is not None
    assert {name: (item.essential, item.ends_on_success) for name, item in plan.services.items()} == {
        "web": (True, False),
        "job": (False, False),
        "db": (True, False),
        "strict": (True, True),
        "side": (False, False),
    }


def test_a_service_is_a_job_only_if_a_selected_service_waits_for_it() -> None:
    """A migration that is started alone is essential."""
    plan, _ = build(draft(service("web", Dependency("job", COMPLETED)), service("job")), ("job",))
    assert plan is not None
    assert plan.services["job"].essential is True


def test_an_unknown_name_on_the_command_line_is_a_usage_error() -> None:
    plan, problems = build(draft(service("web")), ("wbe", "zzz"))
    assert plan is None
    assert [(str(problem), problem.exit_code) for problem in problems] == [
        ("f: cannot start 'wbe': no such service (did you mean 'web'?)", EXIT_USAGE),
        ("f: cannot start 'zzz': no such service (there are: web)", EXIT_USAGE),
    ]


def test_a_file_name_in_place_of_a_service_gets_a_hint() -> None:
    """`cohabit up other.yaml` is a common mistake."""
    made = draft(service("a"))
    assert texts(made, ("other.yaml",)) == [
        "f: cannot start 'other.yaml': no such service (to use a file, write -f other.yaml)"
    ]


def test_nothing_to_start_names_the_profiles() -> None:
    made = draft(service("a", profiles=("x",)), service("b", profiles=("y",)))
    assert texts(made) == [
        "f: nothing to start: every service belongs to a profile (--profile x or --profile y, or name a service)"
    ]


def test_all_problems_are_reported_at_once_after_those_of_the_reader() -> None:
    """Problems of the reader do not hide problems between services."""
    first = Diagnostic(SourceLocation("f", 1), "from the reader")
    made = draft(service("a", "a", "nowhere"), service("b", "c"), service("c", "b"), problems=(first,))
    plan, problems = build(made)
    assert plan is None
    assert problems[0] == first
    assert len(problems) == 4
    assert {problem.exit_code for problem in problems} == {EXIT_FILE}


def test_a_warning_does_not_prevent_the_start() -> None:
    warning = Diagnostic(FILE, "careful", warning=True)
    plan, problems = build(draft(service("a"), problems=(warning,)))
    assert plan is not None
    assert problems == (warning,)


def test_a_scheduled_job_is_not_essential_by_default() -> None:
    """It ends after each run."""
    item = service("backup")
    scheduled = item.replace(service=item.service.replace(schedule=Schedule("* * * * *")))
    plan, problems = build(draft(scheduled, service("web")))
    assert plan is not None
    assert problems == ()
    assert [(one.essential, one.job) for one in plan.services.values()] == [(False, True), (True, False)]
    plan, _ = build(draft(scheduled.replace(essential=True)))
    assert plan is not None
    assert plan.services["backup"].essential


def test_waiting_for_the_completion_of_a_scheduled_job_is_a_problem() -> None:
    item = service("backup")
    scheduled = item.replace(service=item.service.replace(schedule=Schedule("* * * * *")))
    assert texts(draft(scheduled, service("web", Dependency("backup", COMPLETED)))) == [
        (
            "f:10: services.web.depends_on.backup: waits for its completion, but backup runs on a schedule, "
            "repeatedly (wait for a job without a schedule)"
        )
    ]


def test_the_only_service_that_asks_has_the_terminal_and_the_input_of_the_container() -> None:
    """Of several none has it, except the command of `up --`; inactive ones do not count."""

    def console(*services: DraftService) -> list[str]:
        plan, _ = build(draft(*services))
        assert plan is not None
        return [service.name for service in plan.services.values() if service.console]

    a, b, c = service("a"), service("b"), service("c")
    first = a.replace(service=a.service.replace(tty=True, stdin=True))
    second = b.replace(service=b.service.replace(stdin=True))
    third = c.replace(service=c.service.replace(tty=True, console=True))
    assert console(first, b) == ["a"]
    assert console(first, second) == []
    assert console(first, second, third) == ["c"]
    assert console(first, second.replace(profiles=("x",))) == ["a"]
    assert console(second.replace(replicas=2)) == []


def test_a_service_that_is_added_takes_part_with_its_dependencies() -> None:
    """`start dbg` and `scale dbg=2` activate the profiles of that service, for it and its dependencies only."""
    made = draft(
        service("web"),
        service("dbg", "mock", profiles=("dev",)),
        service("mock", profiles=("dev",)),
        service("other", profiles=("dev",)),
    )
    plan, _ = build(made)
    assert plan is not None
    assert plan.inactive == ("dbg", "mock", "other")
    plan, problems = build(made, added=["dbg"])
    assert problems == ()
    assert plan is not None
    assert list(plan.services) == ["web", "dbg", "mock"]
    assert plan.inactive == ("other",)
    assert plan.joined == ("mock",)
    plan, _ = build(made, added=["dbg", "mock"])
    assert plan is not None
    assert plan.joined == ()
    plan, _ = build(made, ("web",), added=["other"])
    assert plan is not None
    assert list(plan.services) == ["web", "other"]


def test_autostart_false_unless_a_service_that_starts_depends_on_it() -> None:
    """What a service that starts requires, or was requested by name, starts, too. Else it is not essential."""
    made = service("lazy")
    lazy = made.replace(service=made.service.replace(autostart=False))
    for file, wanted, starts in (
        (draft(service("web"), lazy), (), False),
        (draft(service("web", "lazy"), lazy), (), True),
        (draft(service("web", Dependency("lazy", required=False)), lazy), (), False),
        (draft(service("web"), lazy), ("lazy",), True),
    ):
        plan, problems = build(file, wanted)
        assert problems == ()
        assert plan is not None
        assert plan.services["lazy"].autostart is starts
        assert plan.services["lazy"].essential is starts
