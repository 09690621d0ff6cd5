"""config/permission_checks.py on a real kernel: what it refuses is reported before anything starts."""

import os
import resource
import subprocess
import sys

import pytest

from linux.run import MAIN

PROGRAM = """
import _ctypes, os, resource, sys  # imported before the user changes: later the files cannot be read
from cohabit.config.permission_checks import check_permissions
from cohabit.plan.draft import DraftService, SourceLocation
from cohabit.plan.model import Credentials, Limits, Service
from cohabit.reactor.processes import privileges
if {broken!r}:
    sys.modules[{broken!r}] = None
os.setgroups([12347]); os.setresgid(*[12346] * 3); os.setresuid(*[{uid}] * 3)
privileges._call("prctl", 4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: makes /proc/self writable again, as after exec
before = open("/proc/self/limits").read(), os.getpriority(0, 0), open("/proc/self/oom_score_adj").read()
service = Service("web", ("x",), service="web", {fields})
for diagnostic in check_permissions(service, DraftService(service, SourceLocation("f"))):
    print(diagnostic)
assert before == (open("/proc/self/limits").read(), os.getpriority(0, 0), open("/proc/self/oom_score_adj").read())
"""
UID = 12345
_, HARD = resource.getrlimit(resource.RLIMIT_NOFILE)


def diagnostics(fields: str, uid: int, broken: str = "") -> list[str]:
    """The diagnostics for a Service with these fields, checked with this uid."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(fields=fields, uid=uid, broken=broken)],
        env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(MAIN))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line.removeprefix("f: services.web.") for line in done.stdout.splitlines()]


@pytest.fixture(autouse=True)
def _root(namespaces: None) -> None:
    """A change of the user needs root."""
    del namespaces


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (f"limits=Limits(ulimits=((7, 1, {HARD + 1}),))", f"ulimits: nofile: cannot raise the hard limit {HARD} to"),
        (f"limits=Limits(ulimits=((7, {HARD}, {HARD}),))", ""),
        ("limits=Limits(ulimits=((7, 0, 0), (4, 0, 0)))", ""),
        ("limits=Limits(nice=-1)", "nice: cannot be lower than 0 (use docker run --cap-add SYS_NICE"),
        ("limits=Limits(nice=0)", ""),
        ("limits=Limits(nice=19)", ""),
        ("limits=Limits(oom_score_adj=-1)", "oom_score_adj: cannot be lower than cohabit's own"),
        ("limits=Limits(oom_score_adj=1000)", ""),
        (
            "limits=Limits(cap_drop=(0, 1))",
            "cap_drop: cannot drop CHOWN, DAC_OVERRIDE: cohabit has no CAP_SETPCAP",
        ),
        (
            "limits=Limits(cap_drop=tuple(range(41)))",
            "cap_drop: cannot drop CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH and others",
        ),
        (
            "limits=Limits(ambient=(('CHOWN', 0),))",
            "ambient_capabilities: cannot give CHOWN to the service: cohabit does not have it (use docker",
        ),
        ("limits=Limits(no_new_privileges=True, umask=0)", ""),
        (
            "user=Credentials(12345, 12346, (12346, 12347, 7))",
            "group_add: cannot change groups: cohabit has no CAP_SETGID (start as root",
        ),
        ("user=Credentials(12345, 12346, (12346, 12347))", ""),
    ],
)
def test_settings_that_need_capabilities_are_refused_without_root(fields: str, expected: str) -> None:
    """Settings that need a capability are refused with the reason, others are not. The checks undo their changes."""
    found = diagnostics(fields, UID)
    assert [text[: len(expected)] for text in found] == [expected] * bool(expected)


def test_root_may_use_every_setting() -> None:
    """With the usual capabilities of a container."""
    fields = "limits=Limits(nice=-5, cap_drop=(0, 1, 13), ambient=(('CHOWN', 0),)), user=Credentials(0, 12346, (7,))"
    assert diagnostics(fields, 0) == []


def test_a_python_without_ctypes_refuses_only_capabilities() -> None:
    """Without ctypes, capabilities and no_new_privs are not available; everything else is."""
    fields = "limits=Limits(cap_drop=(0,), ambient=(('CHOWN', 0),), no_new_privileges=True, nice=5)"
    reason = "not available: this Python has no _ctypes (install a Python with ctypes)"
    assert diagnostics(fields, 0, "_ctypes") == [
        f"{key}: {reason}" for key in ("cap_drop", "ambient_capabilities", "security_opt")
    ]
