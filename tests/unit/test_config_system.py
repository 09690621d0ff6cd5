"""config/system.py: the checks of the machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from cohabit.config.system import check_machine
from cohabit.errors import EXIT_CANNOT_RUN, EXIT_FILE, EXIT_NOT_FOUND
from cohabit.plan.draft import Draft, DraftService, SourceLocation
from cohabit.plan.model import COMPLETED, Credentials, Dependency, Hook, Plan, Probe, Service
from cohabit.plan.node import Node

if TYPE_CHECKING:
    from pathlib import Path

WHERE = SourceLocation("f")
PLACES = {"command": Node("", 3), "working_dir": Node("", 4), "user": Node("", 5)}


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory with valid and invalid programs."""
    made = tmp_path / "bin"
    made.mkdir()
    for name, text, mode in [
        ("good", "#!/bin/sh\n", 0o755),
        ("plain", "#!/bin/sh\n", 0o644),
        ("windows", "#!/bin/sh\r\n", 0o755),
        ("lost", "#!/nowhere/bash -e\n", 0o755),
        ("binary", "\x7fELF", 0o755),
    ]:
        (made / name).write_text(text, newline="")
        (made / name).chmod(mode)
    (made / "directory").mkdir()
    return made


def found(service: Service, path: str = "", *others: Service) -> list[tuple[str, int]]:
    """Diagnostics as text with line, and exit codes."""
    services = {one.name: one.replace(service=one.name) for one in (service, *others)}
    draft = Draft(WHERE, {name: DraftService(one, WHERE, PLACES) for name, one in services.items()})
    return [(str(one), one.exit_code) for one in check_machine(Plan(services), draft, {"PATH": path})]


def test_a_program_is_searched_in_the_path_of_its_service(programs: Path) -> None:
    """The service's PATH overrides cohabit's; scripts, binaries and absolute paths are valid."""
    assert found(Service("web", ("good",)), f"/nowhere:{programs}") == []
    assert found(Service("web", ("binary",), environment={"PATH": str(programs)})) == []
    assert found(Service("web", (f"{programs}/good",))) == []
    assert found(Service("web", ("./bin/good",), working_dir=str(programs.parent))) == []
    assert found(Service("web", ("sh",))) == []


def test_a_missing_program_is_127(programs: Path) -> None:
    assert found(Service("web", ("gone",)), f"/a:{programs}") == [
        (
            "f:3: cannot start web: 'gone' is not found in PATH (install it, or write its absolute path)",
            EXIT_NOT_FOUND,
        )
    ]
    assert found(Service("web", (f"{programs}/gone",))) == [
        (f"f:3: cannot start web: {programs}/gone does not exist (install it, or correct the path)", EXIT_NOT_FOUND)
    ]


@pytest.mark.parametrize(
    ("program", "why", "exit_code"),
    [
        ("plain", ": it is not executable (chmod +x)", EXIT_CANNOT_RUN),
        ("directory", ": it is a directory (name a program in it)", EXIT_CANNOT_RUN),
        ("windows", " has Windows line endings (save it with Unix line endings)", EXIT_NOT_FOUND),
        ("lost", " needs /nowhere/bash, which does not exist (install it)", EXIT_NOT_FOUND),
    ],
)
def test_a_program_that_cannot_run_is_reported(programs: Path, program: str, why: str, exit_code: int) -> None:
    """The message is the same for a name and for an absolute path."""
    expected = [(f"f:3: cannot start web: {programs}/{program}{why}", exit_code)]
    assert found(Service("web", (program,)), str(programs)) == expected
    assert found(Service("web", (f"{programs}/{program}",))) == expected


def test_an_unusable_program_does_not_hide_a_later_one_in_the_path(programs: Path) -> None:
    (programs / "directory" / "plain").write_text("#!/bin/sh\n")
    (programs / "directory" / "plain").chmod(0o755)
    assert found(Service("web", ("plain",)), f"{programs}:{programs}/directory") == []


def test_a_working_dir_must_be_a_directory(programs: Path) -> None:
    """The command is not searched in a missing directory."""
    assert found(Service("web", ("./x",), working_dir="/nowhere")) == [
        ("f:4: cannot start web in /nowhere: no such directory (create it, or change working_dir)", EXIT_FILE)
    ]
    assert found(Service("web", ("./x",), working_dir=f"{programs}/good")) == [
        (
            f"f:4: cannot start web in {programs}/good: it is not a directory (create it, or change working_dir)",
            EXIT_FILE,
        )
    ]


def test_only_root_can_change_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unprivileged uid can run services only as itself."""
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(os, "getegid", lambda: 0)
    refused = "cannot run web as www-data (uid 33, gid 33): cohabit runs as uid 4711, not as root"
    assert found(Service("web", ("/bin/sh",), user=Credentials(33, 33, (33,), "www-data"))) == [
        (f"f:5: {refused} (start it as root, or remove user)", EXIT_FILE)
    ]
    assert found(Service("web", ("/bin/sh",), user=Credentials(4711, 0))) == []


def test_a_service_that_waits_for_a_job_is_not_checked() -> None:
    """Directly or through other services; the job itself is checked."""
    job = Service("job", ("/bin/sh",))
    waits = Service("waits", ("/gone",), depends_on=(Dependency("job", COMPLETED),))
    after = Service("after", ("/gone",), depends_on=(Dependency("waits"),))
    beside = Service("beside", ("/gone",), depends_on=(Dependency("job"),))
    assert found(after, "", waits, job) == []
    assert len(found(beside, "", job)) == 1


INSTALL = "(install it, or write its absolute path)"
HOOKED = {
    **PLACES,
    "pre_start": Node("", 6),
    "post_start": Node("", 7),
    "healthcheck": Node("", 8),
}


def hooked(service: Service) -> list[tuple[str, bool]]:
    """Diagnostics as text with line, and whether they are warnings."""
    web = service.replace(service="web")
    draft = Draft(WHERE, {"web": DraftService(web, WHERE, HOOKED)})
    return [(str(one), one.warning) for one in check_machine(Plan({web.name: web}), draft, {"PATH": "/nowhere"})]


def test_hooks_are_checked_with_their_own_user_and_directory(programs: Path) -> None:
    """PATH and directory are the service's, unless the hook has its own."""
    web = Service("web", ("good",), {"PATH": str(programs)}, working_dir=str(programs))
    assert hooked(web.replace(post_start=(Hook(("good",)),), pre_stop=(Hook(("./good",)),))) == []
    assert hooked(web.replace(post_start=(Hook(("gone",)), Hook(("good",), {"PATH": "/a"})))) == [
        (
            f"f:7: cannot start the post_start hook of web: 'gone' is not found in PATH {INSTALL}",
            False,
        ),
        (
            f"f:7: cannot start the post_start hook of web: 'good' is not found in PATH {INSTALL}",
            False,
        ),
    ]
    (diagnostic,) = hooked(web.replace(post_start=(Hook(("good",), working_dir="/gone"),)))
    assert diagnostic[0].startswith("f:7: cannot start the post_start hook of web in /gone: no such directory")


def test_nothing_after_a_pre_start_hook_is_checked() -> None:
    web = Service("web", ("/gone",), working_dir="/gone", post_start=(Hook(("/gone",)),))
    assert hooked(web.replace(working_dir=None, pre_start=(Hook(("sh",), {"PATH": "/bin"}), Hook(("/gone",))))) == []
    (diagnostic,) = hooked(web.replace(pre_start=(Hook(("/no/hook",), working_dir="/"),)))
    assert diagnostic[0] == (
        "f:6: cannot start the pre_start hook of web: /no/hook does not exist (install it, or correct the path)"
    )


def test_a_probe_whose_program_is_missing_is_a_warning() -> None:
    """The service can run; it would only be unhealthy."""
    probe = Probe("exec", command=("curl", "-f"))
    assert hooked(Service("web", ("/bin/sh",), probe=probe)) == [
        (
            f"f:8: warning: cannot start the probe of web: 'curl' is not found in PATH {INSTALL}",
            True,
        )
    ]


def test_replicas_are_checked_once(programs: Path) -> None:
    """Replicas differ only in name and number."""
    one, two = (Service(f"web-{number}", ("./gone",), service="web", replica=number) for number in (1, 2))
    draft = Draft(WHERE, {"web": DraftService(one.replace(name="web"), WHERE, PLACES)})
    (diagnostic,) = check_machine(Plan({one.name: one, two.name: two}), draft, {"PATH": str(programs)})
    assert diagnostic.text.startswith("cannot start web: ./gone does not exist")
