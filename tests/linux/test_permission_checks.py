"""What we may not do to a service is told before anything starts, as the kernel itself sees it."""

import os
import resource
import subprocess
import sys

import pytest

from linux.run import MAIN

PROGRAM = """
import _ctypes, os, resource, sys  # what is imported later could not be read any more
from cohabit.config.permission_checks import check_rights
from cohabit.plan.draft import DraftService, Where
from cohabit.plan.model import Credentials, Limits, Service
from cohabit.reactor.processes import privileges
if {broken!r}:
    sys.modules[{broken!r}] = None
os.setgroups([12347]); os.setresgid(*[12346] * 3); os.setresuid(*[{uid}] * 3)
privileges._call("prctl", 4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: our /proc is ours again, as after an exec
before = open("/proc/self/limits").read(), os.getpriority(0, 0), open("/proc/self/oom_score_adj").read()
service = Service("web", ("x",), service="web", {asked})
for problem in check_rights(service, DraftService(service, Where("f"))):
    print(problem)
assert before == (open("/proc/self/limits").read(), os.getpriority(0, 0), open("/proc/self/oom_score_adj").read())
"""
NOBODY = 12345
_, HARD = resource.getrlimit(resource.RLIMIT_NOFILE)


def problems(asked: str, uid: int, broken: str = "") -> list[str]:
    """What stands in the way of these fields of a Service, for somebody with this uid."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(asked=asked, uid=uid, broken=broken)],
        env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(MAIN))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line.removeprefix("f: services.web.") for line in done.stdout.splitlines()]


@pytest.fixture(autouse=True)
def _root(namespaces: None) -> None:
    """Becoming somebody without rights needs them first."""
    del namespaces


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (f"limits=Limits(ulimits=((7, 1, {HARD + 1}),))", f"ulimits: nofile: cannot raise the hard limit {HARD} to"),
        (f"limits=Limits(ulimits=((7, {HARD}, {HARD}),))", ""),
        ("limits=Limits(ulimits=((7, 0, 0), (4, 0, 0)))", ""),
        ("limits=Limits(nice=-1)", "nice: cannot go below 0 (that takes CAP_SYS_NICE"),
        ("limits=Limits(nice=0)", ""),
        ("limits=Limits(nice=19)", ""),
        ("limits=Limits(oom_score_adj=-1)", "oom_score_adj: cannot go below our own"),
        ("limits=Limits(oom_score_adj=1000)", ""),
        (
            "limits=Limits(cap_drop=(0, 1))",
            "cap_drop: dropping CHOWN, DAC_OVERRIDE takes CAP_SETPCAP, which we have not",
        ),
        (
            "limits=Limits(cap_drop=tuple(range(41)))",
            "cap_drop: dropping CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH and others",
        ),
        ("limits=Limits(no_new_privileges=True, umask=0)", ""),
        ("user=Credentials(12345, 12346, (12346, 12347, 7))", "group_add: we may not change groups (start as root"),
        ("user=Credentials(12345, 12346, (12346, 12347))", ""),
    ],
)
def test_without_root(asked: str, says: str) -> None:
    """What takes rights is refused with the reason, what takes none is not; nothing of it stays with the loader."""
    found = problems(asked, NOBODY)
    assert [text[: len(says)] for text in found] == [says] * bool(says)


def test_root_may_do_it() -> None:
    """With the capabilities that containers usually leave it."""
    asked = "limits=Limits(nice=-5, cap_drop=(0, 1, 13), no_new_privileges=True), user=Credentials(0, 12346, (7,))"
    assert problems(asked, 0) == []


def test_a_python_without_ctypes() -> None:
    """It can neither drop capabilities nor set no_new_privs; for everything else it will do."""
    asked = "limits=Limits(cap_drop=(0,), no_new_privileges=True, nice=5)"
    words = "this Python has no _ctypes, and so no way to ask for it (install one with ctypes)"
    assert problems(asked, 0, "_ctypes") == [f"cap_drop: {words}", f"security_opt: {words}"]
