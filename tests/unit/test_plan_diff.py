"""plan/diff.py: the changes of a reload, and which services restart for them."""

from __future__ import annotations

from typing import Any

import pytest

from cohabit.plan.diff import Difference, diff
from cohabit.plan.model import (
    Condition,
    Credentials,
    Dependency,
    EnvFile,
    FileMount,
    Hook,
    Limits,
    LogFile,
    Logging,
    Plan,
    Probe,
    Restart,
    Schedule,
    Secret,
    Service,
    Socket,
    Startup,
    Watch,
)

TCP = Probe("tcp", "127.0.0.1", 80)
NOTIFY = Probe("notify")


def plan(*services: Service) -> Plan:
    return Plan({service.name: service for service in services})


def named(*names: str) -> list[Service]:
    return [Service(name, ("x",)) for name in names]


def test_equal_plans_have_no_difference() -> None:
    assert diff(plan(*named("a", "b")), plan(*named("b", "a"))) == Difference()
    assert not diff(plan(), plan())


def test_added_and_removed_are_in_the_order_of_their_plans() -> None:
    found = diff(plan(*named("d", "a", "b", "c")), plan(*named("z", "a", "y")))
    assert found == Difference(added=("z", "y"), removed=("d", "b", "c"))
    assert found


# A new value for every field of Service, and whether the change needs a restart.
CHANGES: list[tuple[str, Any, bool]] = [
    ("command", ("y",), True),
    ("environment", {"A": "b"}, True),
    ("env_files", (EnvFile("/x"),), True),
    ("working_dir", "/srv", True),
    ("user", Credentials(1, 1), True),
    ("depends_on", (Dependency("db"),), False),
    ("conditions", (Condition("environment", "A"),), False),
    ("restart", Restart("always"), False),
    ("stop_signal", 3, False),
    ("stop_grace_seconds", 5.0, False),
    ("essential", False, False),
    ("ends_on_success", False, False),
    ("kill_mode", "control-group", False),
    ("autostart", False, False),
    ("setsid", False, True),
    ("stale_files", ("/x.lock",), False),
    ("watch", (Watch("restart", "/x"),), False),
    ("job", True, False),
    ("probe", TCP, True),
    ("logging", (Logging("raw"),), True),
    ("multiline_pattern", "^a", True),
    ("service", "other", True),
    ("replica", 1, True),
    ("secret_files", {"A": "/x"}, True),
    ("limits", Limits(nice=5), True),
    ("pre_start", (Hook(("y",)),), True),
    ("post_start", (Hook(("y",)),), True),
    ("pre_stop", (Hook(("y",)),), False),
    ("post_stop", (Hook(("y",)),), False),
    ("schedule", Schedule("* * * * *"), True),
    ("secrets", (FileMount("key", "/run/secrets/key"),), True),
    ("configs", (FileMount("conf", "/conf"),), True),
    ("sockets", (Socket("a", "unix", "stream", "/x"),), True),
    ("pid_file", "/x.pid", True),
    ("log_files", (LogFile("/x.log"),), True),
    ("tty", True, True),
    ("stdin", True, True),
    ("console", True, False),
    ("socket_as_stdin", True, True),
    ("stdio_to", "gateway", True),
    ("startup", Startup(5.0), False),
    ("priority", 999, False),
    ("stderr_to_stdout", True, True),
]


@pytest.mark.parametrize(("field", "value", "restarts"), CHANGES, ids=[field for field, _, _ in CHANGES])
def test_a_changed_field_is_named_and_restarts_the_service_if_its_process_depends_on_it(
    field: str, value: object, *, restarts: bool
) -> None:
    (before,) = named("web")
    found = diff(plan(before, *named("x")), plan(before.replace(**{field: value}), *named("x")))
    assert found == Difference(changed={"web": (field,)}, restarting=("web",) if restarts else ())


@pytest.mark.parametrize(
    ("field", "value", "key"),
    [("control_gid", 7, "control_group"), ("logging", (Logging("json"),), "logging"), ("mask", True, "mask")],
)
def test_a_changed_container_setting_is_named(field: str, value: object, key: str) -> None:
    """By its key in x-cohabit; no service restarts."""
    before = plan(*named("web"))
    found = diff(before, before.replace(**{field: value}))
    assert found == Difference(whole=(key,))
    assert found


def test_every_field_of_plan_is_covered() -> None:
    """Services, the total grace period, secrets and configs have tests of their own. The rest changes nothing."""
    known = {"services", "stop_grace_seconds", "secrets", "configs", "control_gid", "logging", "mask", "watches"}
    assert known | {"inactive", "main", "reloads", "exit_code_from", "joined", "stays", "beside"} == set(Plan._fields)


def test_every_field_of_service_is_covered() -> None:
    """A new field of Service needs an entry in CHANGES; only the name cannot change."""
    assert {"name", *(field for field, _, _ in CHANGES)} == set(Service._fields)


@pytest.mark.parametrize(
    ("before", "after", "restarts"),
    [
        (TCP, TCP.replace(interval_seconds=1.0, timeout_seconds=1.0, retries=9), False),
        (TCP, TCP.replace(start_period_seconds=1.0, start_interval_seconds=1.0, on_failure="exit"), False),
        (TCP, TCP.replace(port=81), True),
        (TCP, None, True),
        (TCP, NOTIFY, True),
        (NOTIFY, NOTIFY.replace(interval_seconds=5.0, watchdog_seconds=5.0), True),
        (Probe("fd", fd=3), Probe("fd", fd=4), True),
        (Probe("log", pattern="a"), Probe("log", pattern="a", retries=5), True),
    ],
)
def test_the_timing_of_an_active_probe_changes_without_a_restart(
    before: Probe, after: Probe | None, *, restarts: bool
) -> None:
    """A passive probe was prepared at the start of the service."""
    (web,) = named("web")
    found = diff(plan(web.replace(probe=before)), plan(web.replace(probe=after)))
    assert found.changed == {"web": ("probe",)}
    assert found.restarting == (("web",) if restarts else ())


def test_a_changed_schedule_needs_no_restart() -> None:
    """A running job is not interrupted; the new times apply from now on."""
    (job,) = named("job")
    old, new = (plan(job.replace(schedule=Schedule(cron))) for cron in ("0 * * * *", "5 * * * *"))
    assert diff(old, new) == Difference(changed={"job": ("schedule",)})


@pytest.mark.parametrize("kind", ["secrets", "configs"])
def test_a_secret_from_another_source_restarts_the_services_that_use_it(kind: str) -> None:
    """The service is unchanged in the file, the top-level entry is not."""
    web = Service("web", ("x",)).replace(**{kind: (FileMount("a", "/a"),)})
    old, new = (plan(web, *named("x")).replace(**{kind: {"a": Secret(file=path)}}) for path in ("/1", "/2"))
    assert diff(old, new) == Difference(changed={"web": (kind,)}, restarting=("web",))


def test_the_total_grace_period_restarts_no_service() -> None:
    """It is a difference of its own."""
    old = plan(*named("a"))
    found = diff(old, old.replace(stop_grace_seconds=20.0))
    assert found == Difference(stop_grace_seconds=(9.0, 20.0))
    assert found


def test_a_changed_number_of_replicas_restarts_no_service() -> None:
    """The dependencies of other services change, but no running process."""
    old = plan(*named("web-1"), Service("x", ("x",), depends_on=(Dependency("web-1"),)))
    new = plan(*named("web-1", "web-2"), Service("x", ("x",), depends_on=(Dependency("web-1"), Dependency("web-2"))))
    assert diff(old, new) == Difference(added=("web-2",), changed={"x": ("depends_on",)})
