"""Checks of a container: each fact leads to its finding, and a good container has none."""

import pytest

from cohabit.doctor import container
from cohabit.doctor.container_checks import Facts, examine, is_cohabit, platform_of
from cohabit.doctor.reading import Reading
from cohabit.doctor.services import WrittenService
from cohabit.plan.draft import SourceLocation
from cohabit.plan.model import Credentials, Service

COHABIT = ("python3", "-I", "-S", "/lib/cohabit/__main__.py", "up")
MIB = 1 << 20
GOOD = Facts(
    process_1=COHABIT,
    supervisor=1,
    files=("/.dockerenv",),
    capabilities=0xA80425FB,
    memory_limit=256 * MIB,
    process_limit=1000,
    descriptors=1024,
    shm_bytes=64 * MIB,
)


def file(*command: str, uid: int = 0, instances: int = 1, total_seconds: float = 9.0) -> Reading:
    """Return a file with one service."""
    service = Service("web", command or ("web",), user=Credentials(uid, uid) if uid else None)
    return Reading("cohabit.yaml", {"web": WrittenService(service, SourceLocation)}, total_seconds, instances)


def test_a_good_container_has_no_findings() -> None:
    """Docker with a memory limit and cohabit as process 1."""
    assert examine(GOOD, file()) == []
    assert examine(GOOD, Reading("")) == []


@pytest.mark.parametrize(
    ("changes", "what", "level"),
    [
        ({"contained": False}, "not a container", "hint"),
        ({"process_1": ("tini", "--", "cohabit", "up"), "supervisor": 7}, "tini, not cohabit", "warning"),
        ({"process_1": ("/sbin/docker-init", "--", "/e.sh"), "supervisor": 7}, "docker-init, not cohabit", "warning"),
        ({"process_1": ("sh", "/start.sh"), "supervisor": 7}, "process 1 is sh, and cohabit is its child", "error"),
        ({"process_1": ("-bash",), "supervisor": 7}, "bash, and cohabit is its child", "error"),
        ({"process_1": ("s6-svscan", "-d4"), "supervisor": 7}, "s6-svscan, not cohabit", "warning"),
        ({"process_1": ("/usr/bin/python3", "/usr/bin/supervisord"), "supervisor": 7}, "supervisord, not", "warning"),
        ({"process_1": ("/pause",), "supervisor": 7}, None, ""),
        ({"process_1": ("/app",), "supervisor": 7}, "app, not cohabit", "hint"),
        ({"process_1": ("nginx: master",), "supervisor": 0}, "no cohabit is running", "hint"),
        ({"process_1": ("doctor",), "is_process_1": True, "supervisor": 0}, None, ""),
        ({"process_1": ()}, None, ""),
        ({"proc_is_ours": False}, "/proc", "warning"),
        ({"writable": ()}, "cannot create a socket in any directory", "error"),
        ({"shm_bytes": 0}, "no /dev/shm", "warning"),
        ({"shm_bytes": None}, None, ""),
        ({"memory_limit": 1 << 62}, "no memory limit", "hint"),
        ({"memory_limit": None}, None, ""),
        ({"oom_kill_disabled": True}, "all processes block", "error"),
        ({"process_limit": 7}, "7 processes", "warning"),
        ({"descriptors": 64}, "64 open files", "error"),
        ({"descriptors": None, "process_limit": None}, None, ""),
        ({"files": (), "variables": {"FLY_APP_NAME": "x"}}, "Fly.io gives 5s", "warning"),
        ({"variables": {"RAILWAY_SERVICE_ID": "x"}}, "Railway gives no time", "warning"),
        ({"variables": {"RAILWAY_SERVICE_ID": "x", "RAILWAY_DEPLOYMENT_DRAINING_SECONDS": "20"}}, None, ""),
        ({"variables": {"KUBERNETES_SERVICE_HOST": "x"}}, None, ""),
    ],
)  # fmt: skip
def test_one_changed_fact(changes: dict[str, object], what: str | None, level: str) -> None:
    """Each leads to one finding or none."""
    found = examine(GOOD.replace(**changes), file())
    assert [one.level for one in found] == ([level] if what else [])
    assert not what or what in found[0].what


def test_a_stop_that_is_longer_than_the_grace_period_of_the_platform() -> None:
    """The total of the file must be shorter than the platform's grace period."""
    for seconds, wrong in ((9.0, 0), (9.9, 0), (10.0, 1), (25.0, 1)):
        assert len(examine(GOOD, file(total_seconds=seconds))) == wrong
    kubernetes = GOOD.replace(variables={"KUBERNETES_SERVICE_HOST": "x"})
    assert examine(kubernetes, file(total_seconds=25.0)) == []
    (finding,) = examine(kubernetes, file(total_seconds=60.0))
    assert "terminationGracePeriodSeconds" in finding.do
    assert "stop_grace_period: 29s" in finding.do


def test_the_first_matching_platform_is_used() -> None:
    """Docker's file also exists on other platforms."""
    found = platform_of(GOOD.replace(variables={"K_SERVICE": "x"}))
    assert found
    assert found[0].name == "Cloud Run"
    assert platform_of(Facts()) is None


def test_zombies_and_orphans() -> None:
    """Only if process 1 is not cohabit."""
    other = GOOD.replace(process_1=("/pause",), zombies=2, can_adopt=False)
    assert [one.what for one in examine(other, file())] == [
        "process 1 leaves 2 zombies",
        "orphans of the services are not reaped",
    ]
    assert examine(other.replace(process_1=COHABIT), file()) == []


def test_all_processes_are_killed_at_once() -> None:
    """With memory.oom.group, several services and a limit."""
    grouped = GOOD.replace(memory_group=True)
    (finding,) = examine(grouped, file(instances=2))
    assert "all processes are killed at once" in finding.what
    assert examine(grouped, file(instances=1)) == []


@pytest.mark.parametrize(
    ("dropped", "command", "what"),
    [
        ((6, 7), ("web",), "cannot be started as another user"),
        ((5,), ("web",), "cannot be stopped"),
        ((19,), ("web",), ""),
        ((19,), ("cron",), "background processes of web cannot always be attributed"),
        ((), ("cron",), ""),
    ],
)
def test_capabilities(dropped: tuple[int, ...], command: tuple[str, ...], what: str) -> None:
    """A missing capability is reported only for services of another user."""
    mask = (1 << 40) - 1
    for number in dropped:
        mask &= ~(1 << number)
    facts = GOOD.replace(capabilities=mask)
    found = examine(facts, file(*command, uid=1000))
    assert len(found) == bool(what)
    assert not what or what in found[0].what
    assert examine(facts, file(*command)) == []
    assert examine(facts.replace(uid=1000), file(*command, uid=1000)) == []


def test_shared_memory_of_programs_that_need_it() -> None:
    """Docker's 64 MiB are a hint for PostgreSQL, not for other programs."""
    (finding,) = examine(GOOD, file("postgres"))
    assert "/dev/shm" in finding.what
    assert examine(GOOD.replace(shm_bytes=1024 * MIB), file("postgres")) == []


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (COHABIT, True),
        (("python3", "-m", "cohabit", "run", "a"), True),
        (("python3.11", "-I", "-S", "-X", "cohabit-x=1", "/x/cohabit/__main__.py", "up"), True),
        (("tini", "--", "cohabit", "up"), False),
        (("sh", "-c", "cohabit up"), False),
        (("/bin/sh", "/usr/bin/cohabit", "init", "--", "x"), True),
        (("python3", "/lib/cohabit/doctor/__main__.py", "{}"), False),
        (("cohabit", "ps"), False),
        ((), False),
    ],
)
def test_which_command_line_is_cohabit(argv: tuple[str, ...], expected: bool) -> None:
    """As the start script runs it; clients and the doctor are not."""
    assert is_cohabit(argv) is expected


def test_collecting_facts_works_anywhere() -> None:
    """The facts of this machine have the right types and can be checked."""
    facts = container.collect({"KUBERNETES_SERVICE_HOST": "x"})
    assert facts.contained
    assert facts.descriptors is None or facts.descriptors > 0
    assert isinstance(examine(facts, file()), list)


# --- output -------------------------------------------------------------------------------------------------
